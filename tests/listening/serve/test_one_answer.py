"""One clip has one answer, whoever is asked: predict, scan, listen, serve, as processes."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.listening.ears import make_ears, tones
from tests.listening.serve.service import serving

SPECTRO = [sys.executable, "-m", "spectro"]
WHOLE = ["--smooth-windows", "1", "--on", "0.3", "--off", "0.2", "--extent", "0.2"]  # one window


def said(*words: object, given: bytes = b"") -> str:
    done = subprocess.run(
        [*SPECTRO, *map(str, words)], input=given, capture_output=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


@pytest.mark.slow
@pytest.mark.parametrize("tone", [(3000, 0.1, 0.9), (200, 0.0, 0.6)], ids=["high", "low"])
def test_the_same_probability_everywhere(
    tmp_path: Path, tone: tuple[float, float, float], request: pytest.FixtureRequest
) -> None:
    ears, clip = make_ears(tmp_path / "ears"), tones(tmp_path / "clip.wav", tone, seconds=1)
    [label] = [name for name in ("high", "low") if name in request.node.name]
    truth = json.loads(said("predict", ears, clip, "--format", "jsonl"))["probabilities"][label]
    assert 0.3 < truth < 0.9999

    said("scan", ears, clip, "--out", tmp_path / "out", *WHOLE)
    with (tmp_path / "out" / "events.csv").open(encoding="utf-8", newline="") as file:
        [event] = csv.DictReader(file)
    assert (event["label"], event["peak"]) == (label, f"{truth:.6f}")

    (tmp_path / "site.toml").write_text("[events]\nsmooth_windows = 1\non = 0.3\noff = 0.2\n")
    heard = said("listen", ears, "-", "--json", "--state", tmp_path / "state",
                 "--config", tmp_path / "site.toml", given=clip.read_bytes())  # fmt: skip
    live = json.loads(heard.splitlines()[-1])
    assert (live["label"], live["peak"]) == (label, float(event["peak"]))

    with serving(ears, tmp_path / "serving") as service:
        assert service.ask("predict", clip.read_bytes()).json["probabilities"][label] == truth
