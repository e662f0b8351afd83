"""Commands that use a trained model: ``predict``."""

from __future__ import annotations

import csv as tables
import io
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from spectro.cli import console
from spectro.plumbing.words import counted

if TYPE_CHECKING:
    from spectro.listening.classifier import Classifier, Prediction

__all__ = ["predict"]

_ABOUT = ("path", "label", "probability", "known", "trained_on")  # columns before the classes
_FORMATS = ("table", "csv", "json", "jsonl")
_STDIN = "-"
_LARGEST_STDIN = 1 << 31  # bytes: hours of sound, of which a picture shows seconds


def predict(
    model: Annotated[Path, typer.Argument(help="Model folder, as RUN/final; or a run.")],
    files: Annotated[
        list[str],
        typer.Argument(help="Sound files, folders of them, patterns; - is standard input."),
    ],
    top: Annotated[int, typer.Option(min=1, help="Classes to print for each file.")] = 3,
    form: Annotated[
        str,
        typer.Option(
            "--format", help="table, csv, json or jsonl.", autocompletion=lambda: list(_FORMATS)
        ),
    ] = "table",
    csv: Annotated[Optional[Path], typer.Option(help="Also write all probabilities here.")] = None,
    json: Annotated[bool, typer.Option("--json", help="The same as --format jsonl.")] = False,
    backend: Annotated[
        str, typer.Option(help="auto, torch, onnx or int8; auto takes an export that is there.")
    ] = "auto",
) -> None:
    """Name the sound in each file."""
    from spectro.listening.classifier import Classifier
    from spectro.plumbing.files import check_ours, write_bytes

    if form not in _FORMATS:
        raise typer.BadParameter(f"choose {', '.join(_FORMATS)}", param_hint="--format")
    with _found(files) as names:
        classifier = Classifier.load(model, backend=backend)  # type: ignore[arg-type]
        if classifier.remark:
            console.complain(classifier.remark)
        _tell_uncalibrated(model)
        show = _Shown(classifier.labels, "jsonl" if json else form, top)
        if csv is not None:
            check_ours(csv, ",".join(_ABOUT))
        failures = _hear(classifier, names, show)
        _tell_trained_on(show)
    if csv is not None:
        write_bytes(csv, show.table().encode(errors="backslashreplace"))  # names may be no Unicode
    if failures:
        raise typer.Exit(console.SOME_FAILED)


def _tell_uncalibrated(model: Path) -> None:
    """Say of a fold's network that its run knows how sure it may be, and it does not."""
    from spectro.errors import ModelError
    from spectro.models.calibrated import RunCalibration

    run = model.parent.parent if len(model.parts) > 2 else model.absolute().parents[1]
    if model.name != "model" or not (run / "run.json").is_file():
        return
    with suppress(ModelError):  # the run's own, not of this model
        kept = RunCalibration.of(run)
        if kept is not None and kept.temperature != 1:
            console.complain(
                f"{model}: one fold's network, not calibrated; spectro predict {run} averages all, "
                f"at the run's temperature {kept.temperature:.3g}"
            )


@contextmanager
def _found(files: list[str]) -> Iterator[dict[str, str]]:
    """Give the files that are meant, with the names to show; standard input becomes a file."""
    from spectro.listening.recordings import find_recordings

    with tempfile.TemporaryDirectory() if _STDIN in files else nullcontext("") as folder:
        kept = str(Path(folder) / "stdin")
        if _STDIN in files:
            _keep_stdin(Path(kept))
        found = find_recordings([kept if name == _STDIN else name for name in files])
        for note in found.notes:
            console.complain(note)
        yield {path: _STDIN if folder and path == kept else path for path in found.paths}


def _keep_stdin(path: Path) -> None:
    """Copy standard input to a file: sound is read from files, which can be gone through twice."""
    from spectro.errors import AudioError

    if sys.stdin is None:
        raise AudioError("standard input is closed; name files, or pipe a sound in")
    with path.open("wb") as file:
        while block := sys.stdin.buffer.read(1 << 20):
            file.write(block)
            if file.tell() > _LARGEST_STDIN:
                raise AudioError(
                    f"standard input is longer than {_LARGEST_STDIN >> 30} GiB; "
                    "save it to a file, and hear it with spectro scan"
                )


def _hear(classifier: Classifier, names: dict[str, str], show: _Shown) -> int:
    """Predict each file and show it at once; name those that fail, and return how many do."""
    failures, cut, shown = 0, dict[str, float](), classifier.card.spectrogram.duration
    bar = console.counting("hearing", "files") if len(names) > 1 else nullcontext(None)
    with bar as progress, show:

        def fail(error: Exception) -> None:
            nonlocal failures
            failures += 1
            told = str(error)
            for path, name in names.items():
                if name == _STDIN:
                    told = told.replace(path, "standard input")
            console.complain(told)

        for heard in classifier.classify(names, failed=fail):
            show.row(names[heard.path], heard)
            if seconds := _cut(heard.path, shown):
                cut[names[heard.path]] = seconds
            if progress:
                progress(len(show.rows) + failures, len(names))
    _tell_parts(cut, shown, len(names))
    return failures


class _Shown:
    """Shows predictions one by one, in the format that was asked for, and keeps them."""

    def __init__(self, labels: list[str], form: str, top: int) -> None:
        self.rows: list[list[Any]] = []
        self._labels, self._form, self._top = labels, form, top

    def __enter__(self) -> None:
        if self._form == "csv":
            console.row(self.header)
        elif self._form == "json":
            console.say("[")

    def __exit__(self, failed: object, *_: object) -> None:
        if self._form == "json" and failed is None:
            console.say("]")

    @property
    def header(self) -> list[str]:
        classes = [f"p_{label}" for label in self._labels]
        return [*_ABOUT, *classes]

    def row(self, name: str, heard: Prediction) -> None:
        """Show a prediction."""
        each = heard.probabilities.tolist()
        likely = dict(zip(self._labels, each, strict=True))
        about = [name, heard.label, heard.probability, heard.known, heard.trained_on]
        self.rows.append([*about, *each])
        if self._form == "table":
            console.prediction(name, likely, heard.known, self._top)
        elif self._form == "csv":
            console.row(self.rows[-1])
        else:
            told = dict(zip(self.header, about, strict=False))
            told["probabilities"] = likely
            more = self._form == "json" and len(self.rows) > 1
            console.data(told, before="," if more else "")

    def table(self) -> str:
        """Return all predictions as a CSV."""
        text = io.StringIO()
        tables.writer(text, lineterminator="\n").writerows([self.header, *self.rows])
        return text.getvalue()


def _tell_trained_on(show: _Shown) -> None:
    """Say, on the error stream, which answers are about clips that the model was trained on."""
    column = show.header.index("trained_on")
    names = [str(row[0]) for row in show.rows if row[column]]
    if names:
        some = f"{names[0]} and others" if len(names) > 1 else names[0]
        console.complain(
            f"{len(names):,} of {counted(len(show.rows), 'file')} trained this model ({some}): "
            "its answers there tell nothing of new sounds"
        )


def _tell_parts(cut: dict[str, float], heard: float, n_files: int) -> None:
    """Say, on the error stream, of which longer files only a part was heard."""
    if not cut:
        return
    name, seconds = next(iter(cut.items()))
    if len(cut) == 1:
        told = f"{name}: {heard:g} s of {seconds:,.1f} s were heard; spectro scan hears all of it"
    else:
        told = (
            f"of {len(cut):,} of {counted(n_files, 'file')} only the first {heard:g} s were heard, "
            f"as of {name}, which has {seconds:,.1f} s; spectro scan hears all of them"
        )
    console.complain(told)


def _cut(path: str, heard: float) -> float:
    """Return the length of a file of which only a part was heard; else 0."""
    from spectro.clips.decode import file_seconds
    from spectro.clips.waveform import Extent

    return Extent(heard, file_seconds(Path(path))).cut
