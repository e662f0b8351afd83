"""The command that downloads published data: ``fetch``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from spectro.cli import console

if TYPE_CHECKING:
    from spectro.clips.datasets.sources import Source

__all__ = ["fetch"]


def fetch(
    name: Annotated[str, typer.Argument(help="urbansound8k, esc50 or audiomnist.")],
    to: Annotated[Path, typer.Option(help="Folder to put the dataset's folder in.")] = Path("data"),
    keep_archive: Annotated[
        bool, typer.Option("--keep-archive", help="Keep the archive beside the folder.")
    ] = False,
    url: Annotated[Optional[str], typer.Option(help="A mirror of the archive.")] = None,
) -> None:
    """Download a published dataset from its official host, check it and unpack it."""
    from spectro.clips.datasets import fetch as fetching
    from spectro.clips.datasets import sources

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
    console.say(f"{source.folder}: {to / source.folder}, {len(found.clips):,} clips")
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
