"""Settings are valid or refused in one line, and survive every way they travel."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from spectro.errors import ConfigError
from spectro.pictures.settings import SpectrogramConfig
from spectro.plumbing.files import write_text
from spectro.plumbing.settings import Settings, read_table
from spectro.training.recipes import RECIPES, recipe
from spectro.training.settings import Phase, TrainConfig


@st.composite
def spectrogram_configs(draw: st.DrawFn) -> SpectrogramConfig:
    """Any valid settings of a picture."""
    sr = draw(st.integers(1_000, 1_000_000))
    n_fft = draw(st.integers(16, 1_048_576))
    fmin = draw(st.floats(0, sr / 4))
    duration = draw(st.floats(1 / sr, min(3_600, 99_999_999 / sr)))
    n_mels = draw(st.integers(2, min(4_096, 20_000_000 // (n_fft // 2 + 1))))
    most_frames = min(2**26 // n_mels, 4_000_000_000 // n_fft)
    return SpectrogramConfig(
        sr=sr,
        duration=duration,
        n_fft=n_fft,
        win_length=draw(st.none() | st.integers(2, n_fft)),
        hop_length=draw(st.integers(1 + int(duration * sr) // (most_frames - 1), 100_000)),
        n_mels=n_mels,
        fmin=fmin,
        fmax=draw(st.none() | st.floats(fmin, sr / 2, exclude_min=True)),
        ref=draw(st.just("max") | st.floats(1e-9, 1e9)),
        top_db=draw(st.floats(1e-3, 300)),
        db_range=draw(st.sampled_from(["fixed", "auto"])),
        pad=draw(st.sampled_from(["zero", "loop", "center", "random"])),
        cmap=draw(st.sampled_from(["magma", "gray"])),
        channels=draw(st.sampled_from(["mean", "first", "both"])),
    )


RATES = st.floats(0, 10, exclude_min=True)
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@st.composite
def train_configs(draw: st.DrawFn) -> TrainConfig:
    """Any valid settings of a training."""
    phase = st.builds(
        Phase,
        epochs=st.integers(1, 10_000),
        frozen=st.booleans(),
        lr=RATES | st.tuples(RATES, RATES),
        schedule=st.sampled_from(["one_cycle", "flat"]),
    )
    return TrainConfig(
        recipe=draw(NAMES),
        arch=draw(NAMES),
        weights=draw(NAMES),
        size=draw(st.none() | st.integers(32, 4_096)),
        batch_size=draw(st.integers(2, 65_536)),
        phases=tuple(draw(st.lists(phase, min_size=1, max_size=4))),
        weight_decay=draw(st.floats(0, 1)),
        inner_fold=draw(st.none() | st.integers(0, 100)),
        precision=draw(st.sampled_from(["auto", "fp32", "bf16"])),
        seed=draw(st.integers(0, 2**32 - 1)),
    )


ANY_SETTINGS = spectrogram_configs() | train_configs()


@pytest.fixture(scope="module")
def toml_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A place for a settings file; a module's, as hypothesis runs a test many times."""
    return tmp_path_factory.mktemp("settings") / "spectro.toml"


def refusal(build: Any, *args: Any, **values: Any) -> str:
    """Return the message of a refusal, which must be one line."""
    with pytest.raises(ConfigError) as caught:
        build(*args, **values)
    message = str(caught.value)
    assert message
    assert "\n" not in message
    return message


# Travel


@settings(max_examples=60, deadline=None)
@given(config=ANY_SETTINGS)
def test_json_gives_the_settings_back(config: Settings) -> None:
    text = config.to_json()
    assert text.endswith("}\n")
    again = type(config).from_json(text)
    assert again == config
    assert again.identity == config.identity


@settings(max_examples=60, deadline=None)
@given(config=ANY_SETTINGS)
def test_toml_gives_the_settings_back(config: Settings, toml_file: Path) -> None:
    write_text(toml_file, config.to_toml())
    again = type(config).from_toml(toml_file)
    assert again == config
    assert again.identity == config.identity


@settings(max_examples=30, deadline=None)
@given(picture=spectrogram_configs(), training=train_configs())
def test_one_file_holds_both_tables(
    picture: SpectrogramConfig, training: TrainConfig, toml_file: Path
) -> None:
    write_text(toml_file, picture.to_toml() + "\n" + training.to_toml())
    assert read_table(toml_file, "train")["arch"] == training.arch
    assert read_table(toml_file, "absent") == {}
    assert SpectrogramConfig.from_toml(str(toml_file)) == picture
    assert TrainConfig.from_toml(toml_file) == training


@settings(max_examples=30, deadline=None)
@given(config=ANY_SETTINGS)
def test_to_dict_has_every_field_as_plain_json(config: Settings) -> None:
    values = config.to_dict()
    assert list(values) == list(type(config).model_fields)
    assert json.loads(json.dumps(values)) == values == json.loads(config.to_json())
    assert type(config)(**values) == config


@pytest.mark.parametrize("config", [SpectrogramConfig(), TrainConfig()], ids=["picture", "train"])
def test_a_file_without_the_table_gives_the_defaults(config: Settings, toml_file: Path) -> None:
    write_text(toml_file, "# nothing here\n[candidate]\nsr = 1\n")
    assert type(config).from_toml(toml_file) == config


@pytest.mark.parametrize(
    "values",
    [
        {"duration": 3_600.0, "n_mels": 256},
        {"duration": 480.0, "sr": 192_000},
        {"duration": 600.0, "sr": 96_000, "n_fft": 16_384, "n_mels": 512},
        {"duration": 10.0, "sr": 384_000, "n_fft": 4_096, "hop_length": 128},
        {"n_fft": 8_192, "n_mels": 4_096},
    ],
    ids=repr,
)
def test_the_largest_pictures_that_people_draw_are_allowed(values: dict[str, Any]) -> None:
    config = SpectrogramConfig(**values)
    assert config.n_samples == round(config.duration * config.sr)


def test_a_file_changes_only_what_it_names(toml_file: Path) -> None:
    write_text(toml_file, "[spectrogram]\r\nn_mels = 64\r\nref = 1\r\n")
    assert SpectrogramConfig.from_toml(toml_file) == SpectrogramConfig(n_mels=64, ref=1.0)


def test_phases_are_written_as_toml_tables(toml_file: Path) -> None:
    write_text(
        toml_file,
        "[train]\nseed = 7\n[[train.phases]]\nepochs = 2\nfrozen = true\n"
        "[[train.phases]]\nepochs = 1\nlr = [1e-6, 1e-4]\n",
    )
    assert TrainConfig.from_toml(toml_file) == TrainConfig(
        seed=7, phases=(Phase(epochs=2, frozen=True), Phase(epochs=1, lr=(1e-6, 1e-4)))
    )


# Refusals

NAN, INF = float("nan"), float("inf")

BAD_PICTURES: list[tuple[dict[str, Any], str]] = [
    ({"duration": 3_600.0, "sr": 1_000_000}, "3,600,000,000 samples"),
    ({"duration": 3_600.0, "hop_length": 16}, "4,961,251 frames of 128 bands"),
    ({"n_mels": 4_096, "n_fft": 1_048_576}, "filter bank"),
    ({"duration": 3_600.0, "n_fft": 131_072, "n_mels": 2}, "samples to transform"),
    ({"n_mel": 64}, "n_mel;"),
    ({"table": "x"}, "table"),
    ({"sr": "fast"}, "sr"),
    ({"sr": None}, "sr"),
    ({"sr": 22_050.5}, "sr"),
    ({"sr": 999}, "sr"),
    ({"sr": 1_000_001}, "sr"),
    ({"duration": 0}, "duration"),
    ({"duration": -1.0}, "duration"),
    ({"duration": 3_601}, "duration"),
    ({"duration": NAN}, "duration"),
    ({"duration": INF}, "duration"),
    ({"duration": [4]}, "duration"),
    ({"duration": 1e-9}, "duration"),
    ({"n_fft": 15}, "n_fft"),
    ({"n_fft": 2**21}, "n_fft"),
    ({"win_length": 1}, "win_length"),
    ({"win_length": 2_049}, "win_length"),
    ({"hop_length": 0}, "hop_length"),
    ({"hop_length": {}}, "hop_length"),
    ({"n_mels": 1}, "n_mels"),
    ({"n_mels": 4_097}, "n_mels"),
    ({"fmin": -1}, "fmin"),
    ({"fmin": 11_025}, "fmin"),
    ({"fmin": 5_000, "fmax": 5_000}, "fmin"),
    ({"fmin": 5_000, "fmax": 400}, "fmax"),
    ({"fmax": 0}, "fmax"),
    ({"fmax": 11_026}, "fmax"),
    ({"sr": 8_000, "fmax": 8_000}, "fmax"),
    ({"ref": "min"}, "ref"),
    ({"ref": 0}, "ref"),
    ({"ref": -1.0}, "ref"),
    ({"ref": INF}, "ref"),
    ({"ref": None}, "ref"),
    ({"top_db": 0}, "top_db"),
    ({"top_db": 301}, "top_db"),
    ({"db_range": "loud"}, "db_range"),
    ({"pad": "repeat"}, "pad"),
    ({"pad": "two\nlines"}, "pad"),
    ({"cmap": "viridis"}, "cmap"),
]

BAD_TRAININGS: list[tuple[dict[str, Any], str]] = [
    ({"lr": 1e-3}, "lr"),
    ({"recipe": None}, "recipe"),
    ({"arch": 18}, "arch"),
    ({"weights": ""}, "weights"),
    ({"size": 31}, "size"),
    ({"size": 4_097}, "size"),
    ({"batch_size": 1}, "batch_size"),
    ({"batch_size": 65_537}, "batch_size"),
    ({"phases": 3}, "phases"),
    ({"phases": [3]}, "phases"),
    ({"phases": [{"epochs": 0}]}, "epochs"),
    ({"phases": [{}]}, "epochs"),
    ({"phases": [{"epochs": 1, "rate": 1}]}, "rate"),
    ({"phases": [{"epochs": 1, "lr": [1e-6, -1e-4]}]}, "lr"),
    ({"inner_fold": "first"}, "inner_fold"),
    ({"precision": "fp8"}, "precision"),
    ({"seed": -1}, "seed"),
    ({"seed": 2**32}, "seed"),
]

BAD_PHASES: list[tuple[dict[str, Any], str]] = [
    ({}, "epochs"),
    ({"epochs": 0}, "epochs"),
    ({"epochs": 10_001}, "epochs"),
    ({"epochs": 1.5}, "epochs"),
    ({"epochs": 1, "frozen": "perhaps"}, "frozen"),
    ({"epochs": 1, "lr": 0}, "lr"),
    ({"epochs": 1, "lr": -1e-3}, "lr"),
    ({"epochs": 1, "lr": 10.5}, "lr"),
    ({"epochs": 1, "lr": NAN}, "lr"),
    ({"epochs": 1, "lr": (1e-3,)}, "lr"),
    ({"epochs": 1, "lr": (1e-4, 1e-3, 1e-2)}, "lr"),
    ({"epochs": 1, "lr": (1e-4, 0)}, "lr"),
    ({"epochs": 1, "lr": "fast"}, "lr"),
]

BAD = [
    *[(SpectrogramConfig, values, name) for values, name in BAD_PICTURES],
    *[(TrainConfig, values, name) for values, name in BAD_TRAININGS],
    *[(Phase, values, name) for values, name in BAD_PHASES],
]
BAD_IDS = [f"{cls.__name__}-{values!r}" for cls, values, _ in BAD]


@pytest.mark.parametrize(("cls", "values", "name"), BAD, ids=BAD_IDS)
def test_a_bad_value_is_refused_by_name(
    cls: type[Settings], values: dict[str, Any], name: str
) -> None:
    assert name in refusal(cls, **values)


@pytest.mark.parametrize(("cls", "values", "name"), BAD, ids=BAD_IDS)
def test_a_bad_value_in_json_is_refused_by_name(
    cls: type[Settings], values: dict[str, Any], name: str
) -> None:
    assert name in refusal(cls.from_json, json.dumps(values))


@pytest.mark.parametrize(
    ("cls", "values", "name"),
    [
        (SpectrogramConfig, {"hop_length": True}, "hop_length"),
        (SpectrogramConfig, {"duration": True}, "duration"),
        (SpectrogramConfig, {"n_mels": "64"}, "n_mels"),
        (TrainConfig, {"size": "224"}, "size"),
        (TrainConfig, {"inner_fold": True}, "inner_fold"),
        (Phase, {"epochs": True}, "epochs"),
        (Phase, {"epochs": 1, "frozen": "yes"}, "frozen"),
    ],
    ids=repr,
)
def test_a_value_of_the_wrong_type_is_not_guessed_at(
    cls: type[Settings], values: dict[str, Any], name: str
) -> None:
    # `hop_length = true` in a file is a slip, not a hop of one sample.
    assert name in refusal(cls, **values)


def test_an_unknown_setting_lists_those_there_are() -> None:
    message = refusal(SpectrogramConfig, n_mel=64)
    assert all(name in message for name in SpectrogramConfig.model_fields)


def test_every_problem_is_said_at_once() -> None:
    message = refusal(SpectrogramConfig, n_mels=0, pad="none", colour="red")
    assert all(name in message for name in ("n_mels", "pad", "colour"))


def test_a_bad_value_is_repeated_in_the_message() -> None:
    assert "-17" in refusal(SpectrogramConfig, hop_length=-17)
    assert "'viridis'" in refusal(SpectrogramConfig, cmap="viridis")


def test_boundary_values_are_accepted() -> None:
    assert SpectrogramConfig(sr=1_000, duration=0.001).n_samples == 1
    assert SpectrogramConfig(n_fft=16, win_length=16, hop_length=1, n_mels=2).win_length == 16
    assert SpectrogramConfig(fmax=11_025).fmax == 11_025
    assert SpectrogramConfig(duration=3_600, top_db=300).duration == 3_600
    assert TrainConfig(size=32, batch_size=2, seed=2**32 - 1).size == 32
    assert Phase(epochs=10_000, lr=10).lr == 10


@pytest.mark.parametrize("ref", [1e-300, 1e-12, 1e-10, 1e39, 1e300])
def test_a_reference_that_no_picture_can_use_is_refused(ref: float) -> None:
    # Below the floor of silence every picture is black; above float32 0 dB is infinitely far.
    assert "ref" in refusal(SpectrogramConfig, ref=ref)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "3", '"sr"', '{\n"sr":\n', "\x00"])
def test_malformed_json_is_refused_in_one_line(text: str) -> None:
    message = refusal(SpectrogramConfig.from_json, text)
    assert not message.startswith(" "), "the sentence has no subject"


BAD_FILES = {
    "not-toml": (b"[spectrogram\n", "line 1"),
    "twice": (b"[spectrogram]\nsr = 8000\nsr = 8000\n", "TOML"),
    "not-utf-8": (b"[spectrogram]\npad = '\xff'\n", "utf-8"),
    "unknown": (b"[spectrogram]\nn_mel = 64\n", "n_mel"),
    "type": (b"[spectrogram]\nsr = 2024-01-01\n", "sr"),
    "range": (b"[spectrogram]\nhop_length = 0\n", "hop_length"),
    "nan": (b"[spectrogram]\nduration = nan\n", "duration"),
    "contradiction": (b"[spectrogram]\nfmin = 9\nfmax = 3\n", "fmin"),
    "table-is-a-number": (b"spectrogram = 3\n", "spectrogram"),
    "table-is-text": (b"spectrogram = 'sr'\n", "spectrogram"),
    "table-is-a-list": (b"[[spectrogram]]\nsr = 8000\n", "spectrogram"),
    "setting-called-self": (b"[spectrogram]\nself = 1\n", "self"),
    "key-of-many-parts": (b"[spectrogram]\nsr" + b".a" * 50_000 + b" = 1\n", "nested too deeply"),
    "table-of-many-parts": (b"[a" + b".a" * 2_000 + b"]\nb = 1\n", "nested too deeply"),
}


@pytest.mark.parametrize(("content", "word"), BAD_FILES.values(), ids=BAD_FILES)
def test_a_bad_settings_file_is_refused_by_name(content: bytes, word: str, tmp_path: Path) -> None:
    path = tmp_path / "my settings.toml"
    path.write_bytes(content)
    message = refusal(SpectrogramConfig.from_toml, path)
    assert message.startswith(f"{path}: ")
    assert message.count(str(path)) == 1
    assert word in message


@pytest.mark.parametrize("cls", [SpectrogramConfig, TrainConfig])
def test_a_missing_settings_file_is_named(cls: type[Settings], tmp_path: Path) -> None:
    path = tmp_path / "none.toml"
    assert refusal(cls.from_toml, path).startswith(f"{path}: ")


def test_a_folder_is_no_settings_file(tmp_path: Path) -> None:
    assert refusal(lambda path: read_table(path, "train"), tmp_path).startswith(f"{tmp_path}: ")


# Changes


def test_replace_changes_what_is_given_and_leaves_none() -> None:
    config = SpectrogramConfig(fmin=50, fmax=8_000, win_length=1_024)
    changed = config.replace(n_mels=64, fmin=None, fmax=None, win_length=None)
    assert changed == SpectrogramConfig(fmin=50, fmax=8_000, win_length=1_024, n_mels=64)
    assert config.n_mels == 128
    assert config.replace() == config


def test_replace_takes_falsy_values_that_are_not_none() -> None:
    assert SpectrogramConfig(fmin=50).replace(fmin=0).fmin == 0
    assert Phase(epochs=1, frozen=True).replace(frozen=False).frozen is False
    assert TrainConfig(seed=3).replace(seed=0).seed == 0


def test_replace_checks_the_whole() -> None:
    assert "win_length" in refusal(SpectrogramConfig(win_length=2_048).replace, n_fft=1_024)
    assert "n_mel;" in refusal(SpectrogramConfig().replace, n_mel=64)


def test_replace_refuses_an_unknown_name_even_with_none() -> None:
    # Flags that were not given arrive as None: a misspelt one would never be noticed.
    assert "n_mel;" in refusal(SpectrogramConfig().replace, n_mel=None)


OTHER: dict[type[Settings], dict[str, Any]] = {
    SpectrogramConfig: {
        "sr": 16_000,
        "duration": 4.5,
        "n_fft": 4_096,
        "win_length": 2_048,  # what None means: another setting all the same
        "hop_length": 511,
        "n_mels": 127,
        "fmin": 1e-9,
        "fmax": 11_025.0,
        "ref": 1.0,
        "top_db": 80.5,
        "db_range": "auto",
        "pad": "loop",
        "cmap": "gray",
        "channels": "both",
    },
    TrainConfig: {
        "recipe": "other",
        "arch": "resnet34",
        "weights": "none",
        "size": 224,
        "batch_size": 31,
        "phases": [{"epochs": 10, "lr": [1e-3, 1e-3]}],
        "weight_decay": 0.02,
        "inner_fold": 0,
        "source": "pictures",  # of settings that have "sounds", which the three below need
        "place": True,
        "wave_shift": 0.1,
        "gain": 3.0,
        "crop": 0.1,
        "shift": 0.1,
        "background": 0.1,
        "mixstyle": 0.1,
        "band_gain": 0.1,
        "stretch": 0.1,
        "pitch": 0.1,
        "time_masks": 1,
        "freq_masks": 1,
        "mask_share": 0.1,
        "mixup": 0.4,
        "settle_norms": True,
        "members": 3,
        "precision": "fp32",
        "seed": 1,
    },
    Phase: {"epochs": 2, "frozen": True, "lr": 1e-4, "schedule": "flat"},
}


@pytest.mark.parametrize(
    "first", [SpectrogramConfig(), TrainConfig(), Phase(epochs=1)], ids=lambda c: type(c).__name__
)
def test_identity_changes_with_every_setting(first: Settings) -> None:
    others = OTHER[type(first)]
    first = first.replace(source="sounds") if isinstance(first, TrainConfig) else first
    assert set(others) == set(type(first).model_fields), "a new setting needs another value here"
    changed = [first.replace(**{name: value}).identity for name, value in others.items()]
    assert len({first.identity, *changed}) == 1 + len(others)


def test_identity_is_sixteen_hexadecimal_digits_and_blind_to_spelling() -> None:
    identity = SpectrogramConfig().identity
    assert len(identity) == 16
    assert set(identity) <= set("0123456789abcdef")
    assert SpectrogramConfig(duration=4, fmin=0, sr=22_050).identity == identity


def test_identity_is_the_same_in_every_process() -> None:
    code = (
        "from spectro import SpectrogramConfig, TrainConfig;"
        "print(SpectrogramConfig(n_mels=64).identity, TrainConfig(seed=3).identity)"
    )
    here = [SpectrogramConfig(n_mels=64).identity, TrainConfig(seed=3).identity]
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env=environment,
        )
        assert done.stdout.split() == here


@pytest.mark.parametrize("config", [SpectrogramConfig(), TrainConfig(), Phase(epochs=1)], ids=repr)
def test_settings_are_frozen(config: Settings) -> None:
    name, value = next(iter(config))
    with pytest.raises(ValidationError, match="frozen"):
        setattr(config, name, value)
    with pytest.raises(ValidationError, match="frozen"):
        delattr(config, name)


def test_equal_settings_are_one_dictionary_key() -> None:
    keys = {SpectrogramConfig(), SpectrogramConfig(sr=22_050), SpectrogramConfig(sr=8_000)}
    assert len(keys) == 2


# The picture's size


def test_the_default_picture_is_librosas_for_four_seconds() -> None:
    config = SpectrogramConfig()
    assert (config.n_samples, config.n_frames, config.shape) == (88_200, 173, (128, 173))


@pytest.mark.parametrize("n_samples", [1, 511, 512, 513, 5_119, 5_120, 5_121])
@pytest.mark.parametrize("n_fft", [2_048, 1_000, 16, 2_047, 333])
@pytest.mark.parametrize("hop_length", [512, 1, 300, 6_000])
def test_shape_is_what_librosa_makes(n_samples: int, n_fft: int, hop_length: int) -> None:
    config = SpectrogramConfig(
        duration=n_samples / 22_050, n_fft=n_fft, hop_length=hop_length, n_mels=8
    )
    assert config.n_samples == n_samples
    frames = librosa.util.frame(
        np.pad(np.zeros(n_samples, dtype=np.float32), n_fft // 2),
        frame_length=n_fft,
        hop_length=hop_length,
    )
    assert config.n_frames == frames.shape[1]
    assert config.shape == (8, frames.shape[1])


@pytest.mark.parametrize(
    "config",
    [
        SpectrogramConfig(),
        SpectrogramConfig(sr=44_100, duration=1.3, hop_length=441, n_mels=40),
        SpectrogramConfig(sr=16_000, duration=0.32, n_fft=511, hop_length=128, n_mels=20),
    ],
    ids=["default", "cd", "odd-n_fft"],
)
def test_shape_is_that_of_librosas_melspectrogram(config: SpectrogramConfig) -> None:
    S = librosa.feature.melspectrogram(
        y=np.zeros(config.n_samples, dtype=np.float32),
        sr=config.sr,
        n_fft=config.n_fft,
        hop_length=config.hop_length,
        n_mels=config.n_mels,
    )
    assert config.shape == S.shape


@pytest.mark.parametrize(
    ("sr", "duration", "n_samples"),
    [(22_050, 4, 88_200), (44_100, 0.1, 4_410), (8_000, 1.00003, 8_000), (8_000, 1.0001, 8_001)],
)
def test_duration_is_rounded_to_whole_samples(sr: int, duration: float, n_samples: int) -> None:
    assert SpectrogramConfig(sr=sr, duration=duration).n_samples == n_samples


# Training schedules and recipes


def test_epochs_are_those_of_all_phases() -> None:
    assert TrainConfig(phases=(Phase(epochs=3, frozen=True), Phase(epochs=4))).epochs == 7
    assert TrainConfig().epochs == 10


def test_with_last_phase_changes_only_the_last() -> None:
    first, last = Phase(epochs=3, frozen=True), Phase(epochs=4, lr=(1e-6, 1e-4))
    config = TrainConfig(phases=(first, last), seed=5)
    assert config.with_last_phase(epochs=9) == TrainConfig(
        phases=(first, Phase(epochs=9, lr=(1e-6, 1e-4))), seed=5
    )
    assert config.with_last_phase(lr=2e-3) == TrainConfig(
        phases=(first, Phase(epochs=4, lr=2e-3)), seed=5
    )
    assert config.with_last_phase() == config


def test_with_last_phase_checks_what_it_is_given() -> None:
    assert "epochs" in refusal(TrainConfig().with_last_phase, epochs=0)
    assert "lr" in refusal(TrainConfig().with_last_phase, lr=-1.0)


def test_the_blog_recipe_is_exactly_the_blogs() -> None:
    blog = recipe("blog")
    assert blog.arch == "resnet34"
    assert blog.weights == "imagenet"
    assert blog.size == 224
    assert blog.batch_size == 64
    assert [(p.epochs, p.frozen, p.lr) for p in blog.phases] == [
        (3, True, 1e-3),
        (1, False, 1e-3),
        (3, False, (1e-6, 1e-4)),
    ]
    assert blog.epochs == 7


def test_transfer_is_default_on_half_pictures_at_three_times_the_rate() -> None:
    halved = recipe("default").replace(recipe="transfer", crop=0.5)
    transfer = recipe("transfer")
    assert transfer == halved.with_last_phase(lr=3e-3)
    assert transfer.crop == transfer.mixstyle == transfer.background == 0.5
    assert [(p.epochs, p.frozen, p.lr) for p in transfer.phases] == [(15, False, 3e-3)]


def test_plain_is_the_default_settings_and_default_adds_to_them() -> None:
    assert recipe("plain") == TrainConfig()
    plain = recipe("plain").to_dict()
    default = recipe("default")
    added = {name for name, value in default.to_dict().items() if value != plain[name]}
    assert added == {
        "recipe",
        "batch_size",
        "phases",
        "background",
        "mixstyle",
        "band_gain",
        "stretch",
        "pitch",
        "settle_norms",
    }


def test_size_0_takes_back_what_a_recipe_set() -> None:
    assert recipe("blog").replace(size=0).size is None
    assert recipe("blog").replace(size=None).size == 224
    assert "size" in refusal(TrainConfig, size=31)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_carries_its_own_name(name: str) -> None:
    assert recipe(name).recipe == name


def test_an_unknown_recipe_lists_those_there_are() -> None:
    message = refusal(recipe, "blogg")
    assert "'blogg'" in message
    assert all(name in message for name in RECIPES)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("n_fft = 0x" + "f" * 4_000, "n_fft is a number of thousands of digits"),
        ('"' + "k" * 900_000 + '" = 1', r"unknown setting k{80}\.\.\.; there are"),
        ("\n".join(f"k{i} = 1" for i in range(20_000)), "; and 19,995 more$"),
    ],
)
def test_messages_stay_short_whatever_a_file_holds(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "a.toml").write_text(f"[spectrogram]\n{text}\n")
    with pytest.raises(ConfigError, match=told) as error:
        SpectrogramConfig.from_toml(tmp_path / "a.toml")
    assert len(str(error.value)) < 4_000
    (tmp_path / "a.toml").write_text("spectrogram = 0x" + "f" * 4_000)
    with pytest.raises(ConfigError, match="write it as a table"):
        SpectrogramConfig.from_toml(tmp_path / "a.toml")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
def test_a_pipe_is_no_settings_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.toml")
    with pytest.raises(ConfigError, match=r"a\.toml: cannot read .*no regular file"):
        SpectrogramConfig.from_toml(tmp_path / "a.toml")
