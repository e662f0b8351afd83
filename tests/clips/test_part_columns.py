"""Columns that say which part of a recording a clip is, as programs call them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from spectro.clips import datasets
from spectro.errors import DatasetError
from tests.clips.test_folder import touch


def table(root: Path, columns: str, values: str) -> Path:
    touch(root, ["a.wav", "b.wav"])
    rows = "".join(f"{name}.wav,{name},{values}\n" for name in "ab")
    (root / "clips.csv").write_text(f"path,label,{columns}\n{rows}")
    return root


READ = {
    "start,end": "0.5,0.75",
    "Start,END": "0.5,0.75",
    '" start ", end ': "0.5,0.75",
    "begin,end": "0.5,0.75",
    "onset,offset": "0.5,0.75",
    "Onset (sec),Offset (sec)": "0.5,0.75",
    "start_time,end_time": "0.5,0.75",
    "startTime,endTime": "0.5,0.75",
    "starttime,endtime": "0.5,0.75",
    "Begin Time (s),End Time (s)": "0.5,0.75",
    "Begin Time (s),End Time (s),File Offset (s)": "0.5,0.75,0.5",
    "begin_s,end_s": "0.5,0.75",
    "start_seconds,end_seconds": "0.5,0.75",
    "start_ms,end_ms": "500,750",
    "Start [ms],Stop [ms]": "500,750",
    "t_min,f_min,t_max,f_max": "0.5,100,0.75,200",
    "from,to": "0.5,0.75",
    "onset,duration": "0.5,0.25",
    "OFFSET,DURATION": "0.5,0.25",
    "start,end,duration": "0.5,0.75,9",
    "start,end,start_date,end_time_utc": "0.5,0.75,2021-05-01,x",
}


@pytest.mark.parametrize(("columns", "values"), READ.items(), ids=READ.keys())
def test_parts_are_read_by_whatever_name(tmp_path: Path, columns: str, values: str) -> None:
    clips = datasets.load(table(tmp_path, columns, values), n_folds=2).clips
    np.testing.assert_allclose(clips[["start", "end"]], [[0.5, 0.75]] * 2)


WHOLE = {
    "duration": "4.0",
    "from": "Ada",
    "start_date,end_date": "2021-05-01,02/05/2021",
    "start_time,place": "2021-05-01 06:00,north",
    "Begin File,Begin Path": "a.wav,x/a.wav",
    "recording_start": "06:00",
    "start_place,offset_hz": "north,3",
}


@pytest.mark.parametrize(("columns", "values"), WHOLE.items(), ids=WHOLE.keys())
def test_columns_that_say_something_else_are_no_parts(
    tmp_path: Path, columns: str, values: str
) -> None:
    clips = datasets.load(table(tmp_path, columns, values), n_folds=2).clips
    assert clips[["start", "end"]].isna().all(axis=None)


ASKED = {
    "start,begin,end": ("0.5,0.5,0.75", "the columns start and begin say where a clip starts"),
    "start,end,end": ("0.5,0.75,1", "the columns end and end.1 say where a clip ends"),
    "start_s,start_ms": ("0.5,500", "the columns start_s and start_ms say where a clip starts"),
    "onset,offset,end": ("0.5,0.75,1", "the columns offset and end say where a clip ends"),
    "offset": ("0.5", "the column offset may say where a clip starts or where it ends"),
    "start_sample,end_sample": ("1,2", "the column start_sample counts samples or frames"),
    "start_time,end_time": ("06:00:00,06:01:00", "row 1: start_time is not a number: '06:00:00'"),
    "Begin Time (s),End Time (s),File Offset (s)": (
        "70.5,70.75,0.5", r"row 1: Begin Time \(s\) is 70.5 and File Offset \(s\) 0.5: the times"
    ),
    "begin,stop": ("0.75,0.5", "row 1: from 0.75 to 0.5 s is no part of a sound"),
}  # fmt: skip


@pytest.mark.parametrize(("columns", "told"), ASKED.items(), ids=ASKED.keys())
def test_columns_that_may_mean_two_things_are_named(
    tmp_path: Path, columns: str, told: tuple[str, str]
) -> None:
    with pytest.raises(DatasetError, match=rf"clips\.csv: {told[1]}") as caught:
        datasets.load(table(tmp_path, columns, told[0]), n_folds=2)
    assert "\n" not in str(caught.value)
