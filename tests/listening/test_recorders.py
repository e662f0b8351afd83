"""When a recording began: names, comments and GUANO of real recorders, and files that lie."""

from __future__ import annotations

import csv
import os
import struct
import threading
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from spectro.clips.containers import iff
from spectro.errors import AudioError, ConfigError
from spectro.listening.recorders import (
    Beginning,
    beginning,
    parse_comment,
    parse_guano,
    parse_start_time,
    riff,
)
from spectro.listening.recorders.names import begin_in_name, place_in_name

# name, time (ISO 8601, with a zone where the name has one), place
NAMES = [
    # AudioMoth
    ("20240903_193130.WAV", "2024-09-03T19:31:30", None),
    ("20240903_193130T.WAV", "2024-09-03T19:31:30", None),
    ("5B07C752.WAV", "2018-05-25T08:20:34+00:00", None),
    ("00000000.WAV", "1970-01-01T00:00:00+00:00", None),
    ("5AFCD4F45AFCD4F4.WAV", None, None),
    ("prefix5AFCD4F4prefix.WAV", None, None),
    # Song Meter and others like it
    ("NW3-010793_20140331_053200.wav", "2014-03-31T05:32:00", None),
    ("SM301297_0+1_20170912_220000.wav", "2017-09-12T22:00:00", None),
    ("S4A01234_20200229_235959.wav", "2020-02-29T23:59:59", None),
    ("X_20190102_044802_010.wav", "2019-01-02T04:48:02.010000", None),
    ("CH1_0+1_20171121$143444.wav", "2017-11-21T14:34:44", None),
    # SWIFT, OwlSense, SoundTrap
    ("S1133_20200101_053000_-0400.wav", "2020-01-01T05:30:00-04:00", None),
    ("S1133_20200101_053000_+0530.wav", "2020-01-01T05:30:00+05:30", None),
    ("OWL7_2023-05-06_T21-30-00.WAV", "2023-05-06T21:30:00", None),
    ("671629352.181204100002.wav", "2018-12-04T10:00:02", None),
    # zones, fractions, midnight, places
    ("W_20170611_100000+1000.wav", "2017-06-11T10:00:00+10:00", None),
    ("a-b_20100503-080000Z.mp3", "2010-05-03T08:00:00+00:00", None),
    ("123_20131012_123456-09_456.mpg", "2013-10-12T12:34:56-09:00", None),
    ("123_20131012_123456-9_456.mpg", None, None),
    ("20091219T070006.789+1130_00600.wav", "2009-12-19T07:00:06.789000+11:30", None),
    ("20180517_010348.5AFCD4F4.WAV", "2018-05-17T01:03:48", None),
    ("weird20180801_240000-1030.aac", "2018-08-02T00:00:00-10:30", None),
    ("20070415051314.wav.trimmed.wav", "2007-04-15T05:13:14", None),
    ("short_180801_1630_test.wav", "2018-08-01T16:30:00", None),
    ("a_2359-01022015_b.wav", "2015-02-01T23:59:00", None),
    ("20180226_040000_B29 _27.2819 90.1361_.wav", "2018-02-26T04:00:00", (27.2819, 90.1361)),
    ("20180226_040000_B29 [-27.2 -90.1].wav", "2018-02-26T04:00:00", (-27.2, -90.1)),
    ("P_20121204_234600_+13-090.wav", "2012-12-04T23:46:00", (13, -90)),
    ("20180226_040000Z_+40.1-075.0+2.79CRSWGS_84.flac", "2018-02-26T04:00:00+00:00", (40.1, -75)),
    ("S20240815T091156.98+1000_E20240815T091251.9+1000_-12.3+78.9.wav",
     "2024-08-15T09:11:56.980000+10:00", (-12.3, 78.9)),
    # counters of files, which no zone can be
    ("20260501_043000-0001.wav", "2026-05-01T04:30:00", None),
    ("20260501_043000-0000.wav", "2026-05-01T04:30:00", None),
    ("A_20260501_043000-0017_x.wav", "2026-05-01T04:30:00", None),
    ("A_20260501_043000-0530_x.wav", "2026-05-01T04:30:00-05:30", None),
    ("20260501_043000-0459.wav", "2026-05-01T04:30:00", None),
    ("20260501T043000-1300.wav", "2026-05-01T04:30:00", None),
    ("20260501_043000-001.wav", "2026-05-01T04:30:00", None),
    ("20260501_043000-12345.wav", "2026-05-01T04:30:00", None),
    ("2026-05-01_04-30-00-0002.wav", "2026-05-01T04:30:00", None),
    ("20260501_043000_-0001.wav", "2026-05-01T04:30:00", None),
    ("20260501_043000.5-0001.wav", "2026-05-01T04:30:00.500000", None),
    ("20260501_043000ZOOM1.wav", "2026-05-01T04:30:00", None),
    ("20260501_043000+1500.wav", None, None),
    ("20260501_043000+0001.wav", None, None),
    ("20260501_043000-00:01.wav", None, None),
    ("20260501_043000+1345.wav", "2026-05-01T04:30:00+13:45", None),
    ("20260501_043000-1200.wav", "2026-05-01T04:30:00-12:00", None),
    # what only looks like a time
    ("site12_take4.wav", None, None),
    ("acoustic_study_00m.mp3", None, None),
    ("100032-3-0-0.wav", None, None),
    ("1-100032-A-0.wav", None, None),
    ("20231301_000000.wav", None, None),
    ("20230230_000000.wav", None, None),
    ("20230101_250000.wav", None, None),
    ("20230101_240001.wav", None, None),
    ("20180226.WAV", None, None),
    ("12345678.wav", None, None),
    ("DEADBEEF.WAV", None, None),
    ("86f5923d-ef1d-4159-b120-a8dec3f6334e.wav", None, None),
    ("X_20180226_040000_+95.0+200.0.wav", "2018-02-26T04:00:00", None),
    ("", None, None),
    (".wav", None, None),
]  # fmt: skip


@pytest.mark.parametrize(("name", "time", "place"), NAMES)
def test_names(name: str, time: str | None, place: tuple[float, float] | None) -> None:
    found = begin_in_name(name)
    assert (found and found.isoformat()) == time
    assert place_in_name(name) == place


def shared(name: str) -> Path:
    """Find a file of the folder of real recordings; skip where it is not."""
    default = Path(__file__).parents[2].parent / "shared"
    path = Path(os.environ.get("SPECTRO_SHARED", default)) / "data" / "recorders" / name
    if not path.is_file():
        pytest.skip("no folder of real recordings; name it in SPECTRO_SHARED")
    return path


def test_the_names_of_emus_table() -> None:
    with shared("emu/FileNameParsingFixtures.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 57
    for row in rows:
        name, expected = row["Filename"], row["ExpectedDateTime"]
        if "T24:00:00" in expected:
            midnight = datetime.fromisoformat(expected.replace("T24", "T00"))
            expected = (midnight + timedelta(days=1)).isoformat()
        found = begin_in_name(name)
        place = place_in_name(name)
        zone = row["ExpectedTzOffset"]
        if not expected:
            assert found is None, name
        else:
            assert found is not None, name
            fraction = expected.partition(".")[2]
            wanted = expected + "0" * (6 - len(fraction)) if fraction else expected
            assert found.isoformat() == wanted + zone, name
        coordinates = [row["ExpectedLatitude"], row["ExpectedLongitude"]]
        assert (place and list(place)) == ([float(c) for c in coordinates if c] or None), name


@pytest.mark.parametrize(
    ("name", "time", "source"),
    [
        ("opensoundscape/1min.wav", "2018-05-04T09:32:00+00:00", "comment"),
        ("opensoundscape/metadata.wav", "2020-04-04T10:25:00+00:00", "comment"),
        ("opensoundscape/audiomoth_gps.wav", "2024-05-28T10:00:00+00:00", "comment"),
        ("opensoundscape/rugr_drum.wav", None, "none"),
        ("batdetect2/AudiomothNoBatCalls.WAV", "2024-09-03T19:31:30+01:00", "GUANO"),
        ("scikit-maad/spinetail.wav", None, "none"),
    ],
)
def test_files_of_real_recorders(name: str, time: str | None, source: str) -> None:
    found = beginning(shared(name))
    assert (found.time and found.time.isoformat()) == time
    assert (found.source, found.unread) == (source, "")


COMMENTS = [
    ("Recorded at 19:22:55 14/12/2020 (UTC-5) by AudioMoth 24F3190361CA5A32 at medium gain while "
     "battery was 4.0V and temperature was 24.5C.", "2020-12-14T19:22:55-05:00"),
    ("Recorded at 01:02:03 04/05/2021 (UTC+0130) by AudioMoth 24F at low gain while battery was "
     "less than 2.5V and temperature was -3.0C.", "2021-05-04T01:02:03+01:30"),
    ("Recorded at 01:02:03 04/05/2021 (UTC+05:30) by AudioMoth", "2021-05-04T01:02:03+05:30"),
    ("Recorded at 21:00:00 31/01/2022 (UTC) during deployment 0123456789ABCDEF at high gain while "
     "battery was greater than 4.9V.", "2022-01-31T21:00:00+00:00"),
    ("Recorded at 09:32:00 04/05/2018 (UTC) by AudioMoth 0FE081F80FE081F0 at gain setting 2 while "
     "battery state was 4.3V", "2018-05-04T09:32:00+00:00"),
    ("Recorded at 10:00:00.250 28/05/2024 (UTC) by AudioMoth", "2024-05-28T10:00:00.250000+00:00"),
    ('opso_metadata{"comment": "Recorded at 10:00:00 28/05/2024 (UTC) by AudioMoth 24"}',
     "2024-05-28T10:00:00+00:00"),
    ("Recorded at 10:00:00 31/02/2024 (UTC) by AudioMoth", None),
    ("Recorded at 10:00:00 28/05/2024 (UTC+99) by AudioMoth", None),
    ("Recorded at 23:59:59 31/12/9999 (UTC) by AudioMoth", None),
    ("Recorded at 10:00:00 28/05/1969 (UTC) by AudioMoth", None),
    ("A field recording of 2024", None),
    ("", None),
]  # fmt: skip


@pytest.mark.parametrize(("comment", "time"), COMMENTS)
def test_comments_of_audiomoth(comment: str, time: str | None) -> None:
    found = parse_comment(comment)
    assert (found and found.isoformat()) == time


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack("<4sI", name, len(content)) + content + b"\0" * (len(content) % 2)


def comment(text: str) -> bytes:
    return chunk(b"LIST", b"INFO" + chunk(b"IART", b"odd") + chunk(b"ICMT", text.encode() + b"\0"))


def guano(stamp: str) -> bytes:
    lines = f"GUANO|Version: 1.0\nTimestamp: {stamp}\nLoc Position: 51.5 -0.25\nNote: a: b\n"
    return chunk(b"guan", lines.encode())


def wav(path: Path, *before: bytes, after: tuple[bytes, ...] = ()) -> Path:
    """Write a WAV file with chunks of its own before and behind the sound."""
    sf.write(path, np.zeros(101, np.float32), 8000, subtype="PCM_U8")
    content = path.read_bytes()
    content = content[12:] + b"\0" * (len(content) % 2)
    body = b"WAVE" + b"".join(before) + content + b"".join(after)
    path.write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    return path


MOTH = "Recorded at 02:00:00 02/01/2020 (UTC) by AudioMoth"


def test_the_order_of_precedence(tmp_path: Path) -> None:
    given = datetime(2023, 1, 1)
    both = wav(tmp_path / "20190101_010000.wav", comment(MOTH), after=(guano("2021-03-03 03:00"),))
    moth = wav(tmp_path / "20190101_010001.wav", after=(comment(MOTH),))
    name = wav(tmp_path / "20190101_010002.wav")
    none = wav(tmp_path / "take.wav")
    utc = timezone.utc
    assert beginning(both, given)[:2] == (given, "start-time")
    assert beginning(both)[:2] == (datetime(2021, 3, 3, 3), "GUANO")
    assert beginning(both).place == (51.5, -0.25)
    assert beginning(moth)[:2] == (datetime(2020, 1, 2, 2, tzinfo=utc), "comment")
    assert beginning(name)[:2] == (datetime(2019, 1, 1, 1, 0, 2), "name")
    assert beginning(none) == Beginning()


def test_it_is_said_which_was_used_and_what_could_not_be_read(tmp_path: Path) -> None:
    bad = wav(tmp_path / "20190101_010000.wav", guano("yesterday"))
    assert str(beginning(bad)) == (
        "began 2019-01-01 01:00:00 (from the file name, time zone not stated); "
        "not readable: GUANO Timestamp 'yesterday'"
    )
    moth = wav(tmp_path / "a.wav", comment("Recorded at 02:00:00 31/02/2020 (UTC) by AudioMoth"))
    assert "start time not known; not readable: comment 'Recorded at" in str(beginning(moth))
    zone = beginning(wav(tmp_path / "b.wav", comment(MOTH)))
    assert str(zone) == "began 2020-01-02 02:00:00+00:00 (from the comment)"


@pytest.mark.parametrize(
    ("stamp", "time"),
    [
        ("2024-09-03T19:31:30+01:00", "2024-09-03T19:31:30+01:00"),
        ("2024-09-03T19:31:30Z", "2024-09-03T19:31:30+00:00"),
        ("2024-09-03 19:31:30.5", "2024-09-03T19:31:30.500000"),
        ("2024-09-03T19:31", "2024-09-03T19:31:00"),
        ("2024-09-03T19:31:30.123456789-0730", "2024-09-03T19:31:30.123456-07:30"),
        ("2024-13-03T19:31:30", None),
        ("03/09/2024 19:31", None),
    ],
)
def test_timestamps_of_guano(stamp: str, time: str | None) -> None:
    found, _, unread = parse_guano(f"GUANO|Version: 1.0\r\nTimestamp: {stamp}\r\n")
    assert (found and found.isoformat()) == time
    assert unread == ("" if time else stamp)


def test_places_that_are_none() -> None:
    for text in ("91 0", "0 181", "nan nan", "here", "1"):
        assert parse_guano(f"Loc Position: {text}")[1] is None
    assert parse_guano("Loc Position: -1.5, 2")[1] == (-1.5, 2)


def test_a_time_beyond_the_calendar_is_not_readable_and_told(tmp_path: Path) -> None:
    """An event after its first second would have no time of day."""
    path = wav(tmp_path / "a.wav", guano("9999-12-31T23:59:59"))
    found = beginning(path)
    assert found.time is None and "not readable: GUANO Timestamp '9999-12-31" in str(found)


def test_guano_reads_the_same(tmp_path: Path) -> None:
    oracle = pytest.importorskip("guano")
    for stamp in ("2024-09-03T19:31:30+01:00", "2024-09-03T19:31:30Z", "2024-09-03T19:31:30"):
        file = oracle.GuanoFile(os.fspath(wav(tmp_path / "x.wav", after=(guano(stamp),))))
        found = beginning(tmp_path / "x.wav")
        assert found.time is not None
        assert found.time == file["Timestamp"]
        assert found.time.utcoffset() == file["Timestamp"].utcoffset()
        assert found.place == tuple(file["Loc Position"])


def test_guano_reads_a_real_file_the_same() -> None:
    oracle = pytest.importorskip("guano")
    path = shared("batdetect2/AudiomothNoBatCalls.WAV")
    theirs, found = oracle.GuanoFile(os.fspath(path))["Timestamp"], beginning(path).time
    assert found is not None
    assert (found, found.utcoffset()) == (theirs, theirs.utcoffset())


def test_files_of_more_than_4_gib_have_their_size_elsewhere(tmp_path: Path) -> None:
    path = tmp_path / "big.wav"
    ds64 = chunk(b"ds64", struct.pack("<QQQI", 0, 10, 5, 0))
    data = struct.pack("<4sI", b"data", 0xFFFFFFFF) + b"\0" * 10
    path.write_bytes(b"RF64\xff\xff\xff\xffWAVE" + ds64 + data + comment(MOTH))
    assert beginning(path).source == "comment"


def test_a_chunk_that_lies_about_its_size_costs_no_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(riff, "_MOST_BYTES", 1000)
    text = guano("2021-03-03T03:00:00")[8:] + b"x" * 5000
    path = wav(tmp_path / "a.wav", chunk(b"guan", text))
    assert len(riff.read_words(path).guano) == 1000
    path.write_bytes(b"RIFF\0\0\0\0WAVE" + struct.pack("<4sI", b"guan", 0xFFFFFFFE) + text[:70])
    assert beginning(path).source == "GUANO"


def test_many_empty_chunks_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(iff, "MOST_CHUNKS", 10)
    path = wav(tmp_path / "a.wav", *[chunk(b"junk", b"")] * 20, comment(MOTH))
    assert beginning(path).source == "none"


@given(st.binary(max_size=200), st.integers(0, 200))
@hypothesis_settings(max_examples=150, deadline=None)
def test_no_bytes_break_it(tmp_path_factory: pytest.TempPathFactory, noise: bytes, at: int) -> None:
    path = wav(tmp_path_factory.getbasetemp() / "noise.wav", comment(MOTH), guano("2021-03-03 03"))
    content = path.read_bytes()
    path.write_bytes(content[:at] + noise + content[at + len(noise) // 2 :])
    assert isinstance(beginning(path), Beginning)


@given(st.text(max_size=60))
@hypothesis_settings(max_examples=150, deadline=None)
def test_no_text_breaks_it(text: str) -> None:
    begin_in_name(text)
    place_in_name(text)
    parse_comment(text)
    parse_guano(f"Timestamp: {text}\nLoc Position: {text}")


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "20190101_010000.wav")
    found: list[Beginning] = []
    reader = threading.Thread(
        target=lambda: found.append(beginning(tmp_path / "20190101_010000.wav")), daemon=True
    )
    reader.start()
    reader.join(10)
    assert [f.source for f in found] == ["name"]


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match=r"gone.wav: cannot be read \(No such file"):
        beginning(tmp_path / "gone.wav")
    with pytest.raises(AudioError, match="holds no sound file"):
        beginning(tmp_path)


def test_the_start_time_that_a_user_gives() -> None:
    for text in ("2026-05-01T04:30:00+02:00", "1883-04-18T15:02:32-09:58"):  # of before zones
        assert parse_start_time(text).isoformat() == text
    for text in ("tomorrow", "2026-05-01", "2026-02-30T04:30", "04:30", "9999-12-31T23:59"):
        with pytest.raises(ConfigError, match="is no start time: write it as 2026"):
            parse_start_time(text)
