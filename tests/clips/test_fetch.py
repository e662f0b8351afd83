"""Fetching datasets from a server on loopback: whole, again, killed, wrong and in the way."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from spectro.cli import data as cli
from spectro.clips import datasets
from spectro.clips.datasets.published import esc50 as esc50_layout
from spectro.clips.datasets.published import sources
from spectro.clips.datasets.published.fetch import fetch, present
from spectro.clips.datasets.published.sources import Source
from spectro.errors import DatasetError
from spectro.plumbing.transfer.download import Patience, Progress
from tests.plumbing.test_download import Site, names, serving

QUICK = Patience(timeout=20, tries=3, pause=0)
NAMES = list(sources.SOURCES)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def urban(sample_root: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A tar.gz as Zenodo has it, of the tiny sample's 36 clips."""
    path = tmp_path_factory.mktemp("archives") / "UrbanSound8K.tar.gz"
    junk = tarfile.TarInfo("._UrbanSound8K")
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        archive.addfile(junk)
        archive.add(sample_root, "UrbanSound8K")
    return path.read_bytes()


def esc50_files() -> dict[str, bytes]:
    clips = [(f"{fold}-{100 + fold}-{take}-0.wav", fold, take) for fold in (1, 2) for take in "AB"]
    rows = [f"{name},{fold},0,dog,True,{100 + fold},{take}" for name, fold, take in clips]
    table = "\n".join(["filename,fold,target,category,esc10,src_file,take", *rows])
    audio = {f"ESC-50-master/audio/{name}": b"RIFF" + name.encode() for name, *_ in clips}
    return {
        "ESC-50-master/README.md": b"#",
        "ESC-50-master/meta/esc50.csv": table.encode(),
        **audio,
    }


def audiomnist_files() -> dict[str, bytes]:
    top = "AudioMNIST-master"
    clips = {f"{top}/data/{s}/{d}_{s}_{t}.wav": b"RIFF" for s in ("01", "02") for d in "09"
             for t in "01"}  # fmt: skip
    return {f"{top}/audiomnist/io.py": b"", f"{top}/data/audioMNIST_meta.txt": b"{}", **clips}


def zipped(files: dict[str, bytes], folder: Path) -> bytes:
    with zipfile.ZipFile(folder / "made.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    content = (folder / "made.zip").read_bytes()
    (folder / "made.zip").unlink()
    return content


def tiny(name: str, urban: bytes, folder: Path) -> tuple[Source, bytes]:
    """Give a dataset's source, but of a tiny archive, and that archive."""
    if name == "urbansound8k":
        checksum = f"md5:{hashlib.md5(urban).hexdigest()}"
        small = replace(sources.find(name), size=len(urban), checksum=checksum, clips=36)
        return replace(small, unpacked=30_000_000), urban
    files = esc50_files() if name == "esc50" else audiomnist_files()
    clips = sum(name.endswith(".wav") for name in files)
    return replace(sources.find(name), clips=clips, unpacked=100_000), zipped(files, folder)


@pytest.fixture
def site() -> Iterator[Site]:
    with serving(Site()) as running:
        yield running


@pytest.fixture
def esc50(site: Site, tmp_path: Path) -> Source:
    """ESC-50 with four clips, served by the site."""
    source, site.body = tiny("esc50", b"", tmp_path)
    return replace(source, url=site.url)


@pytest.fixture
def to(tmp_path: Path) -> Path:
    return tmp_path / "data"


def snapshot(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_the_official_sources_are_as_published() -> None:
    assert NAMES == ["urbansound8k", "esc50", "audiomnist"]
    for source in map(sources.find, NAMES):
        assert re.match(r"https://(zenodo\.org|github\.com)/", source.url)
        assert source.layout in datasets.LAYOUTS
        assert source.licence
        assert source.citation
    urban = sources.find("urbansound8k")
    assert urban.size == 6_023_741_708
    assert urban.checksum == "md5:9aa69802bbf37fb986f71ec1483a196e"
    assert [source.clips for source in map(sources.find, NAMES)] == [8732, 2000, 30_000]
    with pytest.raises(DatasetError, match="there are urbansound8k, esc50, audiomnist"):
        sources.find("mnist")


@pytest.mark.parametrize("name", NAMES)
def test_it_comes_whole_and_can_be_rendered(
    name: str, urban: bytes, site: Site, to: Path, tmp_path: Path
) -> None:
    source, site.body = tiny(name, urban, tmp_path)
    stages: list[str] = []

    def stage(what: str) -> AbstractContextManager[Progress]:
        stages.append(what)
        return nullcontext(lambda done, total: None)

    found = fetch(replace(source, url=site.url), to, stage=stage)
    assert len(found.clips) == source.clips
    assert names(to) == {source.folder}
    assert stages == ["downloading", "unpacking"]
    recognised = datasets.load(source.root(to))
    assert len(recognised.clips) == source.clips
    assert all(Path(path).is_file() for path in recognised.clips["path"])


def test_what_is_there_is_left_alone(esc50: Source, site: Site, to: Path) -> None:
    assert present(esc50, to) is None
    fetch(esc50, to)
    (to / "ESC-50" / "notes.txt").write_text("mine")
    before, asked = snapshot(to), len(site.asked)
    assert len(fetch(esc50, to).clips) == 4
    assert len(site.asked) == asked
    assert snapshot(to) == before


@pytest.mark.parametrize("there", ["a clip is gone", "something else", "a file"])
def test_what_is_not_all_of_it_is_left_and_told(
    there: str, esc50: Source, site: Site, to: Path
) -> None:
    if there == "a clip is gone":
        fetch(esc50, to)
        next((to / "ESC-50" / "audio").iterdir()).unlink()
    elif there == "something else":
        (to / "ESC-50").mkdir(parents=True)
        (to / "ESC-50" / "thesis.txt").write_text("mine")
    else:
        to.mkdir()
        (to / "ESC-50").write_text("mine")
    before, asked = snapshot(to), len(site.asked)
    with pytest.raises(DatasetError, match=r"is not all of esc50 .*move it away") as error:
        fetch(esc50, to)
    assert "\n" not in str(error.value)
    assert snapshot(to) == before
    assert len(site.asked) == asked


@pytest.mark.parametrize("missing", ["meta/esc50.csv", "audio/1-101-A-0.wav"])
def test_an_archive_that_is_not_all_of_it(
    missing: str, esc50: Source, site: Site, to: Path, tmp_path: Path
) -> None:
    files, good = esc50_files(), site.body
    del files[f"ESC-50-master/{missing}"]
    site.body = zipped(files, tmp_path)
    with pytest.raises(DatasetError, match=r"is not all of esc50 .*run it again"):
        fetch(esc50, to)
    assert names(to) == set()
    site.body = good
    assert len(fetch(esc50, to).clips) == 4
    assert names(to) == {"ESC-50"}


@pytest.mark.parametrize(
    "bad", [{"ESC-50-master/../../../evil": b"x"}, {"elsewhere/x": b"x"}, None]
)
def test_a_hostile_or_cut_archive_leaves_nothing(
    bad: dict[str, bytes] | None, esc50: Source, site: Site, to: Path, tmp_path: Path
) -> None:
    if bad is None:
        site.body = site.body[:-30]
    else:
        site.body = zipped({**esc50_files(), **bad}, tmp_path)
    before = names(tmp_path)
    with pytest.raises(DatasetError, match=r"the download is removed: run it again") as error:
        fetch(esc50, to)
    assert "\n" not in str(error.value)
    assert names(tmp_path) - before == {"data"}
    assert names(to) == set()


def test_wrong_bytes_are_found_by_the_checksum(
    urban: bytes, site: Site, to: Path, tmp_path: Path
) -> None:
    source, body = tiny("urbansound8k", urban, tmp_path)
    site.body = body[:-1] + bytes([body[-1] ^ 1])
    with pytest.raises(DatasetError, match="md5"):
        fetch(source, to, url=site.url)
    assert names(to) == set()
    site.body = body
    assert len(fetch(source, to, url=site.url).clips) == 36


def test_a_kept_archive_is_used_and_stays(esc50: Source, site: Site, to: Path) -> None:
    fetch(esc50, to, keep_archive=True)
    assert names(to) == {"ESC-50", "ESC-50.zip"}
    assert (to / "ESC-50.zip").read_bytes() == site.body
    shutil.rmtree(to / "ESC-50")
    fetch(esc50, to)
    assert names(to) == {"ESC-50", "ESC-50.zip"}
    assert len(site.asked) == 1


def test_an_archive_of_ones_own_that_is_wrong_is_left(
    urban: bytes, site: Site, to: Path, tmp_path: Path, esc50: Source
) -> None:
    source, _ = tiny("urbansound8k", urban, tmp_path)
    to.mkdir()
    (to / "UrbanSound8K.tar.gz").write_bytes(urban[:5000])
    with pytest.raises(DatasetError, match=r"5,000 bytes, not the published .*; move it away"):
        fetch(source, to, url=site.url)
    assert (to / "UrbanSound8K.tar.gz").read_bytes() == urban[:5000]
    (to / "ESC-50.zip").write_bytes(b"PK, but no more")
    with pytest.raises(DatasetError, match="move the archive away"):
        fetch(esc50, to)
    assert (to / "ESC-50.zip").read_bytes() == b"PK, but no more"
    assert site.asked == []


def test_no_room_is_said_before_the_first_byte(
    esc50: Source, site: Site, to: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=99_999)
    monkeypatch.setattr("spectro.clips.datasets.published.fetch.shutil.disk_usage", lambda _: usage)
    with pytest.raises(DatasetError, match=r"esc50 needs about .*make room"):
        fetch(esc50, to)
    assert site.asked == []


def test_a_url_is_no_place_to_fetch_to(esc50: Source, site: Site) -> None:
    with pytest.raises(DatasetError, match="local disk"):
        fetch(esc50, "s3://bucket/data")
    assert site.asked == []


def test_a_second_run_at_the_same_time_is_told(esc50: Source, site: Site, to: Path) -> None:
    site.steps = [{"until": 10, "hang": True}]
    first = threading.Thread(target=fetch, args=(esc50, to), kwargs={"patience": QUICK})
    first.start()
    wait_for(lambda: len(site.asked) == 1)
    with pytest.raises(DatasetError, match="another run"):
        fetch(esc50, to)
    site.released.set()
    first.join()
    assert len(fetch(esc50, to).clips) == 4
    assert names(to) == {"ESC-50"}


def wait_for(happened: Any) -> None:
    deadline = time.monotonic() + 300
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_command_says_terms_first_and_what_is_next(
    esc50: Source,
    site: Site,
    to: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(esc50_layout, "SOURCE", replace(esc50, url="https://official.invalid/"))
    site.steps = [{"status": 404}]
    with pytest.raises(DatasetError, match="answers 404"):
        cli.fetch("esc50", to, url=site.url)
    terms = capsys.readouterr().out.splitlines()
    cli.fetch("esc50", to, url=site.url)
    lines = capsys.readouterr().out.splitlines()
    assert lines[: len(terms)] == terms
    assert terms[0].startswith("ESC-50: 4 clips")
    assert terms[1] == f"from: {site.url}"
    assert terms[2] == "licence: CC BY-NC 3.0 (its subset ESC-10: CC BY 3.0)"
    assert terms[3].startswith("cite: K. J. Piczak")
    assert "no checksum" in terms[4]
    assert lines[-2] == f"ESC-50: {to / 'ESC-50'}, 4 clips"
    assert lines[-1] == f"next: spectro render {to / 'ESC-50'} --out data/spectrograms/esc50"
    cli.fetch("esc50", to)
    again = capsys.readouterr().out.splitlines()
    assert again == ["ESC-50 is already there: nothing is downloaded", *lines[-2:]]
    assert len(site.asked) == 2


# The command line as it is, but that a dataset's source is another.
CODE = """
import json, sys
from spectro.cli import app, data
from importlib import import_module
from spectro.clips.datasets.published import sources
if "fetch" not in {command.callback.__name__ for command in app.app.registered_commands}:
    app.app.command()(data.fetch)
source = sources.Source(**json.loads(sys.argv.pop(1)))
import_module(sources.SOURCES[source.name]).SOURCE = source
"""
STOP_WHILE_UNPACKING = """
import time
from spectro.plumbing.transfer import archive as unpack
real = unpack._Writer.add
def add(self, member):
    real(self, member)
    if member.name.endswith(".wav"):
        print("unpacking", flush=True)
        time.sleep(60)
unpack._Writer.add = add
"""


def command(source: Source, to: Path, *words: str, code: str = "") -> list[str]:
    whole = f"{CODE}{code}\napp.main()"
    about = json.dumps(asdict(source))
    return [sys.executable, "-c", whole, about, "fetch", source.name, "--to", str(to), *words]


def run(words: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_killed_while_downloading_it_goes_on_by_ranges(
    urban: bytes, site: Site, to: Path, tmp_path: Path
) -> None:
    source, site.body = tiny("urbansound8k", urban, tmp_path)
    source = replace(source, url=site.url)
    assert len(urban) > 900_000
    site.steps = [{"until": 900_000, "hang": True}]
    part = to / ".fetch-urbansound8k" / "UrbanSound8K.tar.gz.part"
    with subprocess.Popen(command(source, to), stdout=subprocess.DEVNULL) as process:
        wait_for(lambda: part.exists() and part.stat().st_size >= 500_000)
        process.kill()
    kept = part.stat().st_size
    assert names(to) == {".fetch-urbansound8k"}
    done = run(command(source, to))
    assert (done.returncode, done.stderr) == (0, "")
    assert site.ranges == [None, f"bytes={kept}-"]
    assert names(to) == {"UrbanSound8K"}
    assert len(datasets.load(to, "urbansound8k").clips) == 36


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_killed_while_unpacking_it_unpacks_anew_and_asks_nobody(
    urban: bytes, site: Site, to: Path, tmp_path: Path
) -> None:
    source, site.body = tiny("urbansound8k", urban, tmp_path)
    source = replace(source, url=site.url)
    words = command(source, to, code=STOP_WHILE_UNPACKING)
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert any("unpacking" in line for line in process.stdout)
        process.kill()
    assert not (to / "UrbanSound8K").exists()
    assert len(fetch(source, to).clips) == 36
    assert len(site.asked) == 1
    assert names(to) == {"UrbanSound8K"}
