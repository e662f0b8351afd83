"""One's own data: what counts as a clip, and folds that are made once and then never move."""

from __future__ import annotations

import csv
import errno
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
from hypothesis import given, settings
from hypothesis import strategies as st

from spectro.clips import datasets
from spectro.clips.datasets import folds, listing
from spectro.errors import DatasetError

OWN_RECORDINGS = "every file counts as a recording of its own"


def write_clip(path: Path) -> Path:
    """Write a tenth of a second of a sine, as WAV whatever the suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, 0.5 * np.sin(np.arange(800) * 0.3), 8_000, format="WAV", subtype="PCM_16")
    return path


def touch(root: Path, names: Iterable[str]) -> Path:
    """Make empty files: a clip table is read from names alone."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def write_classes(root: Path, **sizes: int) -> Path:
    return touch(root, [f"{label}/{i:03}.wav" for label, n in sizes.items() for i in range(n)])


def write_csv(path: Path, columns: str, *rows: Iterable[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([columns.split(), *rows])
    return path


def fold_of(dataset: datasets.Dataset) -> dict[str, int]:
    """Return the fold of each clip by its path below the root."""
    return {
        Path(path).relative_to(dataset.root).as_posix(): fold
        for path, fold in zip(dataset.clips["path"], dataset.clips["fold"], strict=True)
    }


def folds_of_groups(dataset: datasets.Dataset) -> dict[str, set[int]]:
    return dataset.clips.groupby("group")["fold"].agg(set).to_dict()


def sizes(dataset: datasets.Dataset) -> pd.DataFrame:
    """Count clips by class (row) and fold (column), zeros included."""
    counts = pd.crosstab(dataset.clips["label"], dataset.clips["fold"])
    return counts.reindex(columns=list(dataset.folds), fill_value=0)


# ---------------------------------------------------------------------------- what counts as a clip


@pytest.mark.parametrize("change", [str.lower, str.upper, str.title])
def test_sound_files_are_found_whatever_the_case_of_their_suffix(
    tmp_path: Path, change: Any
) -> None:
    names = [f"owl/{i}{change(suffix)}" for i, suffix in enumerate(sorted(listing.SUFFIXES))]
    touch(tmp_path, names)
    assert sorted(fold_of(datasets.load(tmp_path, n_folds=2))) == sorted(names)


def test_other_and_hidden_files_are_not_clips(tmp_path: Path) -> None:
    touch(tmp_path, ["owl/a.wav", "owl/b.wav"])
    touch(tmp_path, ["owl/notes.txt", "owl/a.png", "owl/wav", "owl/.hidden.wav", "owl/._a.wav"])
    touch(tmp_path, ["top-level.wav", "folds.md"])
    found = fold_of(datasets.load(tmp_path, n_folds=2))
    assert sorted(found) == ["owl/a.wav", "owl/b.wav"]


def test_hidden_folders_hold_no_clips(tmp_path: Path) -> None:
    touch(tmp_path, ["owl/a.wav", "owl/b.wav", ".trash/c.wav", "owl/.old/d.wav"])
    found = fold_of(datasets.load(tmp_path, n_folds=2))
    assert sorted(found) == ["owl/a.wav", "owl/b.wav"]


def test_data_below_a_hidden_folder_is_data(tmp_path: Path) -> None:
    root = touch(tmp_path / ".cache" / "birds", ["owl/a.wav", "owl/b.wav"])
    assert len(datasets.load(root, n_folds=2).clips) == 2


def test_label_is_the_first_folder_however_deep_the_clip_lies(tmp_path: Path) -> None:
    touch(tmp_path, ["owl/north/2020/a.wav", "owl/b.wav", "fox/owl/c.wav"])
    clips = datasets.load(tmp_path, n_folds=2).clips
    assert list(clips["label"]) == ["fox", "owl", "owl"]


LABELS = ["nan", "NA", "NULL", "None", "1", "01", "True", "-inf", "Grünspecht", "海鸥", "a b,c;d"]


def test_labels_stay_text_as_they_are_written_in_folders(tmp_path: Path) -> None:
    touch(tmp_path, [f"{label}/{i}.wav" for label in LABELS for i in range(5)])
    first = datasets.load(tmp_path)
    again = datasets.load(tmp_path)
    assert first.labels == again.labels == sorted(LABELS)
    assert fold_of(first) == fold_of(again)
    assert (first.clips["label"].value_counts() == 5).all()


def test_labels_groups_and_paths_stay_text_as_they_are_written_in_a_csv(tmp_path: Path) -> None:
    rows = [(f"{i} {label}.wav", label, label) for label in LABELS for i in (1, 2)]
    touch(tmp_path, [path for path, _, _ in rows])
    write_csv(tmp_path / "clips.csv", "path label group", *rows)
    for _ in range(2):  # the second time, folds come from folds.csv
        dataset = datasets.load(tmp_path, n_folds=2)
        clips = dataset.clips
        assert dataset.labels == sorted(LABELS)
        assert list(clips["group"]) == list(clips["label"])
        assert [Path(path).stem[2:] for path in clips["path"]] == list(clips["label"])
        assert all(len(found) == 1 for found in folds_of_groups(dataset).values())


def test_file_name_that_is_no_text_is_listed_and_its_group_escaped(tmp_path: Path) -> None:
    touch(tmp_path, ["owl/a.wav", "owl/b.wav"])
    name = os.fsdecode(b"k\xe4uzchen.wav")  # Latin-1, as old archives hold it
    try:
        (tmp_path / "owl" / name).touch()
    except (OSError, UnicodeError):
        pytest.skip("this file system takes only Unicode names")
    for _ in range(2):  # the second time, folds come from folds.csv
        clips = datasets.load(tmp_path, n_folds=2).clips
        assert sorted(clips["group"]) == ["owl/a.wav", "owl/b.wav", r"owl/k\udce4uzchen.wav"]
        assert all(Path(path).is_file() for path in clips["path"])


def test_folder_that_holds_only_loose_files_says_what_to_do(tmp_path: Path) -> None:
    touch(tmp_path, ["a.wav", "b.wav"])
    with pytest.raises(DatasetError, match=r"no sound file in a folder a class.*LABEL"):
        datasets.load(tmp_path, "folder")


# -------------------------------------------------------------------- folds are made once and kept


def test_folds_are_written_beside_the_data_and_told(tmp_path: Path) -> None:
    write_classes(tmp_path, owl=10, fox=10)
    first = datasets.load(tmp_path)
    file = tmp_path / "folds.csv"
    written = pd.read_csv(file)
    assert dict(zip(written["group"], written["fold"], strict=True)) == fold_of(first)
    assert "5 folds made by recording, which rendering keeps in folds.csv" in first.notes
    assert datasets.load(tmp_path).notes == first.notes  # an interrupted run is told the same
    with pytest.raises(DatasetError, match="holds 5 folds and 3 were asked for"):
        datasets.load(tmp_path, n_folds=3)


def test_as_many_folds_as_were_made_before(tmp_path: Path) -> None:
    write_classes(tmp_path, owl=10, fox=10)
    first = datasets.load(tmp_path, n_folds=2)
    assert fold_of(datasets.load(tmp_path)) == fold_of(first)


def test_second_load_gives_the_same_table_and_leaves_the_file_alone(tmp_path: Path) -> None:
    write_classes(tmp_path, owl=13, fox=8)
    first = datasets.load(tmp_path)
    content = (tmp_path / "folds.csv").read_bytes()
    again = datasets.load(tmp_path, seed=99)  # the seed is only that of the first dealing
    pd.testing.assert_frame_equal(first.clips, again.clips)
    assert (tmp_path / "folds.csv").read_bytes() == content


def test_same_seed_deals_alike_elsewhere_and_another_seed_differently(tmp_path: Path) -> None:
    dealt = {}
    for place, seed in (("a", 0), ("b", 0), ("c", 1)):
        root = write_classes(tmp_path / place, owl=15, fox=15)
        dealt[place] = fold_of(datasets.load(root, seed=seed))
    assert dealt["a"] == dealt["b"]
    assert dealt["a"] != dealt["c"]


@pytest.mark.parametrize("n_folds", [2, 3, 5, 10])
def test_classes_are_spread_evenly(tmp_path: Path, n_folds: int) -> None:
    dataset = datasets.load(write_classes(tmp_path, owl=30, fox=30, hen=60), n_folds=n_folds)
    assert dataset.folds == tuple(range(1, n_folds + 1))
    expected = {label: n / n_folds for label, n in (("owl", 30), ("fox", 30), ("hen", 60))}
    for label, counts in sizes(dataset).iterrows():
        assert set(counts) == {expected[str(label)]}


def test_recordings_that_are_gone_keep_their_fold_for_their_return(tmp_path: Path) -> None:
    write_classes(tmp_path, owl=10)
    before = fold_of(datasets.load(tmp_path))
    (tmp_path / "owl/003.wav").unlink()
    touch(tmp_path, ["owl/new.wav"])
    datasets.load(tmp_path)
    touch(tmp_path, ["owl/003.wav"])
    after = fold_of(datasets.load(tmp_path))
    assert {clip: after[clip] for clip in before} == before


CLASS_SIZES = st.dictionaries(st.sampled_from(["a", "b", "c", "d"]), st.integers(0, 7), max_size=4)


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(
    first=st.dictionaries(st.sampled_from("ab"), st.integers(3, 9), min_size=1),
    additions=st.lists(CLASS_SIZES, min_size=1, max_size=3),
    n_folds=st.integers(2, 3),
    seed=st.integers(0, 5),
)
def test_old_recordings_never_move_and_new_ones_even_out(
    tmp_path_factory: pytest.TempPathFactory,
    first: dict[str, int],
    additions: list[dict[str, int]],
    n_folds: int,
    seed: int,
) -> None:
    root = tmp_path_factory.mktemp("grows")
    write_classes(root, **first)
    known = fold_of(datasets.load(root, "folder", n_folds=n_folds, seed=seed))
    total = dict(first)
    for addition in additions:
        for label, n in addition.items():
            start = total.get(label, 0)
            touch(root, [f"{label}/{i:03}.wav" for i in range(start, start + n)])
            total[label] = start + n
        dataset = datasets.load(root, "folder", n_folds=n_folds, seed=seed)
        found = fold_of(dataset)
        assert {clip: found[clip] for clip in known} == known
        assert len(found) == sum(total.values())
        assert set(found.values()) <= set(range(1, n_folds + 1))
        spread = sizes(dataset)
        # Every file is a recording here, so nothing hinders classes from being even.
        assert (spread.max(axis=1) - spread.min(axis=1) <= 1).all()
        known = found


@settings(max_examples=60, deadline=None)
@given(
    recordings=st.lists(
        st.lists(st.sampled_from("abc"), min_size=1, max_size=4), min_size=2, max_size=14
    ),
    data=st.data(),
)
def test_any_recordings_can_be_dealt_into_any_folds_there_are_enough_for(
    recordings: list[list[str]], data: st.DataObject
) -> None:
    n_folds = data.draw(st.integers(2, len(recordings)), label="n_folds")
    clips = pd.DataFrame(
        [(label, f"r{i}") for i, labels in enumerate(recordings) for label in labels],
        columns=["label", "group"],
    )
    dealt = folds.deal_folds(clips, n_folds, seed=0)
    assert set(dealt) == set(clips["group"])
    assert set(dealt.values()) == set(range(1, n_folds + 1)), "no fold is empty"


def test_few_clips_of_many_classes_can_be_dealt(tmp_path: Path) -> None:
    write_classes(tmp_path, owl=2, fox=2, hen=2)
    dataset = datasets.load(tmp_path)
    assert set(dataset.clips["fold"]) == {1, 2, 3, 4, 5}


@pytest.mark.parametrize(("n_clips", "n_folds"), [(4, 5), (3, 10), (3, 1), (3, 0)])
def test_more_folds_than_recordings_or_fewer_than_two_is_an_error(
    tmp_path: Path, n_clips: int, n_folds: int
) -> None:
    write_classes(tmp_path, owl=n_clips)
    with pytest.raises(
        DatasetError,
        match=f"cannot make {n_folds} folds of {n_clips} recordings; ask for 2 to {n_clips}",
    ):
        datasets.load(tmp_path, n_folds=n_folds)
    assert not (tmp_path / "folds.csv").exists()


def test_classes_too_small_for_the_folds_are_told_with_their_folds(tmp_path: Path) -> None:
    dataset = datasets.load(write_classes(tmp_path, owl=10, fox=4, hen=1))
    (note,) = (note for note in dataset.notes if "absent" in note)
    assert note == "classes absent from some of the 5 folds: fox (in 4), hen (in 1)"
    again = datasets.load(tmp_path)
    assert note in again.notes


def test_classes_large_enough_are_not_told(tmp_path: Path) -> None:
    dataset = datasets.load(write_classes(tmp_path, owl=5, fox=6))
    assert not any("absent" in note for note in dataset.notes)


# ------------------------------------------------------------------------- recordings and patterns


def test_files_count_as_recordings_of_their_own_and_that_is_told(tmp_path: Path) -> None:
    dataset = datasets.load(write_classes(tmp_path, owl=5))
    assert any(note.startswith(OWN_RECORDINGS) and "--group-pattern" in note
               for note in dataset.notes)  # fmt: skip
    assert dataset.clips["group"].is_unique


def test_files_of_one_name_in_two_classes_are_two_recordings(tmp_path: Path) -> None:
    dataset = datasets.load(write_classes(tmp_path, owl=5, fox=5))
    assert dataset.clips["group"].nunique() == 10


@pytest.mark.parametrize("pattern", [r"^(night\d+)_", r"^night\d+", r"(night\d+)_(\d+)"])
def test_group_pattern_keeps_the_clips_of_a_recording_together(
    tmp_path: Path, pattern: str
) -> None:
    names = [f"{('owl', 'fox')[n % 2]}/night{n}_{cut}.wav" for n in range(10) for cut in range(6)]
    dataset = datasets.load(touch(tmp_path, names), group_pattern=pattern)
    groups = folds_of_groups(dataset)
    assert sorted(groups) == [f"night{n}" for n in range(10)]
    assert all(len(found) == 1 for found in groups.values())
    assert (sizes(dataset) == 6).all(axis=None), "each class has a recording in every fold"
    assert not any(note.startswith(OWN_RECORDINGS) for note in dataset.notes)


def test_group_pattern_joins_clips_across_classes(tmp_path: Path) -> None:
    touch(tmp_path, [f"{label}/n{n}_{i}.wav" for label in "ab" for n in range(6) for i in range(3)])
    groups = folds_of_groups(datasets.load(tmp_path, group_pattern=r"n\d"))
    assert len(groups) == 6
    assert all(len(found) == 1 for found in groups.values())


def test_group_pattern_looks_at_the_file_name_alone(tmp_path: Path) -> None:
    root = touch(tmp_path / "night7", [f"night8/night{n}.wav" for n in range(3)])
    clips = datasets.load(root, group_pattern=r"night\d", n_folds=3).clips
    assert sorted(clips["group"]) == ["night0", "night1", "night2"]


def test_group_pattern_that_finds_nothing_names_the_file(tmp_path: Path) -> None:
    touch(tmp_path, ["owl/n1.wav", "owl/n2.wav", "owl/stray.wav"])
    with pytest.raises(DatasetError, match=r"stray\.wav: --group-pattern .* finds nothing"):
        datasets.load(tmp_path, group_pattern=r"n\d", n_folds=2)


def test_group_pattern_with_an_optional_part_that_is_missing_names_the_file(tmp_path: Path) -> None:
    touch(tmp_path, ["owl/n1.wav", "owl/n2.wav", "owl/x.wav"])
    with pytest.raises(DatasetError, match=r"x\.wav"):
        datasets.load(tmp_path, group_pattern=r"^(n\d)?.*", n_folds=2)


def test_group_pattern_that_is_no_regular_expression_is_named(tmp_path: Path) -> None:
    write_classes(tmp_path, owl=5)
    with pytest.raises(DatasetError, match=r"'\(n' is no regular expression: "):
        datasets.load(tmp_path, group_pattern="(n")


# -------------------------------------------------------------------------------------- folds file


def test_folds_file_may_lie_elsewhere(tmp_path: Path) -> None:
    root = write_classes(tmp_path / "data", owl=10)
    file = tmp_path / "new" / "place" / "mine.csv"
    first = datasets.load(root, folds_file=file)
    assert not (root / "folds.csv").exists()
    assert len(pd.read_csv(file)) == 10
    assert any("rendering keeps in mine.csv" in note for note in first.notes)
    assert fold_of(datasets.load(root, folds_file=file)) == fold_of(first)


def test_folds_file_made_by_hand_is_followed(tmp_path: Path) -> None:
    write_classes(tmp_path, owl=4)
    by_hand = {"owl/000.wav": 2, "owl/001.wav": 2, "owl/002.wav": 2, "owl/003.wav": 1}
    write_csv(tmp_path / "folds.csv", "group fold", *by_hand.items())
    assert fold_of(datasets.load(tmp_path, n_folds=2)) == by_hand


def test_place_that_cannot_be_written_says_how_to_name_another(tmp_path: Path) -> None:
    root = write_classes(tmp_path / "data", owl=5)
    (tmp_path / "file").touch()
    file = tmp_path / "file" / "folds.csv"
    with pytest.raises(DatasetError, match=r"folds\.csv: cannot write.*--folds-file"):
        datasets.load(root, folds_file=file)


def test_read_only_data_says_how_to_name_another_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(path: Path, text: str) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    write_classes(tmp_path, owl=5)
    monkeypatch.setattr(folds, "write_text", read_only)
    with pytest.raises(DatasetError, match=r"folds\.csv: .*Read-only file system.*--folds-file"):
        datasets.load(tmp_path)


def test_read_only_data_with_folds_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_classes(tmp_path, owl=5)
    before = fold_of(datasets.load(tmp_path))
    monkeypatch.setattr(folds, "_write_folds", lambda *args: pytest.fail("wrote folds"))
    assert fold_of(datasets.load(tmp_path)) == before


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("owl/000.wav", 1), ("owl/000.wav", 2)], "lists owl/000.wav twice"),
        ([("owl/000.wav", 1), ("owl/000.wav", 1)], "lists owl/000.wav twice"),
        ([("owl/000.wav", 1), ("owl/001.wav", "two")], "not a whole number"),
        ([("owl/000.wav", 1), ("owl/001.wav", "1.5")], "not a whole number"),
        ([("owl/000.wav", 1), ("owl/001.wav", "")], "fold"),
        ([("owl/000.wav", 1), ("", 2)], "group"),
        ([("owl/000.wav", 1), ("owl/001.wav", 3)], "holds 3 folds and 2 were asked for"),
        ([("owl/000.wav", 1), ("owl/001.wav", 1)], "holds 1 folds and 2 were asked for"),
        ([("owl/000.wav", 0), ("owl/001.wav", 2)], "fold"),
        ([("owl/000.wav", -1), ("owl/001.wav", 2)], "fold"),
    ],
)
def test_edited_folds_file_that_makes_no_sense_is_named(
    tmp_path: Path, rows: list[tuple[str, Any]], message: str
) -> None:
    write_classes(tmp_path, owl=4)
    file = write_csv(tmp_path / "folds.csv", "group fold", *rows)
    content = file.read_bytes()
    with pytest.raises(DatasetError, match=rf"folds\.csv: .*{message}"):
        datasets.load(tmp_path, n_folds=2)
    assert file.read_bytes() == content


def test_folds_that_are_numbered_otherwise_are_told_at_once(tmp_path: Path) -> None:
    """By the month, say: a million folds would each be looked at for every new recording."""
    write_classes(tmp_path, owl=4)
    write_csv(tmp_path / "folds.csv", "group fold", ("owl/000.wav", 202301), ("owl/001.wav", 2))
    with pytest.raises(DatasetError, match="has a fold 202301 of 2 recordings; folds count from 1"):
        datasets.load(tmp_path)


@given(st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=4), min_size=4, max_size=12),
       st.integers(2, 4), st.integers(0, 3))  # fmt: skip
def test_new_recordings_go_where_their_classes_are_fewest(
    recordings: list[list[str]], n_folds: int, n_known: int
) -> None:
    """Against counting all clips anew for each recording."""
    clips = pd.DataFrame(
        [(label, f"r{i:02}") for i, labels in enumerate(recordings) for label in labels],
        columns=["label", "group"],
    )
    known = {f"r{i:02}": i % n_folds + 1 for i in range(n_known)}
    expected = dict(known)
    for group in sorted(set(clips["group"]) - set(known)):
        labels = clips.loc[clips["group"] == group, "label"]
        placed = clips["group"].map(expected)
        alike, total = placed[clips["label"].isin(labels)].value_counts(), placed.value_counts()
        expected[group] = min(
            range(1, n_folds + 1), key=lambda k: (alike.get(k, 0), total.get(k, 0), k)
        )
    assert folds._deal_to(known, clips, n_folds) == expected


@pytest.mark.parametrize("content", ["", "recording,fold\nowl/000.wav,1\n"])
def test_folds_file_that_is_no_table_of_folds_is_named(tmp_path: Path, content: str) -> None:
    write_classes(tmp_path, owl=4)
    (tmp_path / "folds.csv").write_text(content)
    with pytest.raises(DatasetError, match=r"folds\.csv: "):
        datasets.load(tmp_path, n_folds=2)


def test_another_number_of_folds_than_those_made_is_refused(tmp_path: Path) -> None:
    write_classes(tmp_path, owl=20)
    datasets.load(tmp_path, n_folds=5)
    with pytest.raises(DatasetError, match="holds 5 folds and 10 were asked for; remove the file"):
        datasets.load(tmp_path, n_folds=10)


# ------------------------------------------------------------------------------------ CSV of clips


def test_csv_with_everything_is_taken_as_it_is(tmp_path: Path) -> None:
    touch(tmp_path, ["rec/a.wav", "rec/b.flac"])
    write_csv(
        tmp_path / "clips.csv",
        "path label fold group start end remark",
        ("rec/b.flac", "owl", 7, "north", "", "2.5", "loud"),
        ("rec/a.wav", "owl", 3, "south", "4", "8", ""),
        ("rec/a.wav", "fox", 3, "south", "0.25", "4", ""),
        ("rec/a.wav", "fox", 3, "south", "8", "", ""),
    )
    dataset = datasets.load(tmp_path, "folder")
    table = dataset.clips.assign(path=[Path(path).name for path in dataset.clips["path"]])
    expected = pd.DataFrame(
        {
            "path": ["a.wav", "a.wav", "a.wav", "b.flac"],
            "label": ["fox", "owl", "fox", "owl"],
            "fold": [3, 3, 3, 7],
            "group": ["south", "south", "south", "north"],
            "start": [0.25, 4.0, 8.0, np.nan],
            "end": [4.0, 8.0, np.nan, 2.5],
        }
    )
    pd.testing.assert_frame_equal(table, expected, check_dtype=False)
    assert dataset.folds == (3, 7)
    assert not (tmp_path / "folds.csv").exists()
    assert not any(note.startswith(OWN_RECORDINGS) or "made" in note for note in dataset.notes)


def test_csv_paths_start_at_the_csv_or_are_absolute(tmp_path: Path) -> None:
    inside = write_clip(tmp_path / "tables" / "in.wav")
    far = write_clip(tmp_path / "far" / "away.wav")
    file = write_csv(
        tmp_path / "tables" / "list.csv",
        "path label fold",
        ("in.wav", "a", 1),
        ("../tables/in.wav", "b", 2),
        (str(far), "c", 1),
    )
    dataset = datasets.load(file, "folder")
    clips = dataset.clips
    found = {clip.label: Path(clip.path).resolve() for clip in clips.itertuples()}
    assert found == {"a": inside.resolve(), "b": inside.resolve(), "c": far.resolve()}
    assert [note for note in dataset.notes if "outside" in note] == [
        f"1 listed clip lies outside {file.parent}, by an absolute path or a link: {far}"
    ]
    assert not any(".." in path for path in clips["path"])


def test_csv_wins_over_folders(tmp_path: Path) -> None:
    write_classes(tmp_path, owl=5, fox=5)
    write_csv(tmp_path / "clips.csv", "path label fold", ("owl/000.wav", "strix", 1))
    assert datasets.load(tmp_path, "folder").labels == ["strix"]


def test_csv_without_folds_gets_some_beside_it(tmp_path: Path) -> None:
    touch(tmp_path, [f"{i}.wav" for i in range(10)])
    file = write_csv(
        tmp_path / "list.csv", "path label", *((f"{i}.wav", "ab"[i % 2]) for i in range(10))
    )
    dataset = datasets.load(file, "folder")
    assert (sizes(dataset) == 1).all(axis=None)
    assert (tmp_path / "folds.csv").is_file()


def test_csv_groups_make_the_folds(tmp_path: Path) -> None:
    rows = [(f"{n}-{i}.wav", "ab"[n % 2], f"night {n}") for n in range(10) for i in range(4)]
    touch(tmp_path, [row[0] for row in rows])
    write_csv(tmp_path / "clips.csv", "path label group", *rows)
    dataset = datasets.load(tmp_path, "folder")
    groups = folds_of_groups(dataset)
    assert set(groups) == {f"night {n}" for n in range(10)}
    assert all(len(found) == 1 for found in groups.values())
    assert not any(note.startswith(OWN_RECORDINGS) for note in dataset.notes)


def test_parts_of_one_file_share_a_fold(tmp_path: Path) -> None:
    touch(tmp_path, [f"{n}.wav" for n in range(5)])
    rows = [(f"{n}.wav", "ab"[i % 2], i, i + 1) for n in range(5) for i in range(6)]
    write_csv(tmp_path / "clips.csv", "path label start end", *rows)
    dataset = datasets.load(tmp_path, "folder")
    assert len(dataset.clips) == 30
    assert set(folds_of_groups(dataset)) == {f"{n}.wav" for n in range(5)}
    assert dataset.clips.groupby("path")["fold"].agg(set).map(len).eq(1).all()


def test_csv_folds_that_leak_are_told_by_name(tmp_path: Path) -> None:
    nights = ["101", "9", "10", "8"]
    rows = [(f"{night}-{i}.wav", "owl", i, night) for night in nights for i in (1, 2)]
    rows += [("c-1.wav", "owl", 1, "c"), ("c-2.wav", "owl", 1, "c")]
    touch(tmp_path, [row[0] for row in rows])
    write_csv(tmp_path / "clips.csv", "path label fold group", *rows)
    dataset = datasets.load(tmp_path, "folder")
    assert dataset.notes[0] == "4 source recordings sit in more than one fold: 8, 9, 10, 101"
    assert list(dataset.clips["fold"]).count(2) == 4, "told, not mended"


def test_csv_pattern_finds_leaks_of_given_folds(tmp_path: Path) -> None:
    touch(tmp_path, ["n1_a.wav", "n1_b.wav", "n2_a.wav"])
    rows = [("n1_a.wav", "x", 1), ("n1_b.wav", "x", 2), ("n2_a.wav", "x", 2)]
    write_csv(tmp_path / "clips.csv", "path label fold", *rows)
    dataset = datasets.load(tmp_path, "folder", group_pattern=r"n\d")
    assert dataset.notes[0] == "1 source recordings sit in more than one fold: n1"


@pytest.mark.parametrize("missing", ["path", "label"])
def test_csv_without_a_needed_column_names_it(tmp_path: Path, missing: str) -> None:
    columns = " ".join({"path", "label", "fold"} - {missing})
    write_csv(tmp_path / "clips.csv", columns, ("a.wav", 1))
    with pytest.raises(DatasetError, match=rf"clips\.csv: has no column {missing}; it has "):
        datasets.load(tmp_path, "folder")


def test_csv_without_rows_is_an_error(tmp_path: Path) -> None:
    write_csv(tmp_path / "clips.csv", "path label fold")
    with pytest.raises(DatasetError, match=tmp_path.name):
        datasets.load(tmp_path, "folder")


def test_csv_without_rows_and_folds_is_an_error(tmp_path: Path) -> None:
    write_csv(tmp_path / "clips.csv", "path label")
    with pytest.raises(DatasetError, match=tmp_path.name):
        datasets.load(tmp_path, "folder")


@pytest.mark.parametrize("empty", ["path", "label", "group", "fold"])
def test_csv_cell_that_is_empty_is_named(tmp_path: Path, empty: str) -> None:
    touch(tmp_path, ["a.wav", "b.wav", "c.wav"])
    row = {"path": "a.wav", "label": "x", "group": "g", "fold": 1, empty: ""}
    others = [("b.wav", "x", "h", 2), ("c.wav", "x", "i", 2)]
    write_csv(tmp_path / "clips.csv", "path label group fold", row.values(), *others)
    with pytest.raises(DatasetError, match=f"has no {empty}"):
        datasets.load(tmp_path, "folder")


@pytest.mark.parametrize("empty", ["path", "label", "group"])
def test_csv_cell_that_is_empty_is_named_before_folds_are_made(tmp_path: Path, empty: str) -> None:
    touch(tmp_path, ["a.wav", "b.wav", "c.wav"])
    row = {"path": "a.wav", "label": "x", "group": "g", empty: ""}
    others = [("b.wav", "x", "h"), ("c.wav", "x", "i")]
    write_csv(tmp_path / "clips.csv", "path label group", row.values(), *others)
    with pytest.raises(DatasetError, match=f"has no {empty}"):
        datasets.load(tmp_path, "folder", n_folds=2)


@pytest.mark.parametrize(
    ("column", "value"), [("fold", "one"), ("fold", "1.5"), ("start", "0:10"), ("end", "late")]
)
def test_csv_value_that_is_no_number_is_an_error(tmp_path: Path, column: str, value: str) -> None:
    touch(tmp_path, ["a.wav"])
    row = {"path": "a.wav", "label": "x", "fold": 1, "start": 0, "end": 1, column: value}
    write_csv(tmp_path / "clips.csv", "path label fold start end", row.values())
    with pytest.raises(
        DatasetError, match=rf"clips\.csv: row 1: {column} is not a .*number: '{value}'"
    ):
        datasets.load(tmp_path, "folder")


@pytest.mark.parametrize(("start", "end"), [(2, 1), (1, 1), (-1, 2), ("", 0), ("", -1)])
def test_csv_part_that_ends_before_it_starts_names_its_file(
    tmp_path: Path, start: Any, end: Any
) -> None:
    touch(tmp_path, ["a.wav", "b.wav"])
    rows = [("a.wav", "x", 1, 0, 1), ("b.wav", "x", 1, start, end)]
    write_csv(tmp_path / "clips.csv", "path label fold start end", *rows)
    with pytest.raises(DatasetError, match=r"clips\.csv: row 2: from .* s is no part of a"):
        datasets.load(tmp_path, "folder")


def test_csv_clip_without_a_file_is_absent_not_a_clip(tmp_path: Path) -> None:
    touch(tmp_path, ["a.wav", "b.wav"])
    rows = [("a.wav", "x", 1), ("b.wav", "x", 2), ("gone.wav", "x", 2)]
    write_csv(tmp_path / "clips.csv", "path label fold", *rows)
    dataset = datasets.load(tmp_path, "folder")
    assert [Path(path).name for path in dataset.clips["path"]] == ["a.wav", "b.wav"]
    assert dataset.absent == ("gone.wav",)
    assert any("gone.wav" in note for note in dataset.notes)


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_csv_from_a_spreadsheet_is_read(tmp_path: Path, mark: str) -> None:
    touch(tmp_path, ["Käuzchen.wav"])
    text = f"{mark}path,label,fold\r\nKäuzchen.wav,Käuzchen,1\r\n"
    (tmp_path / "clips.csv").write_bytes(text.encode("utf-8"))
    dataset = datasets.load(tmp_path, "folder")
    assert dataset.labels == ["Käuzchen"]
    assert Path(dataset.clips["path"].iloc[0]).is_file()


# ------------------------------------------------------------------------- clips that people judged


VERDICTS = "path label start end group verdict heard probability peak"


def test_verdicts_are_more_clips_and_move_no_other(tmp_path: Path) -> None:
    root = write_classes(tmp_path / "own", cat=6, dog=6)
    before = datasets.load(root, n_folds=3)
    night = write_clip(tmp_path / "night" / "a.wav")
    judged = write_csv(
        tmp_path / "night" / "events.verdicts.csv", VERDICTS,
        ("a.wav", "background", 0, 0.05, "a.wav", "no", "cat", 0.9, 0.9),
        ("a.wav", "dog", 0.05, 0.1, "a.wav", "other", "cat", 0.8, 0.8),
    )  # fmt: skip
    after = datasets.load(root, verdicts=[judged])
    assert (
        fold_of(before).items()
        <= {
            Path(os.path.relpath(path, root)).as_posix(): fold
            for path, fold in zip(after.clips["path"], after.clips["fold"], strict=True)
        }.items()
    )
    added = after.clips[after.clips["path"] == str(night)]
    assert [*added["label"]] == ["background", "dog"]
    assert [*added["start"]] == [0, 0.05]
    assert len({*added["fold"]}) == 1, "one recording, one fold"
    assert after.clips["start"].isna().sum() == 12
    assert after.labels == ["background", "cat", "dog"]


def test_a_stretch_that_was_heard_as_two_classes_is_one_clip(tmp_path: Path) -> None:
    root = write_classes(tmp_path / "own", cat=3, dog=3)
    for name in ("a.wav", "b.wav"):
        write_clip(tmp_path / name)
    judged = write_csv(
        tmp_path / "v.csv", VERDICTS,
        ("a.wav", "background", 0, 0.04, "a.wav", "no", "cat", 0.9, 0.9),
        ("a.wav", "background", 0, 0.04, "a.wav", "no", "dog", 0.8, 0.8),
        ("a.wav", "background", 0.05, 0.08, "a.wav", "no", "cat", 0.8, 0.8),
        ("a.wav", "dog", 0.07, 0.09, "a.wav", "yes", "dog", 0.8, 0.8),
        ("b.wav", "background", 0.07, 0.09, "b.wav", "no", "dog", 0.8, 0.8),
    )  # fmt: skip
    dataset = datasets.load(root, n_folds=3, verdicts=[judged])
    added = dataset.clips[dataset.clips["start"].notna()]
    assert [*zip(added["label"], added["group"], added["start"], strict=True)] == [
        ("background", "a.wav", 0), ("dog", "a.wav", 0.07), ("background", "b.wav", 0.07),
    ]  # fmt: skip
    assert "1 clip judged 'no' overlaps a confirmed sound, and is left out" in dataset.notes


def test_a_judged_clip_belongs_to_the_recording_by_its_name_among_the_others(
    tmp_path: Path,
) -> None:
    root = tmp_path / "own"
    for n in range(6):
        write_clip(root / "rec" / f"r{n}.wav")
    write_csv(
        root / "clips.csv", "path label start end",
        *((f"rec/r{n}.wav", ("cat", "dog")[n % 2], 0, 0.05) for n in range(6)),
    )  # fmt: skip
    night = write_clip(tmp_path / "night" / "x-r9-01.wav")
    judged = write_csv(
        tmp_path / "v.csv", VERDICTS,
        *((f"own/rec/r{n}.wav", "dog", 0.05, 0.1, f"own/rec/r{n}.wav", "no", "cat", 0.9, 0.9)
          for n in range(6)),
        ("night/x-r9-01.wav", "dog", 0, 0.1, "night/x-r9-01.wav", "no", "cat", 0.9, 0.9),
        ("gone.wav", "dog", 0, 0.1, "gone.wav", "no", "cat", 0.9, 0.9),
    )  # fmt: skip
    dataset = datasets.load(root / "clips.csv", n_folds=3, verdicts=[judged], group_pattern=r"r\d")
    assert dataset.clips.groupby("path")["fold"].nunique().max() == 1
    groups = dict(zip(dataset.clips["path"], dataset.clips["group"], strict=True))
    assert groups[str(night)] == "r9"
    assert dataset.clips["group"].nunique() == 7
    assert "gone.wav" in dataset.absent


def test_verdicts_of_several_rounds_are_read_together(tmp_path: Path) -> None:
    root = write_classes(tmp_path / "own", cat=3, dog=3)
    write_clip(tmp_path / "a.wav")
    first, second = (
        write_csv(
            tmp_path / name, VERDICTS,
            ("a.wav", label, 0, end, "a.wav", verdict, "cat", 0.9, 0.9),
        )
        for name, label, end, verdict in (
            ("1.csv", "background", 0.04, "no"), ("2.csv", "dog", 0.05, "yes")
        )
    )  # fmt: skip
    dataset = datasets.load(root, n_folds=3, verdicts=[first, second])
    added = dataset.clips[dataset.clips["start"].notna()]
    assert [*added["label"]] == ["dog"], (
        "what the first called background is a dog, says the second"
    )


def test_of_two_verdicts_on_one_stretch_the_last_counts(tmp_path: Path) -> None:
    root = write_classes(tmp_path / "own", cat=3, dog=3)
    write_clip(tmp_path / "a.wav")
    tables = [
        write_csv(tmp_path / f"{label}.csv", VERDICTS,
                  ("a.wav", label, 0, 0.05, "a.wav", "other", "cat", 0.9, 0.9))
        for label in ("bird", "frog")
    ]  # fmt: skip
    dataset = datasets.load(root, n_folds=3, verdicts=tables)
    assert [*dataset.clips["label"][dataset.clips["start"].notna()]] == ["frog"]


def test_a_table_that_is_no_verdicts_is_refused(tmp_path: Path) -> None:
    root = write_classes(tmp_path / "own", cat=3, dog=3)
    other = write_csv(tmp_path / "v.csv", "path label", (write_clip(tmp_path / "a.wav"), "dog"))
    with pytest.raises(DatasetError, match="is no table of verdicts"):
        datasets.load(root, n_folds=3, verdicts=[other])
    with pytest.raises(DatasetError, match=r"gone\.csv: no such file"):
        datasets.load(root, n_folds=3, verdicts=[tmp_path / "gone.csv"])


def test_verdicts_beside_folds_of_the_data_are_refused(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.wav")
    table = write_csv(tmp_path / "clips.csv", "path label fold", ("a.wav", "cat", 1))
    judged = write_csv(
        tmp_path / "v.csv", VERDICTS, ("a.wav", "dog", 0, 0.05, "a.wav", "no", "cat", 0.9, 0.9)
    )
    with pytest.raises(DatasetError, match=r"bring folds of their own.*add its rows to that table"):
        datasets.load(table, verdicts=[judged])


def test_verdicts_on_recordings_that_are_gone_are_refused(tmp_path: Path) -> None:
    root = write_classes(tmp_path / "own", cat=3, dog=3)
    judged = write_csv(
        tmp_path / "v.csv", VERDICTS, ("gone.wav", "dog", 0, 1, "gone.wav", "no", "cat", 0.9, 0.9)
    )
    with pytest.raises(DatasetError, match="none of the 1 listed clips is on disk"):
        datasets.load(root, n_folds=3, verdicts=[judged])
