"""What the data doctor finds and what it leaves in peace, each on a sound made for it."""

from __future__ import annotations

import math
import os
import shutil
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import soundfile as sf
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from spectro.clips import waveform as audio
from spectro.clips.checking.check import Checkup, check
from spectro.clips.checking.findings import ERRORS, WARNINGS, Thresholds
from spectro.clips.checking.measure import examine, fingerprint, flat_tops, offset, wraps
from spectro.clips.table import Dataset, clip_table
from spectro.errors import AudioError

SR = 16_000
T = np.arange(SR) / SR
Sound = npt.NDArray[np.float64]


def sine(f: float, level: float = 1.0) -> Sound:
    return level * np.sin(2 * np.pi * f * T)


def noise(level: float = 0.1, seed: int = 0) -> Sound:
    return level * np.random.default_rng(seed).uniform(-1, 1, SR)


def cut(y: Sound) -> Sound:
    return np.clip(y, -1, 1)


def wrapped(y: Sound) -> Sound:
    """What a cast to int16 without a check makes of samples beyond full scale."""
    return (np.round(y * 32767).astype(int).astype(np.int16) / 32768).astype(float)


def resampled(y: Sound) -> Sound:
    return np.asarray(soxr.resample(y, SR, 11_025))


def write(path: Path, y: Sound, sr: int = SR, subtype: str = "PCM_16") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, y, sr, subtype=subtype)
    return path


def dataset(root: Path, *rows: tuple[str, str, int], **more: list[object]) -> Dataset:
    """Rows of path, label and fold; every clip is a recording of its own unless told."""
    table = pd.DataFrame(rows, columns=["path", "label", "fold"]).assign(**more)
    table["path"] = [str(root / path) for path in table["path"]]
    if "group" not in table:
        table["group"] = [str(i) for i in range(len(table))]
    return Dataset("test", root, clip_table(table, root), tuple(sorted(set(table["fold"]))))


def of_one(root: Path, y: Sound, sr: int = SR, subtype: str = "PCM_16") -> set[str]:
    """What is found in a dataset of this clip."""
    write(root / "clip.wav", y, sr, subtype)
    return set(check(dataset(root, ("clip.wav", "a", 1))).findings["problem"])


def found(checkup: Checkup, problem: str) -> pd.DataFrame:
    return checkup.findings[checkup.findings["problem"] == problem]


ILL = {
    "all zero": (np.zeros(SR), "silent"),
    "one step": (np.full(SR, 1e-4), "silent"),
    "channels cancel": (np.stack([sine(440, 0.5), -sine(440, 0.5)], axis=1), "silent"),
    "cut off": (cut(2 * sine(200)), "clipped"),
    "cut off a little": (cut(1.1 * sine(200)), "clipped"),
    "cut off above only": (np.minimum(1.5 * sine(200, 0.9), 0.99), "clipped"),
    "cut off in one channel": (np.stack([cut(3 * sine(200)), sine(200, 0.1)], axis=1), "clipped"),
    "cut off and resampled": (cut(resampled(cut(2 * sine(200)))), "clipped"),
    "wrapped": (wrapped(1.02 * sine(200)), "wrapped"),
    "wrapped once": (
        wrapped(0.7 * sine(200) + 0.4 * np.exp(-(((T - 0.30125) * 800) ** 2))),
        "wrapped",
    ),
    "offset": (sine(440, 0.5) + 0.08, "DC offset"),
    "small offset of a quiet sound": (sine(440, 0.01) - 0.02, "DC offset"),
    "short": (sine(440, 0.5)[: SR // 20], "short"),
}

WELL = {
    "a sine at full scale": sine(440),
    "a slow sine at full scale": sine(20),
    "a square wave at full scale": np.sign(np.sin(2 * np.pi * 220 * T) + 1e-9),
    "a square wave below": 0.9 * np.sign(np.sin(2 * np.pi * 220 * T) + 1e-9),
    "a triangle at full scale": 2 * np.abs(2 * (T * 220 % 1) - 1) - 1,
    "noise at full scale": noise(1.0),
    "a tone near half the rate": sine(7_900),
    "flat tops far below full scale": np.clip(sine(200), -0.5, 0.5),
    "three cut samples": np.where(np.abs(T - 0.5) < 1e-4, 1.0, noise(0.5)),
    "quiet": sine(440, 0.0005),
    "a thump": noise(0.01) + np.where(T < 0.2, 0.9 * np.exp(-T * 20), 0),
    "one-sided, but around zero": noise(0.3) + np.where(T % 0.1 < 0.003, 0.5, 0),
    "one FFT window": sine(440, 0.5)[: SR // 10],
}


@pytest.mark.parametrize("name", ILL)
def test_what_is_wrong_is_found(tmp_path: Path, name: str) -> None:
    y, problem = ILL[name]
    assert of_one(tmp_path, y) == {problem}


@pytest.mark.parametrize("name", WELL)
def test_what_is_only_like_it_is_not(tmp_path: Path, name: str) -> None:
    assert of_one(tmp_path, WELL[name]) == set()


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_24", "FLOAT", "ULAW", "ALAW", "IMA_ADPCM"])
def test_coarse_and_fine_codecs_tell_loud_from_clipped(tmp_path: Path, subtype: str) -> None:
    for f in (30, 100, 441, 1_000):
        assert of_one(tmp_path, sine(f, 0.97), subtype=subtype) == set(), f
        if f > 400 or not subtype.endswith("LAW"):  # their steps at full scale hide slow slopes
            assert of_one(tmp_path, cut(2 * sine(f)), subtype=subtype) == {"clipped"}, f


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1e30])
def test_samples_that_are_no_numbers_are_counted(tmp_path: Path, bad: float) -> None:
    y = noise()
    y[[7, 70, 700]] = bad
    write(tmp_path / "bad.wav", y, subtype="FLOAT")
    (finding,) = check(dataset(tmp_path, ("bad.wav", "a", 1))).findings.itertuples()
    assert (finding.problem, finding.severity) == ("non-finite", "error")
    assert "in 3 of" in finding.detail


def damage(path: Path, kind: str) -> None:
    """Leave at `path` a file that is no sound, or not all of one."""
    write(path, noise())
    whole = path.read_bytes()
    if kind == "gone":
        path.unlink()
    elif kind == "folder":
        path.unlink()
        path.mkdir()
    else:
        path.write_bytes(
            {
                "no bytes": b"",
                "header only": whole[:40] + bytes(4),
                "cut in half": whole[: len(whole) // 2],
                "cut in the header": whole[:30],
                "text": b"not a sound\n" * 100,
                "zeros": bytes(4_000),
            }[kind]
        )


@pytest.mark.parametrize(
    ("kind", "problem"),
    [
        ("no bytes", "empty"),
        ("header only", "empty"),
        ("cut in half", "unreadable"),
        ("cut in the header", "unreadable"),
        ("text", "unreadable"),
        ("zeros", "unreadable"),
        ("folder", "unreadable"),
        ("gone", "unreadable"),
    ],
)
def test_damaged_files_are_named_and_stop_nothing(tmp_path: Path, kind: str, problem: str) -> None:
    write(tmp_path / "good.wav", noise())
    damage(tmp_path / "bad.wav", kind)
    checkup = check(dataset(tmp_path, ("bad.wav", "a", 1), ("good.wav", "a", 1)))
    (finding,) = checkup.findings[checkup.findings["severity"] == "error"].itertuples()
    assert (finding.path, finding.problem) == ("bad.wav", problem)
    assert str(tmp_path) not in finding.detail
    bad, good = checkup.clips["reason"]
    assert bad == finding.detail and good == ""
    assert checkup.clips["seconds"].isna().tolist() == [True, False]
    with pytest.raises(AudioError):  # what is an error here is one when it is drawn
        audio.load(tmp_path / "bad.wav", sr=22_050)


def test_nothing_at_all_can_be_read(tmp_path: Path) -> None:
    for name in ("a.wav", "b.wav"):
        damage(tmp_path / name, "text")
    checkup = check(dataset(tmp_path, ("a.wav", "a", 1), ("b.wav", "b", 1)))
    assert checkup.count("error") == 2
    assert checkup.clips["sr"].isna().all()


def test_a_part_behind_the_end_is_unreadable(tmp_path: Path) -> None:
    write(tmp_path / "long.wav", noise())
    parts = dataset(
        tmp_path, ("long.wav", "a", 1), ("long.wav", "a", 1), start=[0.0, 5.0], end=[1.0, 6.0]
    )
    (finding,) = found(check(parts), "unreadable").itertuples()
    assert (finding.start, finding.end) == (5.0, 6.0)


@settings(max_examples=30, deadline=None)
@given(
    level=st.floats(0.01, 1),
    channels=st.integers(1, 3),
    seconds=st.floats(0.01, 2),
    lift=st.floats(-0.3, 0.3),
    seed=st.integers(0, 99),
)
def test_levels_are_what_a_naive_reading_gives(
    tmp_path_factory: pytest.TempPathFactory,
    level: float,
    channels: int,
    seconds: float,
    lift: float,
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    y = np.clip(level * rng.normal(0, 0.3, (math.ceil(seconds * SR), channels)) + lift, -1, 1)
    path = write(tmp_path_factory.mktemp("levels") / "clip.wav", y)
    vitals = examine(path)
    y, sr = sf.read(path, always_2d=True)  # float64: an arithmetic of its own
    mono = y.mean(axis=1)
    assert (vitals.sr, vitals.channels, vitals.codec) == (sr, channels, "PCM_16")
    assert vitals.seconds == len(y) / sr
    assert vitals.peak == pytest.approx(np.abs(y).max())
    assert vitals.mono_peak == pytest.approx(np.abs(mono).max(), rel=1e-5)
    assert vitals.rms_db == pytest.approx(20 * np.log10(np.sqrt((mono**2).mean())), abs=1e-3)
    blocks = [mono[i : i + SR // 16].mean() for i in range(0, len(mono) - SR // 16 + 1, SR // 16)]
    assert vitals.dc == pytest.approx(np.median(blocks or [mono.mean()]), abs=1e-6)


@given(st.lists(st.integers(-4, 4), min_size=1, max_size=60))
def test_exactly_flat_tops_are_runs_that_are_met_at_a_slope(heights: list[int]) -> None:
    """Against a count by hand, on a scale so coarse that nothing but equal is near."""
    x = np.array(heights, dtype=np.float32) / 4
    expected = 0
    for side in (x, -x):
        top = side.max()
        runs = "".join("#" if v == top else "." for v in side).split(".")
        inside = list(runs)
        if side[0] == top:
            inside = inside[1:]
        if side[-1] == top:
            inside = inside[:-1]  # at the clip's edges a slope is missing
        if top == 1:
            expected += sum(len(run) for run in inside if len(run) >= 3)
    if set(heights) <= {max(heights), min(heights), 0}:
        expected = 0
    assert flat_tops(x) == pytest.approx(expected / len(x))


@pytest.mark.parametrize("gain", [1.01, 1.1, 1.3])
@pytest.mark.parametrize("f", [50, 200])
def test_every_sample_that_wrapped_is_seen(gain: float, f: float) -> None:
    y = gain * sine(f)
    beyond = np.abs(np.round(y * 32767)) > 32767
    edges = int(np.count_nonzero(np.diff(beyond)))
    assert wraps(wrapped(y).astype(np.float32)) == edges > 0
    assert wraps(cut(y).astype(np.float32)) == 0


def test_an_offset_is_not_moved_by_a_thump() -> None:
    still = sine(440, 0.1) + 0.06
    thump = still + np.where(T < 0.3, 0.8, 0)
    assert offset(still.astype(np.float32), SR) == pytest.approx(0.06, abs=0.001)
    assert offset(thump.astype(np.float32), SR) == pytest.approx(0.06, abs=0.002)
    assert thump.mean() > 0.25


samples = st.lists(st.integers(-32768, 32767), min_size=1, max_size=80)


@settings(max_examples=40, deadline=None)
@given(levels=samples, before=st.integers(0, 20), behind=st.integers(0, 20))
def test_the_same_sound_has_one_fingerprint_wherever_it_is_written(
    tmp_path_factory: pytest.TempPathFactory, levels: list[int], before: int, behind: int
) -> None:
    folder = tmp_path_factory.mktemp("same")
    y = np.array(levels, dtype=np.int16)
    padded = np.pad(y, (before, behind))
    sf.write(folder / "a.wav", y, SR)
    sf.write(folder / "a.flac", y, SR)
    sf.write(folder / "a.aiff", y, SR)
    sf.write(folder / "a24.wav", y, SR, subtype="PCM_24")
    sf.write(folder / "padded.wav", padded, SR)
    sf.write(folder / "stereo.wav", np.stack([y, y], axis=1), SR)
    shutil.copy(folder / "a.wav", folder / "renamed ünïcødé 音.wav")
    prints = {examine(path).fingerprint for path in folder.iterdir()}
    assert len(prints) == 1
    assert (prints == {""}) == (not any(levels))


@given(a=samples, b=samples, rate=st.sampled_from([8_000, SR]))
def test_other_sounds_have_other_fingerprints(a: list[int], b: list[int], rate: int) -> None:
    one, other = ("".join(chr(v + 40_000) for v in x).strip(chr(40_000)) for x in (a, b))
    x, y = (np.array(levels, dtype=np.float32) / 32768 for levels in (a, b))
    same = one == other and (rate == SR or not any(a))
    assert (fingerprint(x, SR) == fingerprint(y, rate)) == same


def test_copies_in_a_fold_across_folds_and_under_other_labels(tmp_path: Path) -> None:
    for name, seed in {"a1": 1, "a2": 1, "b1": 2, "b2": 2, "c1": 3, "c2": 3, "d": 4}.items():
        write(tmp_path / f"{name}.wav", noise(seed=seed))
    checkup = check(
        dataset(
            tmp_path,
            *(("a1.wav", "x", 1), ("a2.wav", "x", 1)),
            *(("b1.wav", "x", 1), ("b2.wav", "x", 2)),
            *(("c1.wav", "x", 1), ("c2.wav", "y", 2), ("d.wav", "y", 1)),
        )
    )
    (copy,) = found(checkup, "duplicate").itertuples()
    assert (copy.path, copy.severity) == ("a2.wav", "warning")
    assert copy.detail == "sounds the same as a1.wav in fold 1"
    (leak,) = found(checkup, "leak").itertuples()
    assert (leak.path, leak.fold, leak.severity) == ("b2.wav", 2, "error")
    assert leak.detail == "sounds the same as b1.wav in fold 1"
    one, other = found(checkup, "contradicting labels").itertuples()
    assert (one.path, one.detail) == ("c1.wav", "sounds the same as c2.wav, labelled y")
    assert (other.path, other.detail) == ("c2.wav", "sounds the same as c1.wav, labelled x")
    assert checkup.count("error") == 3


def test_copies_are_found_through_names_containers_and_padding(tmp_path: Path) -> None:
    y = np.round(noise(0.3) * 32768) / 32768  # writers round other numbers differently
    write(tmp_path / "first.wav", y)
    write(tmp_path / "Größe 音.flac", y)
    write(tmp_path / "later" / "padded.wav", np.pad(y, 100))
    write(tmp_path / "other.wav", noise(0.3, seed=1))
    rows = ("first.wav", "Größe 音.flac", "later/padded.wav", "other.wav")
    checkup = check(dataset(tmp_path, *((path, "a", fold) for fold, path in enumerate(rows))))
    leaks = found(checkup, "leak")
    assert leaks["path"].tolist() == ["first.wav", "later/padded.wav"]
    assert set(leaks["detail"]) == {"sounds the same as Größe 音.flac in fold 1"}  # first by path


def test_silence_is_no_copy_of_silence(tmp_path: Path) -> None:
    write(tmp_path / "a.wav", np.zeros(SR))
    write(tmp_path / "b.wav", np.zeros(SR))
    problems = check(dataset(tmp_path, ("a.wav", "x", 1), ("b.wav", "y", 2))).findings["problem"]
    assert set(problems) >= {"silent"}
    assert not set(problems) & {"leak", "duplicate", "contradicting labels"}


def test_parts_of_a_file_are_clips_of_their_own(tmp_path: Path) -> None:
    write(tmp_path / "long.wav", np.concatenate([noise(seed=1), noise(seed=2), noise(seed=1)]))
    rows = [("long.wav", "a", 1)] * 3
    checkup = check(dataset(tmp_path, *rows, start=[0.0, 1.0, 2.0], end=[1.0, 2.0, math.nan]))
    assert checkup.clips["seconds"].tolist() == [1, 1, 1]
    (copy,) = found(checkup, "duplicate").itertuples()
    assert copy.start == 2
    assert copy.detail == "sounds the same as long.wav (0 s to 1 s) in fold 1"


def test_a_clip_that_is_listed_twice(tmp_path: Path) -> None:
    write(tmp_path / "a.wav", noise())
    checkup = check(dataset(tmp_path, ("a.wav", "x", 1), ("a.wav", "x", 2)))
    assert found(checkup, "listed twice")["severity"].tolist() == ["error"]
    assert found(checkup, "leak").empty
    checkup = check(dataset(tmp_path, ("a.wav", "x", 1), ("a.wav", "y", 1)))
    assert len(found(checkup, "contradicting labels")) == 2


def test_classes_that_are_rare_or_not_in_every_fold(tmp_path: Path) -> None:
    rows = [(f"{i}.wav", "common", 1 + i % 2) for i in range(22)]
    rows += [("rare.wav", "rare", 1), ("few0.wav", "few", 1), ("few1.wav", "few", 2)]
    rows += [("few2.wav", "few", 1)]
    for seed, (path, _, _) in enumerate(rows):
        write(tmp_path / path, noise(seed=seed)[:1_600])
    checkup = check(dataset(tmp_path, *rows))
    (missing,) = found(checkup, "class not in fold").itertuples()
    assert (missing.path, missing.label, missing.fold) == ("", "rare", 2)
    (rare,) = found(checkup, "rare class").itertuples()
    assert rare.detail == "1 clips of rare, 22 of common"
    assert checkup.count("warning") == 0  # clips with one


def test_a_class_a_clip_names_some_folds_and_counts_the_others(tmp_path: Path) -> None:
    """Ten thousand classes in as many folds would be a hundred million lines."""
    rows = [(f"{i}.wav", f"class {i}", 1 + i) for i in range(60)]
    for seed, (path, _, _) in enumerate(rows):
        write(tmp_path / path, noise(seed=seed)[:800])
    missing = found(check(dataset(tmp_path, *rows)), "class not in fold")
    assert len(missing) == 60 * 21
    of_one = missing[missing["label"] == "class 7"]["detail"]
    assert of_one.iloc[0] == "no class 7 in fold 1"
    assert of_one.iloc[-1] == "no class 7 in 39 other folds"


def test_a_worker_that_dies_is_one_line(tmp_path: Path) -> None:
    class Dying(ThreadPoolExecutor):
        def submit(self, *_: object, **__: object) -> Future[object]:
            raise BrokenProcessPool("gone")

    write(tmp_path / "a.wav", noise())
    with Dying(1) as executor, pytest.raises(AudioError, match="a worker died after 0 of 1 clips"):
        check(dataset(tmp_path, ("a.wav", "a", 1)), executor=executor)


def test_recordings_in_two_folds(tmp_path: Path) -> None:
    rows = [("a.wav", "x", 1), ("b.wav", "x", 2), ("c.wav", "x", 2), ("d.wav", "x", 2)]
    for seed, (path, _, _) in enumerate(rows):
        write(tmp_path / path, noise(seed=seed))
    split = check(dataset(tmp_path, *rows, group=["r1", "r1", "r2", "r2"]))
    (leak,) = found(split, "leaking recording").itertuples()
    assert leak.detail == "r1 has 2 clips in folds 1, 2"
    assert found(split, "no recordings").empty
    alone = check(dataset(tmp_path, *rows))
    assert found(alone, "leaking recording").empty
    assert len(found(alone, "no recordings")) == 1


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    write(tmp_path / "a.wav", noise())
    there = dataset(tmp_path, ("a.wav", "x", 2))
    partly = Dataset("test", tmp_path, there.clips, (1, 2, 3), absent=("b.wav", "c.wav"))
    checkup = check(partly)
    assert len(found(checkup, "absent")) == 2
    assert found(checkup, "missing folds")["detail"].item() == "of 3 folds, not on disk: 1, 3"
    assert not (checkup.findings["severity"] == "error").any()
    assert check(there).findings.empty  # a dataset of one clip


def test_rates_and_lengths(tmp_path: Path) -> None:
    write(tmp_path / "a.wav", noise())
    write(tmp_path / "b.wav", noise(seed=1)[:9_000])
    rows = (("a.wav", "x", 1), ("b.wav", "x", 1))
    assert set(check(dataset(tmp_path, *rows)).findings["problem"]) == {"no recordings"}
    write(tmp_path / "b.wav", noise(seed=1)[:3_000], sr=8_000)
    checkup = check(dataset(tmp_path, *rows))
    assert "16,000 Hz: 1, 8,000 Hz: 1" in found(checkup, "several rates")["detail"].item()
    assert found(checkup, "several lengths")["detail"].item() == "from 0.38 s to 1.00 s"


def test_thresholds_can_be_moved(tmp_path: Path) -> None:
    write(tmp_path / "a.wav", sine(440, 0.0005))
    one = dataset(tmp_path, ("a.wav", "x", 1))
    strict = check(one, thresholds=Thresholds(silent_db=-60, shortest=2))
    assert set(strict.findings["problem"]) == {"silent", "short"}
    assert check(one).findings.empty


def test_the_worst_comes_first_and_all_of_it_is_written(tmp_path: Path) -> None:
    write(tmp_path / "clips" / "a,b.wav", cut(2 * sine(200)))
    write(tmp_path / "clips" / "q.wav", np.zeros(SR))
    rows = (("a,b.wav", "x", 1), ("q.wav", "y", 2))
    checkup = check(dataset(tmp_path / "clips", *rows))
    order = [*ERRORS, *WARNINGS]
    ranks = [order.index(problem) for problem in checkup.findings["problem"]]
    assert ranks == sorted(ranks)
    checkup.save(tmp_path / "findings.csv")
    told = pd.read_csv(tmp_path / "findings.csv", dtype=str, keep_default_na=False)
    assert told["detail"].tolist() == checkup.findings["detail"].tolist()
    checkup.save_vitals(tmp_path / "vitals.csv")
    vitals = pd.read_csv(tmp_path / "vitals.csv")
    assert vitals["path"].tolist() == ["a,b.wav", "q.wav"]
    assert vitals["rms_db"].tolist()[1] == -math.inf
    assert vitals["sr"].tolist() == [SR, SR]


def test_any_executor_gives_the_same(tmp_path: Path) -> None:
    rows = [(f"{i:02}.wav", "ab"[i % 2], 1 + i % 3) for i in range(40)]
    for i, (path, _, _) in enumerate(rows):
        write(tmp_path / path, noise(seed=i % 30)[:2_000])
    data = dataset(tmp_path, *rows)
    seen: list[tuple[int, int]] = []
    expected = check(data, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (40, 40)
    with ProcessPoolExecutor(1) as processes, ThreadPoolExecutor(3) as threads:
        for executor in (processes, threads):
            got = check(data, executor=executor)
            pd.testing.assert_frame_equal(got.findings, expected.findings)
            pd.testing.assert_frame_equal(got.clips, expected.clips)


def test_paths_are_told_relative_to_the_dataset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "data" / "in.wav", np.zeros(SR))
    write(tmp_path / "out.wav", np.zeros(SR))
    monkeypatch.chdir(tmp_path)
    rows = (("in.wav", "x", 1), (os.path.join("..", "out.wav"), "x", 1))
    checkup = check(dataset(Path("data"), *rows))
    assert set(found(checkup, "silent")["path"]) == {"in.wav", str(tmp_path / "out.wav")}
