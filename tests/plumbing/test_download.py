"""Downloads that break off, lie, hang and change: by a real server on loopback that does so."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import http.server
import os
import random
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spectro.errors import DatasetError
from spectro.plumbing.transfer.download import Patience, download

BODY = random.Random(0).randbytes(700_000)
OTHER = random.Random(1).randbytes(700_000)


def md5_of(content: bytes) -> str:
    return f"md5:{hashlib.md5(content).hexdigest()}"


MD5 = md5_of(BODY)
QUICK = Patience(timeout=20, tries=3, pause=0)


class Site:
    """What a server answers: the file whole or in part, or as the next of its steps says."""

    def __init__(self, body: bytes = BODY) -> None:
        self.body = body
        self.steps: list[dict[str, Any]] = []
        self.asked: list[dict[str, str]] = []
        self.released = threading.Event()
        self.url = ""

    @property
    def ranges(self) -> list[str | None]:
        return [headers.get("Range") for headers in self.asked]

    def answer(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        self.asked.append(dict(handler.headers))
        step = self.steps.pop(0) if self.steps else {}
        body, start = step.get("body", self.body), self._start(handler, step)
        status = step.get("status", 206 if start else 200)
        if start and start >= len(body):
            status, start = 416, 0
        handler.send_response(status)
        headers = {"Content-Length": str(len(body) - start)}
        if status == 206:
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
        if status >= 300:
            headers["Content-Length"], body = "0", b""
        for name, value in (headers | step.get("headers", {})).items():
            if value is not None:
                handler.send_header(name, value)
        handler.end_headers()
        with contextlib.suppress(OSError):  # whoever asks may have gone
            handler.wfile.write(body[start : step.get("until", len(body))])
            handler.wfile.flush()
            if step.get("hang"):
                self.released.wait(60)

    def _start(self, handler: http.server.BaseHTTPRequestHandler, step: dict[str, Any]) -> int:
        match = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
        return int(match[1]) if match and step.get("ranges", True) else 0


@contextlib.contextmanager
def serving(site: Site) -> Iterator[Site]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.answer(self)

        def log_message(self, *args: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        site.url = f"http://127.0.0.1:{server.server_port}/file.bin"
        try:
            yield site
        finally:
            site.released.set()
            server.shutdown()


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    for name in ("all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with serving(Site()) as running:
        yield running


def one_line(error: pytest.ExceptionInfo[DatasetError]) -> str:
    said = str(error.value)
    assert "\n" not in said
    assert len(said) < 500
    return said


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_file_comes_whole_with_its_progress(site: Site, tmp_path: Path) -> None:
    told: list[tuple[int, int | None]] = []
    target = download(
        site.url,
        tmp_path / "new" / "file.bin",
        size=len(BODY),
        checksum=MD5,
        progress=lambda done, total: told.append((done, total)),
    )
    assert target.read_bytes() == BODY
    assert names(target.parent) == {"file.bin"}
    assert told[0] == (0, len(BODY))
    assert told[-1] == (len(BODY), len(BODY))
    assert told == sorted(told)


def test_a_broken_connection_is_gone_on_with_by_ranges(site: Site, tmp_path: Path) -> None:
    site.steps = [{"until": 100_000}, {"until": 100_001}, {"until": 650_000}]
    path = download(site.url, tmp_path / "f", checksum=MD5, patience=Patience(20, 5, 0))
    assert path.read_bytes() == BODY
    assert site.ranges == [None, "bytes=100000-", "bytes=100001-", "bytes=650000-"]
    assert {headers["Accept-Encoding"] for headers in site.asked} == {"identity"}


def test_it_gives_up_says_what_is_kept_and_the_next_run_goes_on(site: Site, tmp_path: Path) -> None:
    site.steps = [{"until": 300_000}, {"until": 300_000}, {"until": 300_000}]
    with pytest.raises(DatasetError, match=r"300,000 bytes are kept.*run it again") as error:
        download(site.url, tmp_path / "f", checksum=MD5, patience=QUICK)
    assert site.url in one_line(error)
    assert names(tmp_path) == {"f.part"}
    told: list[int] = []
    download(site.url, tmp_path / "f", checksum=MD5, progress=lambda done, _: told.append(done))
    assert (tmp_path / "f").read_bytes() == BODY
    assert told[0] == 300_000
    assert site.ranges[-1] == "bytes=300000-"


def test_tries_that_get_on_do_not_count(tmp_path: Path) -> None:
    body = random.Random(2).randbytes(5 << 20)
    with serving(Site(body)) as site:
        site.steps = [{"until": (i + 1) * 1_060_000} for i in range(4)]
        path = download(
            site.url, tmp_path / "f", checksum=md5_of(body), patience=Patience(20, tries=2, pause=0)
        )
    assert path.read_bytes() == body
    assert len(site.asked) == 5


def test_a_server_that_breaks_off_for_ever_is_left(site: Site, tmp_path: Path) -> None:
    site.steps = [{"until": 1000, "ranges": False}] * 50
    with pytest.raises(DatasetError, match="3 tries"):
        download(site.url, tmp_path / "f", checksum=MD5, patience=QUICK)
    assert len(site.asked) == 3


@pytest.mark.parametrize(
    "wrong",
    [
        {"headers": {"Content-Range": "bytes 0-299999/700000"}},
        {"headers": {"Content-Range": None}},
        {"headers": {"Content-Range": "nonsense"}},
        {"status": 416, "headers": {"Content-Range": "bytes */5"}},
        {"status": 416, "headers": {"Content-Range": None}},
    ],
)
def test_a_wrong_part_is_dropped_and_all_is_asked_for_again(
    site: Site, tmp_path: Path, wrong: dict[str, Any]
) -> None:
    site.steps = [{"until": 400_000}, wrong]
    assert download(site.url, tmp_path / "f", checksum=MD5, patience=QUICK).read_bytes() == BODY
    assert site.ranges == [None, "bytes=400000-", None]


def test_killed_before_the_last_step_it_needs_no_server(site: Site, tmp_path: Path) -> None:
    (tmp_path / "f.part").write_bytes(BODY)
    download(site.url, tmp_path / "f", size=len(BODY), checksum=MD5)
    assert (tmp_path / "f").read_bytes() == BODY
    assert site.asked == []


@pytest.mark.parametrize("start", [b"", BODY, BODY + b"more", OTHER])
def test_whatever_the_part_is_a_file_without_a_size_comes_in_the_end(
    site: Site, tmp_path: Path, start: bytes
) -> None:
    (tmp_path / "f.part").write_bytes(start)
    try:
        download(site.url, tmp_path / "f", checksum=MD5, patience=QUICK)
    except DatasetError:
        assert start == OTHER
        download(site.url, tmp_path / "f", checksum=MD5, patience=QUICK)
    assert (tmp_path / "f").read_bytes() == BODY


def test_ranges_that_the_server_ignores_start_over(site: Site, tmp_path: Path) -> None:
    site.steps = [{"until": 400_000}, {"ranges": False}]
    path = download(site.url, tmp_path / "f", checksum=MD5, patience=QUICK)
    assert path.read_bytes() == BODY
    assert site.ranges == [None, "bytes=400000-"]


def test_halves_of_two_files_are_found_by_the_checksum(site: Site, tmp_path: Path) -> None:
    site.body = OTHER
    site.steps = [{"until": 400_000}] * 3
    with pytest.raises(DatasetError, match="400,000 bytes are kept"):
        download(site.url, tmp_path / "f", checksum=MD5, patience=QUICK)
    site.body = BODY
    with pytest.raises(DatasetError, match="it is removed: run it again"):
        download(site.url, tmp_path / "f", checksum=MD5, patience=QUICK)
    assert names(tmp_path) == set()
    assert download(site.url, tmp_path / "f", checksum=MD5).read_bytes() == BODY


def test_without_a_checksum_it_starts_over_and_keeps_nothing(site: Site, tmp_path: Path) -> None:
    site.steps = [{"until": 400_000}]
    assert download(site.url, tmp_path / "f", patience=QUICK).read_bytes() == BODY
    assert site.ranges == [None, None]
    site.steps = [{"until": 400_000}] * 3
    with pytest.raises(DatasetError, match="nothing is kept"):
        download(site.url, tmp_path / "g", patience=QUICK)
    (tmp_path / "h.part").write_bytes(OTHER)  # of a killed run
    assert download(site.url, tmp_path / "h", patience=QUICK).read_bytes() == BODY
    assert names(tmp_path) == {"f", "h"}


def test_without_a_checksum_a_server_that_always_breaks_off_is_left(tmp_path: Path) -> None:
    body = random.Random(2).randbytes(3 << 20)
    with serving(Site(body)) as site:
        site.steps = [{"until": 2 << 20}] * 50
        with pytest.raises(DatasetError, match="broke off"):
            download(site.url, tmp_path / "f", patience=QUICK)
    assert len(site.asked) == 3


@pytest.mark.parametrize("checksum", [MD5, None])
def test_ctrl_c_keeps_what_can_be_gone_on_with(
    site: Site, tmp_path: Path, checksum: str | None
) -> None:
    def stop(done: int, total: int | None) -> None:
        if done > 300_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download(site.url, tmp_path / "f", checksum=checksum, progress=stop)
    assert names(tmp_path) == ({"f.part"} if checksum else set())
    assert download(site.url, tmp_path / "f", checksum=checksum).read_bytes() == BODY
    assert site.ranges == [None, "bytes=524288-" if checksum else None]


def test_wrong_bytes_are_removed(site: Site, tmp_path: Path) -> None:
    site.body = OTHER
    with pytest.raises(DatasetError, match=r"md5 is .* not the published .*run it again") as error:
        download(site.url, tmp_path / "f", size=len(BODY), checksum=MD5)
    assert str(tmp_path / "f") in one_line(error)
    assert names(tmp_path) == set()


def test_another_length_is_refused_before_it_comes(site: Site, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="700,000 bytes there, not the published 5"):
        download(site.url, tmp_path / "f", size=5)
    with pytest.raises(DatasetError, match="more than the 5 allowed"):
        download(site.url, tmp_path / "f", most=5)
    assert names(tmp_path) == set()


@pytest.mark.parametrize("limit", [{"size": 600_000}, {"most": 600_000}])
def test_more_than_may_come_is_not_written(
    site: Site, tmp_path: Path, limit: dict[str, int]
) -> None:
    site.steps = [{"headers": {"Content-Length": None}}]
    with pytest.raises(DatasetError, match="sends more than 600,000 bytes"):
        download(site.url, tmp_path / "f", checksum=MD5, **limit)
    assert not (tmp_path / "f").exists()
    assert (tmp_path / "f.part").stat().st_size <= 600_000


def test_fewer_than_published_without_a_length_is_gone_on_with(site: Site, tmp_path: Path) -> None:
    site.steps = [{"until": 500_000, "headers": {"Content-Length": None}}]
    path = download(site.url, tmp_path / "f", checksum=MD5, size=len(BODY), patience=QUICK)
    assert path.read_bytes() == BODY
    assert site.ranges == [None, "bytes=500000-"]


def test_a_gzip_that_is_called_an_encoding_is_kept_as_it_is(site: Site, tmp_path: Path) -> None:
    site.steps = [{"headers": {"Content-Encoding": "gzip"}}]
    assert download(site.url, tmp_path / "f", checksum=MD5).read_bytes() == BODY


@pytest.mark.parametrize("status", [500, 502, 503, 504, 429, 408])
def test_a_server_in_trouble_is_asked_again(site: Site, tmp_path: Path, status: int) -> None:
    site.steps = [{"status": status}, {"status": status, "headers": {"Retry-After": "0"}}]
    assert download(site.url, tmp_path / "f", patience=QUICK).read_bytes() == BODY


def test_a_server_that_stays_in_trouble_is_named(site: Site, tmp_path: Path) -> None:
    site.steps = [{"until": 400_000}] + [{"status": 503}] * 9
    with pytest.raises(DatasetError, match=r"answers 503 .*400,000 bytes are kept.*later") as error:
        download(site.url, tmp_path / "f", checksum=MD5, patience=QUICK)
    one_line(error)
    assert len(site.asked) == 1 + 3


@pytest.mark.parametrize("status", [404, 403, 410, 204])
def test_what_is_not_there_is_not_asked_for_twice(site: Site, tmp_path: Path, status: int) -> None:
    site.steps = [{"status": status}] * 3
    with pytest.raises(DatasetError, match=f"answers {status}") as error:
        download(site.url, tmp_path / "f", patience=QUICK)
    assert site.url in one_line(error)
    assert len(site.asked) == 1
    assert names(tmp_path) == set()


def test_an_error_leaves_what_came_before_it(site: Site, tmp_path: Path) -> None:
    site.steps = [{"until": 400_000}, {"status": 404}]
    with pytest.raises(DatasetError, match="404"):
        download(site.url, tmp_path / "f", checksum=MD5, patience=QUICK)
    assert download(site.url, tmp_path / "f", checksum=MD5).read_bytes() == BODY
    assert site.ranges[-1] == "bytes=400000-"


def test_a_server_that_hangs_is_left_and_asked_again(site: Site, tmp_path: Path) -> None:
    site.steps = [{"until": 600_000, "hang": True}]
    path = download(
        site.url, tmp_path / "f", checksum=MD5, patience=Patience(timeout=0.5, tries=5, pause=0)
    )
    assert path.read_bytes() == BODY
    assert site.ranges[1] is not None


def test_nobody_there_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"cannot be reached: .*refused.*run it again") as error:
        download("http://127.0.0.1:9/file", tmp_path / "f", patience=QUICK)
    one_line(error)
    assert names(tmp_path) == set()


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("/again", "Exceeded 10 redirects"),
        ("ftp://127.0.0.1/file", "cannot be reached"),
        ("file:///etc/hostname", "cannot be reached"),
        ("http://[", "cannot be reached"),
    ],
)
def test_redirects_that_lead_nowhere(site: Site, tmp_path: Path, place: str, said: str) -> None:
    site.steps = [{"status": 302, "headers": {"Location": place}}] * 20
    with pytest.raises(DatasetError, match=said) as error:
        download(site.url, tmp_path / "f", patience=QUICK)
    one_line(error)
    assert names(tmp_path) == set()


def test_a_redirect_is_followed_with_its_range(site: Site, tmp_path: Path) -> None:
    move = {"status": 302, "headers": {"Location": "/elsewhere"}}
    site.steps = [move, {"until": 400_000}, move]
    assert download(site.url, tmp_path / "f", checksum=MD5, patience=QUICK).read_bytes() == BODY
    assert site.ranges[-1] == "bytes=400000-"


@pytest.mark.parametrize("url", ["ftp://host/f", "/etc/hostname", "file:///etc/hostname", ""])
def test_only_http_is_asked(tmp_path: Path, url: str) -> None:
    with pytest.raises(DatasetError, match="no http or https address"):
        download(url, tmp_path / "f")


def test_what_is_there_is_checked_and_left(site: Site, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(BODY)
    download(site.url, tmp_path / "f", size=len(BODY), checksum=MD5)
    (tmp_path / "f").write_bytes(OTHER)
    with pytest.raises(DatasetError, match="not the published"):
        download(site.url, tmp_path / "f", checksum=MD5)
    assert (tmp_path / "f").read_bytes() == OTHER
    assert site.asked == []


class FullDisk:
    """A file on a disk that has room for so many bytes."""

    def __init__(self, file: Any, room: int) -> None:
        self.file = file
        self.room = room

    def __enter__(self) -> FullDisk:
        return self

    def __exit__(self, *args: object) -> None:
        self.file.close()

    def write(self, block: bytes) -> int:
        self.room -= len(block)
        if self.room < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return int(self.file.write(block))


def opening(fills: Callable[[Path], bool], room: int) -> Callable[..., Any]:
    """Give a Path.open that runs out of disk while writing to some of the files."""
    real_open = Path.open

    def open_path(path: Path, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        file = real_open(path, mode, *args, **kwargs)
        return FullDisk(file, room) if fills(path) else file

    return open_path


def test_no_room_is_said_before_the_first_byte(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr("spectro.plumbing.transfer.download.shutil.disk_usage", lambda _: usage)
    with pytest.raises(DatasetError, match="700,000 bytes are to come, the disk has 1,000 left"):
        download(site.url, tmp_path / "f")
    assert names(tmp_path) == set()


def test_a_disk_that_fills_up_is_one_line_and_keeps_what_came(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "open", opening(lambda path: path.suffix == ".part", 400_000))
    with pytest.raises(DatasetError, match="the disk is full; make room") as error:
        download(site.url, tmp_path / "f", checksum=MD5, patience=QUICK)
    assert str(tmp_path / "f.part") in one_line(error)
    monkeypatch.undo()
    assert download(site.url, tmp_path / "f", checksum=MD5).read_bytes() == BODY
    assert site.ranges == [None, "bytes=262144-"]


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(cuts=st.lists(st.integers(0, 3000), max_size=6), ranged=st.lists(st.booleans(), min_size=6))
def test_wherever_it_breaks_the_file_is_the_same(
    cuts: list[int], ranged: list[bool], tmp_path_factory: pytest.TempPathFactory
) -> None:
    with serving(Site(BODY[:3000])) as site:
        site.steps = [{"until": c, "ranges": r} for c, r in zip(cuts, ranged, strict=False)]
        folder = tmp_path_factory.mktemp("cuts")
        path = download(
            site.url,
            folder / "f",
            checksum=md5_of(BODY[:3000]),
            patience=Patience(20, tries=8, pause=0),
        )
    assert path.read_bytes() == BODY[:3000]
    assert names(folder) == {"f"}
