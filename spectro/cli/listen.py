"""Commands that use a trained model: ``predict``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from spectro.cli import console

__all__ = ["predict"]


def predict(
    model: Annotated[Path, typer.Argument(help="Model folder, as RUN/final; or a run.")],
    files: Annotated[list[Path], typer.Argument(help="Sound files.")],
    top: Annotated[int, typer.Option(min=1, help="Classes to print for each file.")] = 3,
    csv: Annotated[Optional[Path], typer.Option(help="Also write all probabilities here.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON, a line a file.")] = False,
) -> None:
    """Name the sound in each file."""
    from spectro.errors import AudioError
    from spectro.listening.classifier import Classifier
    from spectro.plumbing.files import write_bytes

    failures: list[AudioError] = []
    classifier = Classifier.load(model)
    if classifier.remark:
        console.complain(classifier.remark)
    predictions = classifier.predict(files, failed=failures.append)
    if csv is not None:
        table = predictions.to_csv(index=False, lineterminator="\n")
        write_bytes(csv, table.encode(errors="backslashreplace"))  # names may be no Unicode
    for row in predictions.to_dict("records"):
        console.prediction(row, top=top, json=json)
    for path in predictions["path"]:
        _tell_part(path, classifier.card.spectrogram.duration)
    for error in failures:
        console.complain(str(error))
    if failures:
        raise typer.Exit(console.SOME_FAILED)


def _tell_part(path: str, shown: float) -> None:
    """Say, on the error stream, that of a longer file only a part was heard."""
    from spectro.clips.decode import file_seconds
    from spectro.clips.waveform import Extent

    seconds = Extent(shown, file_seconds(Path(path))).cut
    if seconds:
        console.complain(
            f"{path}: {shown:g} s of {seconds:,.1f} s were heard; Classifier.predict_long, from "
            "Python, hears all of it"
        )
