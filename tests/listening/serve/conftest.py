from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.listening.ears import make_ears, tones
from tests.listening.serve.service import Service, serving


@pytest.fixture(scope="module")
def ears(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_ears(tmp_path_factory.mktemp("models") / "ears")


@pytest.fixture(scope="module")
def service(ears: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving(ears, tmp_path_factory.mktemp("serving"), "--hop", "0.5") as started:
        yield started


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second with a high tone."""
    return tones(tmp_path_factory.mktemp("clips") / "clip.wav", (3000, 0.1, 0.9), seconds=1)


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 s with a high tone, a low one and a high one."""
    path = tmp_path_factory.mktemp("nights") / "20260501_230000.wav"
    return tones(path, (3000, 2, 5), (200, 12, 15), (3000, 31, 34), seconds=40)
