"""A reader sees the old file or the new one, whatever happens while it is written."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from spectro.plumbing.files import (
    is_scratch,
    read_bounded,
    replacing,
    replacing_folder,
    write_text,
)


class BlockError(Exception):
    """What goes wrong inside a block."""


@pytest.fixture(params=[0o022, 0o077, 0o002], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    """A umask for the time of a test."""
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def bits(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def contents(folder: Path) -> dict[str, str]:
    """Every file below `folder`, by relative path."""
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


# One file


@pytest.mark.parametrize("as_type", [str, Path])
def test_a_new_file_appears_when_the_block_ends(tmp_path: Path, as_type: Any) -> None:
    path = tmp_path / "new folder" / "deep" / "naïve name.txt"
    with replacing(as_type(path)) as temporary:
        temporary.write_text("new")
        assert not path.exists()
    assert contents(tmp_path) == {"new folder/deep/naïve name.txt": "new"}


def test_a_reader_sees_the_old_file_until_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "model.json"
    path.write_text("old")
    with replacing(path) as temporary:
        temporary.write_text("half")
        assert path.read_text() == "old"
        temporary.write_text("half and half")
        assert path.read_text() == "old"
    assert contents(tmp_path) == {"model.json": "half and half"}


def test_an_open_reader_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "model.json"
    path.write_text("old")
    with path.open() as reader:
        with replacing(path) as temporary:
            temporary.write_text("new, and longer than before")
        assert reader.read() == "old"


def test_the_temporary_lies_beside_and_keeps_the_suffix(tmp_path: Path) -> None:
    # Beside: another file system could not be renamed from. The suffix: writers read it.
    with replacing(tmp_path / "weights.pth") as first, replacing(tmp_path / "weights.pth") as other:
        for temporary in (first, other):
            assert temporary.parent.parent == tmp_path
            assert temporary.suffix == ".pth"
            assert is_scratch(temporary.parent)
            temporary.write_text("")
        assert first != other


@pytest.mark.parametrize("error", [BlockError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("existed", [True, False])
def test_a_failure_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, error: type[BaseException], existed: bool
) -> None:
    path = tmp_path / "model.json"
    if existed:
        path.write_text("old")
    with pytest.raises(error), replacing(path) as temporary:
        temporary.write_text("half")
        raise error
    assert contents(tmp_path) == ({"model.json": "old"} if existed else {})


def test_a_block_that_wrote_nothing_fails_and_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "model.json"
    path.write_text("old")
    with pytest.raises(FileNotFoundError), replacing(path):
        pass
    assert contents(tmp_path) == {"model.json": "old"}


def test_a_folder_in_the_way_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "model.json"
    path.mkdir()
    (path / "kept").write_text("kept")
    with pytest.raises(OSError), replacing(path) as temporary:
        temporary.write_text("new")
    assert contents(tmp_path) == {"model.json/kept": "kept"}


def test_a_files_permission_bits_follow_the_umask(tmp_path: Path, umask: int) -> None:
    path = tmp_path / "model.json"
    for _ in range(2):  # a new file, and one that takes another's place
        write_text(path, "text")
        assert bits(path) == 0o666 & ~umask


# Text


def test_text_is_written_as_utf_8_with_unix_line_ends(tmp_path: Path) -> None:
    write_text(tmp_path / "a" / "notes.txt", "große Eule\nвыпь\n")
    written = (tmp_path / "a" / "notes.txt").read_bytes()
    assert written == "große Eule\nвыпь\n".encode()


def test_text_replaces_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    write_text(str(path), "a long first version\n")
    write_text(str(path), "short\n")
    assert contents(tmp_path) == {"notes.txt": "short\n"}


def test_text_that_cannot_be_encoded_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    write_text(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "lone surrogate \ud800")
    assert contents(tmp_path) == {"notes.txt": "old"}


# Folders

OLD = {"a.txt": "old a", "deep/b.txt": "old b", "z.txt": "old z"}
NEW = {"a.txt": "new a", "deep/c.txt": "new c"}


def fill(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


@pytest.mark.parametrize("as_type", [str, Path])
def test_a_new_folder_appears_when_the_block_ends(tmp_path: Path, as_type: Any) -> None:
    path = tmp_path / "up" / "pictures of birds"
    with replacing_folder(as_type(path)) as temporary:
        fill(temporary, NEW)
        assert not path.exists()
        assert temporary.parent.parent == path.parent
    assert contents(path) == NEW
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_reader_sees_the_old_folder_until_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "pictures"
    fill(path, OLD)
    with replacing_folder(path) as temporary:
        fill(temporary, NEW)
        assert contents(path) == OLD
    assert contents(path) == NEW
    assert [p.name for p in tmp_path.iterdir()] == ["pictures"]


@pytest.mark.parametrize("error", [BlockError, KeyboardInterrupt])
@pytest.mark.parametrize("existed", [True, False])
def test_a_failure_leaves_the_old_folder_and_nothing_else(
    tmp_path: Path, error: type[BaseException], existed: bool
) -> None:
    path = tmp_path / "pictures"
    if existed:
        fill(path, OLD)
    with pytest.raises(error), replacing_folder(path) as temporary:
        fill(temporary, NEW)
        raise error
    assert [p.name for p in tmp_path.iterdir()] == (["pictures"] if existed else [])
    assert contents(tmp_path) == ({f"pictures/{k}": v for k, v in OLD.items()} if existed else {})


def test_an_old_folder_that_cannot_be_removed_is_not_left_in_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A file held open on a network drive, a crash: deleting takes time, and can stop anywhere.
    path = tmp_path / "pictures"
    fill(path, OLD)
    removed = []

    def only_one(name: Any, **options: Any) -> None:
        if removed:
            raise PermissionError(13, "in use", str(name))
        removed.append(name)
        real_unlink(name, **options)

    real_unlink = os.unlink
    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", only_one)
        try:
            with replacing_folder(path) as temporary:
                fill(temporary, NEW)
        except OSError:
            pass  # saying so is fine; a folder in pieces is not
    assert removed
    assert contents(path) in (OLD, NEW)


def test_the_old_folder_is_whole_while_it_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "pictures"
    fill(path, OLD)
    seen = []

    def watched(name: Any, **options: Any) -> None:
        seen.append(contents(path))
        real_unlink(name, **options)
        seen.append(contents(path))

    real_unlink = os.unlink
    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", watched)
        with replacing_folder(path) as temporary:
            fill(temporary, NEW)
    assert seen
    assert all(files in (OLD, NEW) for files in seen)


def test_a_file_in_the_folders_way_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "pictures"
    path.write_text("kept")
    with pytest.raises(OSError), replacing_folder(path) as temporary:
        fill(temporary, NEW)
    assert contents(tmp_path) == {"pictures": "kept"}


def test_a_folders_permission_bits_follow_the_umask(tmp_path: Path, umask: int) -> None:
    path = tmp_path / "pictures"
    for _ in range(2):
        with replacing_folder(path) as temporary:
            fill(temporary, NEW)
        assert bits(path) == 0o777 & ~umask
        assert bits(path / "a.txt") == 0o666 & ~umask


def test_a_link_to_a_folder_leads_to_the_new_one(tmp_path: Path) -> None:
    # Pictures of a large data set often lie on another disk, behind a link.
    disk, path = tmp_path / "disk" / "pictures", tmp_path / "pictures"
    fill(disk, OLD)
    path.symlink_to(disk, target_is_directory=True)
    with replacing_folder(path) as temporary:
        fill(temporary, NEW)
    assert contents(path) == NEW


@pytest.mark.parametrize("name", ["n" * 255, "n" * 251 + ".png", "n." + "é" * 126])
def test_a_file_name_may_be_as_long_as_the_file_system_takes(tmp_path: Path, name: str) -> None:
    write_text(tmp_path / name, "new")
    assert contents(tmp_path) == {name: "new"}


def test_a_folder_name_may_be_as_long_as_the_file_system_takes(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 255)
    with replacing_folder(path) as temporary:
        fill(temporary, NEW)
    assert contents(path) == NEW


def test_an_error_names_the_file_that_was_to_be_written(tmp_path: Path) -> None:
    path = tmp_path / "findings.csv"
    with pytest.raises(OSError) as full, replacing(path):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert full.value.filename == str(path)
    with pytest.raises(FileNotFoundError) as gone, replacing(path) as temporary:
        temporary.read_bytes()
    assert gone.value.filename == str(path)
    with pytest.raises(FileNotFoundError) as other, replacing(path):
        (tmp_path / "other.csv").read_bytes()
    assert other.value.filename == str(tmp_path / "other.csv")


@pytest.mark.parametrize(("most", "told"), [(1_002, "1,002 bytes"), (1 << 20, "1 MiB")])
def test_a_file_is_read_whole_or_said_to_be_larger_than_may_be(
    tmp_path: Path, most: int, told: str
) -> None:
    (tmp_path / "a").write_bytes(bytes(most))
    assert len(read_bounded(tmp_path / "a", most)) == most
    (tmp_path / "a").write_bytes(bytes(most + 1))
    with pytest.raises(OSError, match=f"larger than {told}"):
        read_bounded(tmp_path / "a", most)
