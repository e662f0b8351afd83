"""Tables as people have them, and official splits: small trees of the published shapes."""

from __future__ import annotations

from pathlib import Path

import pytest

from spectro.clips import datasets
from spectro.errors import DatasetError
from tests.clips.test_folder import touch, write_csv

COLUMNS = {
    "path_column": "filename",
    "label_column": "primary_label",
    "group_column": "author",
}
BIRDS = [
    ("abethr1", "XC1.ogg", "A. Ray"),
    ("abethr1", "XC2.ogg", "A. Ray"),
    ("abethr1", "XC3.ogg", "B. Lee"),
    ("yebsto1", "XC4.ogg", "C. Wu"),
    ("yebsto1", "XC5.ogg", "B. Lee"),
]


def birdclef(root: Path) -> Path:
    """Lay files out as BirdCLEF does: a table beside ``train_audio``, and other tables."""
    rows = [
        (label, "['']", author, f"{label}/{name}", "CC BY 4.0") for label, name, author in BIRDS
    ]
    write_csv(
        root / "train_metadata.csv",
        "primary_label secondary_labels author filename license",
        *rows,
    )
    write_csv(root / "sample_submission.csv", "row_id abethr1 yebsto1", ("s_1_5", 0.5, 0.5))
    write_csv(root / "eBird_Taxonomy.csv", "SPECIES_CODE PRIMARY_COM_NAME", ("abethr1", "Thrush"))
    touch(root, [f"train_audio/{label}/{name}" for label, name, _ in BIRDS])
    return touch(root, ["test_soundscapes/soundscape_29201.ogg"])


def clips_of(dataset: datasets.Dataset) -> list[tuple[str, str, str]]:
    """Return file, label and group of each clip, each of which can be opened."""
    clips = dataset.clips
    assert all(Path(path).is_file() for path in clips["path"])
    rows = zip(clips["path"], clips["label"], clips["group"], strict=True)
    return [(Path(path).name, label, group) for path, label, group in rows]


@pytest.mark.parametrize("given", ["", "train_metadata.csv"])
def test_birdclef_is_read_by_its_own_columns(tmp_path: Path, given: str) -> None:
    found = datasets.load(birdclef(tmp_path) / given, n_folds=2, **COLUMNS)
    assert clips_of(found) == [(name, label, author) for label, name, author in BIRDS]
    assert not any("every file counts" in note for note in found.notes)
    sides = found.clips.groupby("group")["fold"].nunique()
    assert (sides == 1).all()
    assert found.reading == {"n_folds": 2, **COLUMNS}


def test_a_table_with_both_names_of_a_column_takes_the_named_one(tmp_path: Path) -> None:
    touch(tmp_path, ["a.wav", "b.wav"])
    rows = [("x", "a.wav", "owl", 2), ("y", "b.wav", "fox", 1)]
    write_csv(tmp_path / "t.csv", "path file label part", *rows)
    found = datasets.load(tmp_path / "t.csv", path_column="file", fold_column="part")
    assert [(row.label, row.fold) for row in found.clips.itertuples()] == [("owl", 2), ("fox", 1)]


def test_a_column_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    birdclef(tmp_path)
    table = tmp_path / "train_metadata.csv"
    with pytest.raises(DatasetError, match=r"no column species; it has primary_label, .*filename"):
        datasets.load(table, path_column="filename", label_column="species")
    proposed = "--path-column filename --label-column primary_label --group-column author"
    with pytest.raises(DatasetError, match=f"no column path, label.*; perhaps: {proposed}$"):
        datasets.load(table)
    with pytest.raises(DatasetError, match=rf"; by train_metadata\.csv, perhaps: {proposed}$"):
        datasets.load(tmp_path)
    other = write_csv(tmp_path / "other.csv", "what where", ("a.wav", "b"))
    with pytest.raises(DatasetError, match=r"name yours with --path-column and --label-column$"):
        datasets.load(other)
    with pytest.raises(DatasetError, match="no table has the columns filename, species"):
        datasets.load(tmp_path, path_column="filename", label_column="species")


WORDS = [
    ("yes/0a7c2a8d_nohash_0.wav", 1, "0a7c2a8d"),
    ("yes/0a7c2a8d_nohash_1.wav", 1, "0a7c2a8d"),
    ("no/0a7c2a8d_nohash_0.wav", 1, "0a7c2a8d"),
    ("no/b1c2_nohash_0.wav", 2, "b1c2"),
    ("yes/ffd2_nohash_0.wav", 3, "ffd2"),
]


def speech_commands(root: Path) -> Path:
    root.mkdir(exist_ok=True)
    for fold, name in ((2, "validation"), (3, "testing")):
        listed = "".join(f"{word}\n" for word, own, _ in WORDS if own == fold)
        (root / f"{name}_list.txt").write_text(listed)
    touch(root, [word for word, *_ in WORDS])
    return touch(root, ["_background_noise_/pink_noise.wav", "LICENSE", "README.md"])


def test_speech_commands_official_split_becomes_the_folds(tmp_path: Path) -> None:
    found = datasets.load(speech_commands(tmp_path))
    clips = found.clips
    rows = {
        Path(row.path).relative_to(tmp_path).as_posix(): (row.fold, row.group, row.label)
        for row in clips.itertuples()
    }
    assert rows == {word: (fold, who, word.split("/")[0]) for word, fold, who in WORDS}
    assert found.folds == (1, 2, 3)
    assert any("official split" in note for note in found.notes)
    assert any("1 sound file is of no word" in note for note in found.notes)
    assert not (tmp_path / "folds.csv").exists()


def test_speech_commands_listed_clip_that_is_gone_is_absent(tmp_path: Path) -> None:
    speech_commands(tmp_path)
    with (tmp_path / "validation_list.txt").open("a") as file:
        file.write("no/gone_nohash_0.wav\n")
    assert datasets.load(tmp_path).absent == ("no/gone_nohash_0.wav",)


@pytest.mark.parametrize("name", ["validation_list.txt", "testing_list.txt"])
def test_speech_commands_without_clips_of_a_listed_fold_is_an_error(
    tmp_path: Path, name: str
) -> None:
    speech_commands(tmp_path)
    (tmp_path / name).write_text("no/gone_nohash_0.wav\nno/lost_nohash_0.wav\n")
    told = rf"{name}: none of the 2 clips that it names is on disk, the first is no/gone_nohash_0"
    with pytest.raises(DatasetError, match=told):
        datasets.load(tmp_path)
    (tmp_path / name).write_text("")
    with pytest.raises(DatasetError, match=rf"{name}: none of the 0 clips"):
        datasets.load(tmp_path)
    other = 3 if name.startswith("valid") else 2
    (tmp_path / name).write_text("".join(f"{word}\n" for word, fold, _ in WORDS if fold != other))
    with pytest.raises(DatasetError, match="the lists name every clip, and none is left to learn"):
        datasets.load(tmp_path)


def test_speech_commands_with_one_list_is_never_folders(tmp_path: Path) -> None:
    speech_commands(tmp_path)
    (tmp_path / "testing_list.txt").unlink()
    with pytest.raises(DatasetError, match=r"holds validation_list\.txt .* no testing_list\.txt"):
        datasets.load(tmp_path)


def test_speech_commands_with_its_lists_in_different_folders_is_told(tmp_path: Path) -> None:
    speech_commands(tmp_path)
    (tmp_path / "apart").mkdir()
    (tmp_path / "testing_list.txt").rename(tmp_path / "apart" / "testing_list.txt")
    with pytest.raises(DatasetError, match="in different folders; put both beside the words"):
        datasets.load(tmp_path)


@pytest.mark.parametrize("suffix", [".flac", ".ogg", ".WAV"])
def test_speech_commands_encoded_otherwise_keep_their_split(tmp_path: Path, suffix: str) -> None:
    speech_commands(tmp_path)
    for file in tmp_path.rglob("*.wav"):
        file.rename(file.with_suffix(suffix))
    found = datasets.load(tmp_path)
    rows = sorted(zip(found.clips["label"], found.clips["fold"], found.clips["group"], strict=True))
    assert rows == sorted((word.split("/")[0], fold, who) for word, fold, who in WORDS)
    assert found.absent == ()


@pytest.mark.parametrize("given", ["", "train"])
def test_speech_commands_as_kaggle_has_them_keep_their_split(tmp_path: Path, given: str) -> None:
    speech_commands(tmp_path / "train")
    (tmp_path / "train/audio").mkdir()
    for word in ("yes", "no", "_background_noise_"):
        (tmp_path / "train" / word).rename(tmp_path / "train/audio" / word)
    touch(tmp_path, ["test/audio/clip_00.wav", "test/audio/clip_01.wav"])
    found = datasets.load(tmp_path / given)
    assert found.name == "speech-commands"
    rows = sorted(zip(found.clips["label"], found.clips["fold"], found.clips["group"], strict=True))
    assert rows == sorted((word.split("/")[0], fold, who) for word, fold, who in WORDS)
    (note,) = (note for note in found.notes if "left out" in note)
    assert "audio/_background_noise_ (1)" in note
    assert ("test/audio (2)" in note) == (given == "")


def test_of_two_sets_of_words_one_is_asked_for(tmp_path: Path) -> None:
    for version in ("v1", "v2"):
        speech_commands(tmp_path / version)
    with pytest.raises(DatasetError, match="holds several sets of words, v1/, v2/; give one"):
        datasets.load(tmp_path)


SCENES = [
    ("airport-barcelona-0-0-a", 1),
    ("airport-barcelona-0-1-b", 1),
    ("park-paris-3-80-a", 1),
    ("airport-lyon-7-2-s5", 2),
    ("park-vienna-8-9-a", 2),
    ("park-vienna-9-9-a", None),
]


def tau(root: Path, *, identifier: bool = True) -> Path:
    setup = root / "evaluation_setup"
    setup.mkdir(parents=True)

    def row(name: str) -> list[str]:
        scene, city, place, *_ = name.split("-")
        return [f"audio/{name}.wav", scene, f"{city}-{place}", name.rsplit("-", maxsplit=1)[-1]]

    n = 4 if identifier else 2
    head = ["filename", "scene_label", "identifier", "source_label"][:n]
    lines = ["\t".join(cells) for cells in (head, *(row(name)[:n] for name, _ in SCENES))]
    (root / "meta.csv").write_text("\n".join(lines) + "\n")
    for part, fold in (("train", 1), ("evaluate", 2)):
        own = ["\t".join(row(name)[:2]) for name, of in SCENES if of == fold]
        (setup / f"fold1_{part}.csv").write_text("\n".join(["filename\tscene_label", *own]) + "\n")
    (setup / "fold1_test.csv").write_text("filename\n")
    return touch(root, [f"audio/{name}.wav" for name, _ in SCENES])


@pytest.mark.parametrize("identifier", [True, False])
def test_tau_official_split_becomes_the_folds(tmp_path: Path, identifier: bool) -> None:
    found = datasets.load(tau(tmp_path, identifier=identifier))
    rows = [(Path(r.path).stem, r.label, r.fold, r.group) for r in found.clips.itertuples()]
    assert rows == sorted(
        (name, name.split("-")[0], fold, "-".join(name.split("-")[1:3]))
        for name, fold in SCENES
        if fold
    )
    assert found.folds == (1, 2)
    assert any("official split" in note for note in found.notes)
    assert any(note.startswith("1 clips of meta.csv are in no list") for note in found.notes)


def test_tau_sounds_in_no_table_are_counted_by_folder(tmp_path: Path) -> None:
    tau(tmp_path)
    touch(tmp_path, ["audio/park-oslo-1-1-a.wav", "audio/old/x.wav", "more/y.wav"])
    (note,) = (note for note in datasets.load(tmp_path).notes if "sound files" in note)
    told = (
        "3 sound files are in no row of meta.csv and left out: audio/old (1), audio (1), more (1)"
    )
    assert note == told


def test_tau_encoded_otherwise_keeps_its_split(tmp_path: Path) -> None:
    expected = datasets.load(tau(tmp_path)).clips
    for file in tmp_path.rglob("*.wav"):
        file.rename(file.with_suffix(".flac"))
    found = datasets.load(tmp_path)
    assert found.absent == ()
    for column in ("label", "fold", "group"):
        assert found.clips[column].tolist() == expected[column].tolist()


def test_tau_clips_of_the_split_that_the_table_lacks_are_counted(tmp_path: Path) -> None:
    tau(tmp_path)
    with (tmp_path / "evaluation_setup/fold1_train.csv").open("a") as file:
        file.write("audio/gone.wav\tpark\n")
    notes = datasets.load(tmp_path).notes
    assert "1 clips of the split are not in meta.csv, and left out" in notes


def test_tau_lists_may_be_numbered_with_zeros(tmp_path: Path) -> None:
    expected = datasets.load(tau(tmp_path)).clips
    for file in (tmp_path / "evaluation_setup").iterdir():
        file.rename(file.with_name(file.name.replace("fold1", "fold01")))
    assert datasets.load(tmp_path).clips.equals(expected)


def test_tau_of_several_splits_scores_each_evaluation_list(tmp_path: Path) -> None:
    tau(tmp_path)
    first, second = (tmp_path / f"evaluation_setup/fold{k}_evaluate.csv" for k in (1, 2))
    second.write_text("filename\tscene_label\naudio/park-paris-3-80-a.wav\tpark\n")
    folds = datasets.load(tmp_path).clips.set_index("label")["fold"]
    assert sorted(folds["park"]) == [1, 2]
    second.write_text(first.read_text())
    with pytest.raises(DatasetError, match="is in fold 1 too"):
        datasets.load(tmp_path)


def test_a_list_that_names_a_clip_twice_is_refused(tmp_path: Path) -> None:
    speech_commands(tmp_path)
    file = tmp_path / "testing_list.txt"
    file.write_text(file.read_text() * 2)
    with pytest.raises(DatasetError, match=r"testing_list\.txt: names yes/ffd2.* twice"):
        datasets.load(tmp_path)
