"""Archives: good ones come out whole, hostile and damaged ones leave nothing behind."""

from __future__ import annotations

import gzip
import io
import os
import random
import shutil
import stat
import struct
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from spectro.errors import DatasetError
from spectro.plumbing.transfer.archive import ArchiveError, unpack
from tests.plumbing.test_download import opening

NOISE = random.Random(3).randbytes(200_000)
GOOD = {"top/meta/list.csv": b"a,b\n", "top/audio/1.wav": NOISE, "top/audio/empty.wav": b""}
KINDS = ["tar", "zip"]


def tar(path: Path, members: list[tuple[Any, bytes]], **options: Any) -> Path:
    with tarfile.open(path, "w:gz", compresslevel=1, **options) as archive:
        for member, content in members:
            info = member if isinstance(member, tarfile.TarInfo) else tarfile.TarInfo(member)
            info.size = info.size or len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def zipped(path: Path, members: list[tuple[Any, bytes]]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for member, content in members:
            archive.writestr(member, content)
    return path


def pack(kind: str, folder: Path, members: dict[str, bytes] | list[tuple[Any, bytes]]) -> Path:
    items = list(members.items()) if isinstance(members, dict) else members
    return {"tar": tar, "zip": zipped}[kind](folder / "archive", items)


def take(archive: Path, folder: Path, **options: Any) -> Path:
    return unpack(archive, folder, **{"most_bytes": 1 << 20, "most_members": 100, **options})


def content(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {f"top/{path.relative_to(folder).as_posix()}": path.read_bytes() for path in files}


def refused(archive: Path, tmp_path: Path, **options: Any) -> str:
    """Unpack what must not be unpacked, see that nothing of it is anywhere, and give the line."""
    before = set(tmp_path.rglob("*")) - {tmp_path / "to"}
    with pytest.raises(ArchiveError) as error:
        take(archive, tmp_path / "to" / "data", **options)
    assert set(tmp_path.rglob("*")) - {tmp_path / "to"} == before
    said = str(error.value)
    assert str(archive) in said
    assert said.isprintable()
    assert len(said) < 600
    return said


@pytest.mark.parametrize("kind", KINDS)
def test_the_top_folder_becomes_the_folder(kind: str, tmp_path: Path) -> None:
    told: list[tuple[int, int | None]] = []
    archive = pack(kind, tmp_path, GOOD)
    folder = take(archive, tmp_path / "new" / "data", progress=lambda *done: told.append(done))
    assert content(folder) == GOOD
    assert {path.name for path in folder.parent.iterdir()} == {"data"}
    assert all(0 <= done <= whole for done, whole in told if whole is not None)
    assert {whole for _, whole in told} == {archive.stat().st_size}


@pytest.mark.parametrize("kind", KINDS)
def test_what_macos_leaves_is_skipped(kind: str, tmp_path: Path) -> None:
    junk = {"._top": b"x", "top/.DS_Store": b"x", "top/audio/._1.wav": b"x", "__MACOSX/1": b"x"}
    folder = take(pack(kind, tmp_path, junk | GOOD), tmp_path / "data")
    assert content(folder) == GOOD


def test_names_as_tar_and_git_write_them(tmp_path: Path) -> None:
    folder = tarfile.TarInfo("./top")
    folder.type = tarfile.DIRTYPE
    long = "top/" + "long/" * 30 + "ü.wav"
    members = [(folder, b""), ("./top/1.wav", b"1"), (long, b"2"), ("top//3.wav", b"3")]
    archive = tar(tmp_path / "a", members, format=tarfile.PAX_FORMAT, pax_headers={"comment": "c"})
    assert content(take(archive, tmp_path / "data")) == {
        "top/1.wav": b"1", long: b"2", "top/3.wav": b"3"
    }  # fmt: skip


NAMES = [
    "/etc/passwd", "../up.wav", "top/../../up.wav", "top/..", "C:/x.wav", "C:x.wav", "top/C:x",
    "top\\..\\up.wav", "\\\\host\\share", "top/a\nb.wav", "top/a\x1b[2J.wav", "top/" + "n" * 300,
    "top/" + "d/" * 600 + "x", "top/nul", "top/CON.wav", "top/dot.", "top/space ", "top/a:b",
    "top/?", "file.wav", "other/x.wav",
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NAMES, ids=lambda name: ascii(name[:20]))
def test_names_that_lead_elsewhere_are_refused(kind: str, name: str, tmp_path: Path) -> None:
    refused(pack(kind, tmp_path, {**GOOD, name: b"x"}), tmp_path)


@pytest.mark.slow
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    name=st.text("./\\:aZ\0 \n\u0301\u2024é", max_size=12) | st.text(max_size=12),
    kind=st.sampled_from(KINDS),
)
@example(name="top/..", kind="tar")
@example(name="\udcff", kind="tar")
def test_whatever_the_name_nothing_leaves_the_folder(
    name: str, kind: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    place = tmp_path_factory.mktemp("named")
    try:
        archive = pack(kind, place, [("top/" + name, b"x"), ("top/after", b"y")])
    except (UnicodeEncodeError, ValueError):
        return  # a name that no archive of this kind can hold
    try:
        take(archive, place / "to" / "data")
    except ArchiveError as problem:
        assert str(problem).isprintable()
    inside = place / "to" / "data"
    for path in place.rglob("*"):
        assert path in (archive, place / "to", inside) or inside in path.parents
        assert not path.is_symlink()


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize(
    "member",
    [
        special("top/link", tarfile.SYMTYPE, "/etc"),
        special("top/link", tarfile.SYMTYPE, "audio"),
        special("top/link", tarfile.LNKTYPE, "top/audio/1.wav"),
        special("top/link", tarfile.LNKTYPE, "../../etc/passwd"),
        special("top/zero", tarfile.CHRTYPE),
        special("top/disk", tarfile.BLKTYPE),
        special("top/pipe", tarfile.FIFOTYPE),
        special("top/contiguous", tarfile.CONTTYPE),
        special("top/unknown", b"Z"),
    ],
    ids=lambda member: f"{member.type!r}-{member.linkname}",
)
def test_links_and_devices_are_refused(member: tarfile.TarInfo, tmp_path: Path) -> None:
    archive = tar(tmp_path / "a", [*GOOD.items(), (member, b""), ("top/link/x", b"x")])
    assert repr(member.name) in refused(archive, tmp_path)


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO, stat.S_IFSOCK])
def test_links_and_devices_in_a_zip_are_refused(kind: int, tmp_path: Path) -> None:
    info = zipfile.ZipInfo("top/link")
    info.create_system, info.external_attr = 3, (kind | 0o777) << 16
    archive = zipped(tmp_path / "a", [*GOOD.items(), (info, b"/etc")])
    assert "link" in refused(archive, tmp_path)


def test_a_sparse_file_is_refused(tmp_path: Path) -> None:
    headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "top/s",
               "GNU.sparse.realsize": "500000"}  # fmt: skip
    info = tarfile.TarInfo("top/s")
    info.pax_headers = headers
    archive = tar(tmp_path / "a", [(info, b"0\n".ljust(512, b"\0"))], format=tarfile.PAX_FORMAT)
    refused(archive, tmp_path)


TWINS = [
    ("top/a", "top/a"), ("top/a", "top/A"), ("top/a/x", "top/a"), ("top/a", "top/a/x"),
    ("top/Ab/x", "top/aB/y"), ("top/\u00e9", "top/e\u0301"), ("top/stra\u00dfe", "top/STRASSE"),
    ("top/a", "top/./a"),
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pair", TWINS, ids=ascii)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_members_of_one_name_are_refused(
    kind: str, pair: tuple[str, str], tmp_path: Path
) -> None:
    said = refused(pack(kind, tmp_path, [(pair[0], b"1"), (pair[1], b"2")]), tmp_path)
    assert "two members of one name" in said


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_may_be_named_twice(kind: str, tmp_path: Path) -> None:
    members: list[tuple[Any, bytes]] = [("top/a/x", b"1")]
    if kind == "tar":
        members.append((special("top/a", tarfile.DIRTYPE), b""))
    else:
        members.append(("top/a/", b""))
    assert content(take(pack(kind, tmp_path, members), tmp_path / "d")) == {"top/a/x": b"1"}


@pytest.mark.parametrize("kind", KINDS)
def test_bombs_are_refused(kind: str, tmp_path: Path) -> None:
    archive = pack(kind, tmp_path, {"top/a": b"\0" * 600_000, "top/b": b"\0" * 600_000})
    assert archive.stat().st_size < 10_000
    assert "unpacks to more than 1,048,576 bytes" in refused(archive, tmp_path)
    assert "more than 1 files" in refused(archive, tmp_path, most_members=1, most_bytes=1 << 22)


@pytest.mark.parametrize("kind", KINDS)
def test_skipped_members_count_too(kind: str, tmp_path: Path) -> None:
    archive = pack(kind, tmp_path, {"top/a": b"1", "top/._bomb": b"\0" * 3_000_000})
    assert "unpacks to more than" in refused(archive, tmp_path)


@pytest.mark.parametrize("size", [1 << 40, 1 << 62, 300_000])
def test_a_tar_that_declares_more_than_it_holds(size: int, tmp_path: Path) -> None:
    info = tarfile.TarInfo("top/a")
    info.size = size
    raw = info.tobuf(tarfile.GNU_FORMAT) + NOISE
    (tmp_path / "a").write_bytes(gzip.compress(raw))
    refused(tmp_path / "a", tmp_path)


def test_headers_without_end_are_refused(tmp_path: Path) -> None:
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 40 << 20
    raw = info.tobuf(tarfile.GNU_FORMAT) + b"a" * (40 << 20)
    (tmp_path / "a").write_bytes(gzip.compress(raw, compresslevel=1))
    assert "headers are too long" in refused(tmp_path / "a", tmp_path, most_bytes=1 << 40)


def test_zeros_without_end_are_refused(tmp_path: Path) -> None:
    with gzip.open(tar(tmp_path / "good", [*GOOD.items()])) as file:
        raw = file.read() + b"\0" * (20 << 20)
    (tmp_path / "a").write_bytes(gzip.compress(raw, compresslevel=1))
    refused(tmp_path / "a", tmp_path)


@pytest.mark.parametrize("declared", [10, 199_999, 200_001, 900_000])
def test_a_zip_that_declares_another_size(declared: int, tmp_path: Path) -> None:
    archive = zipped(tmp_path / "a", [("top/a", NOISE)])
    raw = archive.read_bytes().replace(struct.pack("<I", len(NOISE)), struct.pack("<I", declared))
    archive.write_bytes(raw)
    refused(archive, tmp_path)


@pytest.mark.parametrize("depth", [80, 500, 20_000])
@pytest.mark.parametrize("kind", [b"L", b"K", b"x", b"g"])
def test_headers_about_headers_are_refused(kind: bytes, depth: int, tmp_path: Path) -> None:
    info = tarfile.TarInfo("x")
    body = b"a\0" if kind in b"LK" else b"12 comment=a"[:11] + b"\n"
    info.type, info.size = kind, len(body)
    header = info.tobuf(tarfile.USTAR_FORMAT) + body.ljust(512, b"\0")
    (tmp_path / "a").write_bytes(gzip.compress(header * depth + b"\0" * 1024))
    refused(tmp_path / "a", tmp_path)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["", "top", "./", "."])
def test_a_file_without_a_name_is_refused(kind: str, name: str, tmp_path: Path) -> None:
    if kind == "tar":
        archive = tar(tmp_path / "a", [("top/1.wav", b"1"), (tarfile.TarInfo(name), b"x")])
    else:
        archive = zipped(tmp_path / "a", [("top/1.wav", b"1"), ("name", b"x")])
        raw = archive.read_bytes().replace(b"name", name.encode().ljust(4, b"/"))
        archive.write_bytes(raw)
    refused(archive, tmp_path)


def test_a_zip_member_of_no_length_of_name_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a", "w") as archive:
        with archive.open(zipfile.ZipInfo(""), "w") as member:
            member.write(b"x")
        archive.writestr("top/1.wav", b"1")
    assert "a name that is not safe" in refused(tmp_path / "a", tmp_path)


def test_folders_that_only_paths_name_count_too(tmp_path: Path) -> None:
    members = {f"top/{i}/" + "d/" * 20 + "x": b"1" for i in range(10)}
    for kind in KINDS:
        said = refused(pack(kind, tmp_path, members), tmp_path, most_members=100)
        assert "more than 100 files" in said


def test_members_that_share_bytes_are_refused(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "a", [("top/a", b"1" * 1000), ("top/b", b"1" * 1000)])
    raw = bytearray(archive.read_bytes())
    second = raw.rindex(b"PK\x01\x02")
    raw[second + 42 : second + 46] = struct.pack("<I", 0)  # where the first one begins
    archive.write_bytes(raw)
    assert "overlap" in refused(archive, tmp_path)


def test_a_zip_with_a_directory_without_end_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a", "w") as archive:
        for i in range(9000):
            archive.writestr("top/" + "n" * 60 + str(i), b"")
    assert "headers are too long" in refused(tmp_path / "a", tmp_path, most_members=10)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_what_is_no_regular_file_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a")
    refused(tmp_path / "a", tmp_path)
    refused(tmp_path / "nothing", tmp_path)


def test_an_encrypted_zip_is_refused(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "a", [("top/a", NOISE)])
    raw = bytearray(archive.read_bytes())
    raw[raw.rindex(b"PK\x01\x02") + 8] |= 1
    archive.write_bytes(raw)
    assert "encrypted" in refused(archive, tmp_path)


def test_a_compression_that_is_not_known_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("top/a", NOISE)
    assert "not known here" in refused(tmp_path / "a", tmp_path)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.0, 0.0001, 0.1, 0.5, 0.9, 0.9999])
def test_cut_archives_are_named(kind: str, share: float, tmp_path: Path) -> None:
    archive = pack(kind, tmp_path, GOOD)
    archive.write_bytes(archive.read_bytes()[: int(archive.stat().st_size * share)])
    refused(archive, tmp_path)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(kind=st.sampled_from(KINDS), where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_is_found_or_harmless(
    kind: str, where: float, bit: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    place = tmp_path_factory.mktemp("flipped")
    small = {name: value[:300] for name, value in GOOD.items()}
    archive = pack(kind, place, small)
    raw = bytearray(archive.read_bytes())
    raw[int(where * len(raw))] ^= 1 << bit
    archive.write_bytes(raw)
    try:
        folder = take(archive, place / "to" / "data")
    except ArchiveError as problem:
        assert str(problem).isprintable()
        assert not any((place / "to").iterdir())
    else:
        assert sorted(content(folder).values()) == sorted(small.values())


def test_a_broken_header_midway_is_not_taken_for_the_end(tmp_path: Path) -> None:
    with gzip.open(tar(tmp_path / "good", [("top/a", b"1" * 600), ("top/b", b"2" * 600)])) as file:
        raw = bytearray(file.read())
    raw[raw.index(b"top/b") + 150] ^= 1  # in its checksum
    (tmp_path / "a").write_bytes(gzip.compress(raw))
    assert "cut or damaged" in refused(tmp_path / "a", tmp_path)


@pytest.mark.parametrize("start", [b"", b"<!DOCTYPE html>", b"PK", b"\x1f\x8b", b"BZh9", b"7z"])
def test_what_is_no_archive_is_named(start: bytes, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(start)
    refused(tmp_path / "a", tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_there_is_not_written_over(kind: str, tmp_path: Path) -> None:
    archive = pack(kind, tmp_path, GOOD)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine.txt").write_text("mine")
    with pytest.raises(DatasetError, match="is there already"):
        take(archive, tmp_path / "data")
    assert content(tmp_path / "data") == {"top/mine.txt": b"mine"}


def test_what_comes_meanwhile_is_not_written_over(tmp_path: Path) -> None:
    def meanwhile(unpacked: Path) -> None:
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "mine.txt").write_text("mine")

    with pytest.raises((DatasetError, OSError)):
        take(pack("zip", tmp_path, GOOD), tmp_path / "data", check=meanwhile)
    assert content(tmp_path / "data") == {"top/mine.txt": b"mine"}
    assert {path.name for path in tmp_path.iterdir()} == {"archive", "data"}


def test_an_empty_folder_and_a_link_to_one_are_filled(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "data").symlink_to(tmp_path / "disk")
    take(pack("tar", tmp_path, GOOD), tmp_path / "data")
    assert (tmp_path / "data").is_symlink()
    assert content(tmp_path / "disk") == GOOD


def test_what_a_killed_run_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / f".spectro-{1:032x}" / "new" / "audio").mkdir(parents=True)
    (tmp_path / f".spectro-{1:032x}" / "new" / "audio" / "1.wav").write_bytes(b"half")
    assert content(take(pack("zip", tmp_path, GOOD), tmp_path / "data")) == GOOD
    assert {path.name for path in tmp_path.iterdir()} == {"archive", "data"}


def test_what_the_check_says_stands_and_nothing_is_left(tmp_path: Path) -> None:
    def check(unpacked: Path) -> None:
        assert content(unpacked) == GOOD
        assert not (tmp_path / "data").exists()
        raise DatasetError("not all of it")

    with pytest.raises(DatasetError, match="not all of it"):
        take(pack("tar", tmp_path, GOOD), tmp_path / "data", check=check)
    assert {path.name for path in tmp_path.iterdir()} == {"archive"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_disk_that_fills_up_is_one_line(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = pack(kind, tmp_path, GOOD)
    monkeypatch.setattr(Path, "open", opening(lambda path: path.suffix == ".wav", 1000))
    with pytest.raises(DatasetError, match="the disk is full") as error:
        take(archive, tmp_path / "data")
    assert not isinstance(error.value, ArchiveError)  # the archive is good
    assert {path.name for path in tmp_path.iterdir()} == {"archive"}


def test_modes_and_owners_of_the_archive_are_not_taken(tmp_path: Path) -> None:
    info = tarfile.TarInfo("top/run")
    info.mode, info.uid = 0o4777, 12345
    folder = take(tar(tmp_path / "a", [(info, b"#!")]), tmp_path / "data")
    found = (folder / "run").stat()
    assert not found.st_mode & 0o7111
    assert found.st_uid == os.getuid()


# Mutated archives: of the container, of what it compresses, and of the fields in both.

PLAIN = {
    "top/meta/list.csv": b"a,b\n", "top/audio/1.wav": b"RIFF" * 99, "top/" + "l" * 120: b"x",
}  # fmt: skip
PIECES = [
    b"", b"\0", b"\xff" * 4, b"\xff" * 8, b"\x80" * 12, b"-1", b"7777777", b"../", b"/",
    b"PK\x01\x02", b"x", b"g", b"L", b"K", b"S", b"1", b"2", b"5", b"99999 path=../../up\n",
]  # fmt: skip


def mutated(raw: bytes, chance: random.Random, ways: int = 4) -> bytes:
    """Set or overwrite bytes, up to four times; with all four ways also cut, insert and repeat."""
    changed = bytearray(raw)
    for _ in range(chance.randint(1, 4)):
        at, piece = chance.randrange(len(changed) + 1), chance.choice(PIECES)
        till = min(len(changed), at + chance.choice((0, 1, len(piece), 30, 512)))
        way = chance.randrange(ways)
        if way == 0 and at < len(changed):
            changed[at] = chance.randrange(256)
        elif way == 1:
            changed[at : at + len(piece)] = piece
        elif way == 2:
            changed[at:till] = piece
        elif way == 3:
            changed[at:at] = changed[at:till] * chance.randint(1, 40)
    return bytes(changed)


def with_right_checksums(raw: bytes) -> bytes:
    """Mend the checksum of each tar header, so that what else is wrong with it is read."""
    blocks = [raw[i : i + 512] for i in range(0, len(raw), 512)]
    for number, block in enumerate(blocks):
        if block[257:262] == b"ustar" and len(block) == 512:
            total = sum(block) - sum(block[148:156]) + 8 * 32
            blocks[number] = block[:148] + b"%06o\0 " % total + block[156:]
    return b"".join(blocks)


def check_mutated(kind: str, seed: int, place: Path) -> None:
    chance = random.Random(seed)
    archive = pack(kind, place, PLAIN)
    raw = archive.read_bytes()
    if kind == "tar" and seed % 4:
        inner = mutated(gzip.decompress(raw), chance, ways=2 if seed % 2 else 4)
        raw = gzip.compress(with_right_checksums(inner) if seed % 2 else inner, 1)
    else:
        raw = mutated(raw, chance)
    archive.write_bytes(raw)
    (place / "canary").write_text("precious")
    target = place / "to" / "data"
    try:
        take(archive, target)
    except ArchiveError as problem:
        assert str(problem).isprintable(), seed
        assert len(str(problem)) < 900, seed
        assert not list((place / "to").glob("*")), seed
    there = [path for path in place.rglob("*") if target not in path.parents]
    assert set(there) <= {archive, place / "canary", place / "to", target}, seed
    assert not any(path.is_symlink() for path in place.rglob("*")), seed
    assert (place / "canary").read_text() == "precious"
    shutil.rmtree(place)


@pytest.mark.parametrize("kind", KINDS)
def test_mutated_archives_are_refused_or_stay_inside(kind: str, tmp_path: Path) -> None:
    for seed in range(200):
        (tmp_path / str(seed)).mkdir()
        check_mutated(kind, seed, tmp_path / str(seed))


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_many_mutated_archives_are_refused_or_stay_inside(kind: str, tmp_path: Path) -> None:
    for seed in range(1000, 6000):
        (tmp_path / str(seed)).mkdir()
        check_mutated(kind, seed, tmp_path / str(seed))
