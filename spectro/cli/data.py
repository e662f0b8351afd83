"""Commands before training: ``sample``, ``fetch``, ``check``, ``plot``, ``render``."""

from __future__ import annotations

import math
from concurrent.futures import Executor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Optional

import typer

from spectro.cli import console, tables
from spectro.cli.options import (
    READING,
    RUNNING,
    SPECTROGRAM,
    DatasetRoot,
    Quarantine,
    Reading,
    Workers,
    either,
    with_options,
)
from spectro.clips.datasets.published.sources import SOURCES
from spectro.pictures.settings import SpectrogramConfig
from spectro.plumbing.words import counted

if TYPE_CHECKING:
    from spectro.clips.checking.check import Checkup
    from spectro.clips.checking.measure import Vitals
    from spectro.clips.datasets.published.sources import Source
    from spectro.clips.table import Dataset
    from spectro.pictures.render import RenderSummary

__all__ = ["check", "fetch", "plot", "render", "sample"]

_NAMED = 30  # failures printed; all of them are in failures.csv
_LONGEST = 60.0  # seconds of a spectrogram whose length nobody asked for
_HEARD = 0.01  # seconds too many that nobody misses


def sample(
    folder: Annotated[Path, typer.Argument(help="Where to put it.")] = Path("data/sample"),
    seed: Annotated[int, typer.Option(help="Another seed makes other sounds.")] = 0,
    sources: Annotated[int, typer.Option(help="Recordings of each class in each fold.")] = 3,
    slices: Annotated[int, typer.Option(help="Clips of each recording.")] = 3,
    folds: Annotated[int, typer.Option(help="Folds.")] = 10,
) -> None:
    """Synthesise a small dataset in UrbanSound8K's layout, to try everything on."""
    from spectro.clips.sample.write import write_sample

    with console.counting("synthesising", "clips") as progress:
        root = write_sample(
            folder, seed=seed, sources=sources, slices=slices, folds=folds, progress=progress
        )
    console.say(f"sample dataset: {root}")


def fetch(
    name: Annotated[
        str, typer.Argument(help=f"{either(SOURCES)}.", autocompletion=lambda: list(SOURCES))
    ],
    to: Annotated[Path, typer.Option(help="Folder to put the dataset's folder in.")] = Path("data"),
    keep_archive: Annotated[
        bool, typer.Option("--keep-archive", help="Keep the archive beside the folder.")
    ] = False,
    url: Annotated[Optional[str], typer.Option(help="A mirror of the archive.")] = None,
) -> None:
    """Download a published dataset from its official host, check it and unpack it."""
    from spectro.clips.datasets.published import fetch as fetching
    from spectro.clips.datasets.published import sources

    source = sources.find(name)
    found = fetching.present(source, to)
    if found is not None:
        console.say(f"{source.folder} is already there: nothing is downloaded")
    else:
        _announce(source, url)
        found = fetching.fetch(
            source,
            to,
            url=url,
            keep_archive=keep_archive,
            stage=lambda what: console.copying(f"{what} {source.archive}"),
        )
    console.say(f"{source.folder}: {to / source.folder}, {counted(len(found.clips), 'clip')}")
    pictures = Path("data") / "spectrograms" / source.name
    console.say(f"next: spectro render {source.root(to)} --out {pictures}")


def _announce(source: Source, url: str | None) -> None:
    """Say what is about to be downloaded, on what terms, and how it is checked."""
    unknown = "the host does not say how much to download"
    size = unknown if source.size is None else f"{source.size / 1e9:.1f} GB to download"
    console.say(
        f"{source.folder}: {source.clips:,} clips; {size}, about {source.unpacked / 1e9:.1f} GB "
        "unpacked"
    )
    console.say(f"from: {url or source.url}")
    console.say(f"licence: {source.licence}")
    console.say(f"cite: {source.citation}")
    if source.checksum is None:
        console.note(
            "the host publishes no checksum and goes on with no broken download: checked are the "
            "CRC-32 of each file in the archive and that every clip is there"
        )


@with_options(reading=READING)
def check(
    dataset: DatasetRoot,
    *,
    csv: Annotated[Optional[Path], typer.Option(help="CSV to write all findings to.")] = None,
    vitals: Annotated[
        Optional[Path], typer.Option(help="CSV to write what was measured of each clip to.")
    ] = None,
    quarantine: Annotated[
        Optional[Path],
        typer.Option(help="CSV to write clips to that render and training should leave out."),
    ] = None,
    reading: Reading,
    workers: Workers = None,
) -> None:
    """Look for broken, silent, clipped, doubled and leaking clips, before any training."""
    from spectro.clips.checking import check as checks
    from spectro.plumbing.workers import pool

    _check_outputs({"--csv": csv, "--vitals": vitals, "--quarantine": quarantine})
    clips = reading.load(dataset, only_look=True)
    console.dataset(clips)
    told = "nothing is written; run it again to check all of them"
    n = len(clips.clips)
    with console.working(pool(workers), "checking", clips=n, told=told) as (executor, progress):
        checkup = checks.check(clips, executor=executor, progress=progress)
    tables.checkup(_problems(checkup), _classes(checkup), _formats(checkup))
    for line in _write(checkup, csv, vitals, quarantine):
        console.say(line)
    _tell_long(checkup)
    console.say(_verdict(checkup, advise=quarantine is None))
    if checkup.count("error"):
        raise typer.Exit(console.SOME_FAILED)


def _check_outputs(files: dict[str, Path | None]) -> None:
    """Refuse, before minutes of reading, files that are not to be written over, or named twice."""
    from spectro.clips.checking.check import FINDINGS
    from spectro.clips.checking.measure import Vitals
    from spectro.clips.checking.quarantine import check_free
    from spectro.clips.table import COLUMNS
    from spectro.plumbing.files import check_ours

    named: dict[Path, str] = {}
    for option, path in files.items():
        if path is None:
            continue
        first = named.setdefault(path.resolve(), option)
        if first != option:
            raise typer.BadParameter(f"is the file of {first}; name another", param_hint=option)
        if option == "--quarantine":
            check_free(path)
        else:
            vitals = (*COLUMNS, Vitals._fields[0])  # a table of clips begins alike
            check_ours(path, ",".join(FINDINGS if option == "--csv" else vitals))


def _write(
    checkup: Checkup, csv: Path | None, vitals: Path | None, quarantine: Path | None
) -> list[str]:
    """Write the files that are asked for; return a line about each."""
    from spectro.clips.checking import quarantine as leaving_out

    lines = []
    if csv is not None:
        checkup.save(csv)
        lines.append(f"all findings: {csv}")
    if vitals is not None:
        checkup.save_vitals(vitals)
        lines.append(f"what was measured of each clip: {vitals}")
    if quarantine is not None:
        left_out = leaving_out.write(quarantine, checkup)
        clips = counted(left_out, "clip")
        lines.append(f"{clips} to leave out with --quarantine {quarantine}")
    return lines


def _tell_long(checkup: Checkup) -> None:
    """Say how many clips a default picture shows a part of."""
    from spectro.clips.waveform import Extent

    shown = SpectrogramConfig().duration
    longer = [cut for s in checkup.clips["seconds"] if (cut := Extent(shown, s).cut)]
    if longer:
        of = f"{len(longer):,} of {counted(len(checkup.clips), 'clip')}"
        console.warn(_cut(of, len(longer), "default picture", shown, max(longer)))


def _cut(of: str, n: int, picture: str, shown: float, longest: float) -> str:
    """Say that clips are longer than their picture, by how much, and what to do."""
    are = "is" if n == 1 else "are"
    return (
        f"{of} {are} longer than the {shown:g} s of a {picture}, by up to {longest - shown:.3g} s "
        f"that the network never sees: render --duration {_up(longest):g} shows all, a CSV with "
        "start and end makes several clips of a file"
    )


def _up(seconds: float) -> float:
    """Round up to a tenth of a second."""
    return math.ceil(round(10 * seconds, 6)) / 10


def _verdict(checkup: Checkup, *, advise: bool) -> str:
    """Sum it up in a line."""
    n, errors, warnings = len(checkup.clips), checkup.count("error"), checkup.count("warning")
    about = int((checkup.findings["path"] == "").sum())
    whole = f"; {counted(about, 'remark')} on the whole" if about else ""
    if not errors and not warnings:
        return f"{counted(n, 'clip')}, nothing is wrong with any{whole}"
    advice = "; --quarantine FILE writes down which to leave out" if errors and advise else ""
    clips = counted(n, "clip")
    return f"{clips}, {errors:,} with errors and {warnings:,} with warnings{whole}{advice}"


def _problems(checkup: Checkup) -> list[dict[str, Any]]:
    """Count each problem and give an example; the worst first."""
    rows = []
    for problem, found in checkup.findings.groupby("problem", sort=False):
        first = found.iloc[0]
        where = f"{first['path']}: " if first["path"] else ""
        row = {"problem": problem, "severity": first["severity"], "count": len(found)}
        rows.append({**row, "example": f"{where}{first['detail']}"})
    return rows


def _classes(checkup: Checkup) -> list[dict[str, Any]]:
    """Say how much there is of each class, and how evenly the folds share it."""
    clips = checkup.clips
    folds = clips["fold"].unique()
    rows = []
    for label, own in clips.groupby("label"):
        in_fold = own["fold"].value_counts().reindex(folds, fill_value=0)
        rows.append(
            {
                "label": label,
                "clips": len(own),
                "share": len(own) / len(clips),
                "minutes": own["seconds"].sum() / 60,
                "in_a_fold": f"{in_fold.min():,} to {in_fold.max():,}",
            }
        )
    return rows


def _formats(checkup: Checkup) -> list[str]:
    """Say in which formats the clips come, the commonest first, and how long they are."""
    read = checkup.clips[checkup.clips["sr"].notna()]
    if read.empty:
        return []
    kinds = read.groupby(["container", "codec", "sr", "channels"]).size().reset_index(name="n")
    lines = [
        f"{kind.n:,} x {kind.container} {kind.codec}, {kind.sr:,} Hz, {kind.channels} ch."
        for kind in kinds.sort_values("n", ascending=False, kind="stable").itertuples()
    ]
    seconds = read["seconds"]
    span = f"{seconds.min():.2f} s to {seconds.max():.2f} s, half of them {seconds.median():.2f} s"
    return [*lines, f"{span} or longer, {seconds.sum() / 3600:.2f} hours in all"]


@with_options(settings=SPECTROGRAM)
def plot(
    context: typer.Context,
    clip: Annotated[str, typer.Argument(help="Sound file.")],
    *,
    what: Annotated[
        Literal["waveform", "spectrogram", "both"], typer.Option(help="What to draw.")
    ] = "both",
    out: Annotated[
        Optional[Path],
        typer.Option(help="Picture to write; by default CLIP's name and .png, here."),
    ] = None,
    settings: SpectrogramConfig,
) -> None:
    """Print what a sound file is, and draw its waveform and its spectrogram."""
    from spectro.clips.checking.measure import examine
    from spectro.pictures import plots
    from spectro.plumbing.files import check_ours

    found = examine(clip)
    shown = settings.duration
    if all(context.params[name] is None for name in ("duration", "config", "recipe")):
        settings = settings.replace(duration=min(found.seconds, _LONGEST))
    picture = out or Path(f"{Path(clip).stem}.png")
    check_ours(picture, plots.PNG)
    figure = plots.clip(clip, settings, what, picture=shown)
    picture = plots.save(figure, picture)
    for name, value in _parameters(found).items():
        console.say(f"{name:<10} {value}")
    console.say(f"{what}: {picture}")
    if found.seconds > shown + _HEARD:
        console.note(
            f"a picture of {shown:g} s leaves out {found.seconds - shown:.3g} s of it: render "
            f"--duration {_up(found.seconds):g} shows all"
        )


def _parameters(found: Vitals) -> dict[str, Any]:
    """Say what was measured in words and units."""
    return {
        "container": found.container,
        "codec": found.codec,
        "rate": f"{found.sr:,} Hz",
        "channels": found.channels,
        "length": f"{found.seconds:.3f} s, {round(found.seconds * found.sr):,} samples",
        "peak": f"{found.peak_db:.1f} dBFS",
        "level": f"{found.rms_db:.1f} dBFS (RMS of the mean of the channels)",
        "offset": f"{found.dc:.4f} of full scale",
        "clipped": f"{100 * found.clipped:.2f} % of the samples",
    }


@with_options(settings=SPECTROGRAM, reading=READING)
def render(
    dataset: DatasetRoot,
    *,
    out: Annotated[str, typer.Option(help="Folder for the pictures, or its URL.")],
    settings: SpectrogramConfig,
    reading: Reading,
    quarantine: Quarantine = None,
    workers: Workers = None,
    scheduler: Annotated[
        Optional[str],
        typer.Option(
            help="Dask scheduler to draw on, as tcp://host:8786.", rich_help_panel=RUNNING
        ),
    ] = None,
) -> None:
    """Draw every clip of a dataset as a mel-spectrogram PNG, a folder a fold."""
    clips = _without(reading.load(dataset), quarantine)
    console.dataset(clips)
    _keep_folds(clips, out, settings)
    before = _table(out)
    summary = _draw(clips, out, settings, _pool(workers, scheduler))
    _report(summary, out, settings.duration)
    if len(summary.failures) < len(clips.clips):
        _glance(out, settings, anew=bool(summary.rendered) or before != _table(out))
    if len(summary.failures):
        raise typer.Exit(console.SOME_FAILED)


def _table(out: str) -> bytes:
    """Read the table of the pictures that are there: classes may change where no picture does."""
    from spectro.plumbing.files import LARGEST_TABLE, read_bounded
    from spectro.plumbing.paths import place

    table = place(out) / "clips.csv"
    return read_bounded(table, LARGEST_TABLE) if table.is_file() else b""


def _draw(
    dataset: Dataset,
    out: str,
    settings: SpectrogramConfig,
    workers: AbstractContextManager[Executor],
) -> RenderSummary:
    """Draw with a progress bar; Ctrl-C ends it with what was done."""
    from spectro.pictures.render import render

    told = "what is done is kept, run it again to go on"
    n = len(dataset.clips)
    with console.working(workers, "rendering", clips=n, told=told) as (pool, progress):
        return render(dataset, out, settings, executor=pool, progress=progress)


def _keep_folds(dataset: Dataset, out: str, settings: SpectrogramConfig) -> None:
    """Write down folds that were made, unless the pictures would be refused."""
    from spectro.pictures.rendered import check_free
    from spectro.plumbing.paths import absolute, place

    check_free(place(absolute(out)), dataset, settings)
    dataset.keep_folds()


def _without(dataset: Dataset, quarantine: Path | None) -> Dataset:
    """Leave out the clips that a quarantine names."""
    if quarantine is None:
        return dataset
    from spectro.clips.checking.quarantine import apply

    return apply(dataset, quarantine)


def _pool(workers: int | None, scheduler: str | None) -> AbstractContextManager[Executor]:
    """Choose where to draw."""
    if scheduler is not None:
        from spectro.plumbing.cluster import connect

        return connect(scheduler)
    from spectro.plumbing.workers import pool

    return pool(workers)


def _glance(out: str, settings: SpectrogramConfig, *, anew: bool) -> None:
    """Draw a few pictures of each class into one."""
    from spectro.plumbing.paths import place

    glance = place(out) / "examples.png"
    if anew or not glance.exists():
        from spectro.pictures.plots import examples, save
        from spectro.pictures.rendered import RenderedSet

        save(examples(RenderedSet.load(out).clips, settings), glance)
    console.say(f"a glance at each class: {glance}")


def _report(summary: RenderSummary, out: str, seconds: float) -> None:
    """Print what was drawn and, to the error stream, what could not be."""
    console.say(
        f"rendered {summary.rendered:,}, already there {summary.already_there:,}, failed "
        f"{len(summary.failures):,} in {summary.seconds:.1f} s: {out}"
    )
    if summary.dropped:
        console.say(f"removed {counted(summary.dropped, 'outdated picture')}: their clips are gone")
    if summary.cut:
        of = counted(summary.cut, "clip")
        console.warn(_cut(of, summary.cut, "picture", seconds, summary.longest))
    for failure in summary.failures.head(_NAMED).itertuples():
        console.complain(f"{failure.path}: {failure.reason}")
    if len(summary.failures):
        failed = counted(len(summary.failures), "clip")
        console.complain(f"{failed} failed, all named in {out}/failures.csv")
