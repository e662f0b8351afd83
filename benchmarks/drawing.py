"""Ways to draw a clip's spectrogram into a PNG: ours, the classic notebook's, and the peers'.

Each takes the path of a clip and that of the picture. What is imported is imported once, by the
process that draws.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any


def classic(clip: str, out: Path) -> None:
    """Draw as notebooks do: specshow on a small figure, savefig(dpi=400, bbox_inches="tight")."""
    import librosa
    import matplotlib as mpl
    import numpy as np

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    y, sr = librosa.load(clip, sr=None)
    figure = plt.figure(figsize=[0.72, 0.72])
    axis = figure.add_subplot(111)
    axis.axes.get_xaxis().set_visible(False)
    axis.axes.get_yaxis().set_visible(False)
    axis.set_frame_on(False)
    S = librosa.feature.melspectrogram(y=y, sr=sr)
    librosa.display.specshow(librosa.power_to_db(S, ref=np.max))
    plt.savefig(out, dpi=400, bbox_inches="tight", pad_inches=0)
    plt.close("all")


def imsave(clip: str, out: Path) -> None:
    """Librosa at 22,050 Hz, then plt.imsave: one pixel a band and frame, RGBA."""
    import librosa
    import matplotlib.pyplot as plt
    import numpy as np

    y, sr = librosa.load(clip, sr=22_050)
    y = librosa.util.fix_length(y, size=88_200)
    S_db = librosa.power_to_db(librosa.feature.melspectrogram(y=y, sr=sr), ref=np.max)
    plt.imsave(out, S_db, origin="lower", cmap="magma", vmin=-80, vmax=0)


def torchaudio(clip: str, out: Path) -> None:
    """Torchaudio's resampling, mel-spectrogram and decibels, then Pillow in grey."""
    import soundfile
    import torch
    from PIL import Image
    from torchaudio.functional import amplitude_to_DB, resample

    samples, sr = soundfile.read(clip, dtype="float32", always_2d=True)
    y = torch.from_numpy(samples).mean(1)
    y = resample(y, sr, 22_050) if sr != 22_050 else y
    S = _torchaudio_mel()(torch.nn.functional.pad(y, (0, max(0, 88_200 - len(y))))[:88_200])
    S_db = amplitude_to_DB(S[None], 10.0, 1e-10, float(S.max().log10().clamp(-10)), 80.0)[0]
    levels = ((S_db + 80) * (255 / 80)).clamp(0, 255).to(torch.uint8)
    Image.fromarray(levels.flip(0).numpy()).save(out)


@functools.cache
def _torchaudio_mel() -> Any:
    import torch
    from torchaudio.transforms import MelSpectrogram

    torch.set_num_threads(1)
    return MelSpectrogram(
        22_050, n_fft=2_048, hop_length=512, n_mels=128, norm="slaney", mel_scale="slaney"
    )


def opensoundscape(clip: str, out: Path) -> None:
    """OpenSoundscape's Audio and Spectrogram with its defaults, to a 128 x 173 picture."""
    from opensoundscape import Audio, Spectrogram

    audio = Audio.from_file(clip, sample_rate=22_050).extend_to(4)
    spectrogram = Spectrogram.from_audio(audio, window_samples=2_048, overlap_samples=1_536)
    spectrogram.to_image(shape=(128, 173)).save(out)
