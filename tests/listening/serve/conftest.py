from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from spectro.listening.events.settings import EventSettings
from spectro.listening.thresholds.site import ClassEvidence, SiteThresholds
from spectro.models.identity import model_hash
from tests.listening.ears import LABELS, make_ears, tones
from tests.listening.serve.service import Service, serving


@pytest.fixture(scope="module")
def ears(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with thresholds of two sites, of which one hears high tones, the other low ones."""
    model = make_ears(tmp_path_factory.mktemp("models") / "ears")
    low = {"on": 0.3, "off": 0.2, "extent": 0.2}
    for site, ignore, hop in (("office", ("low", "quiet"), 0.5), ("door", ("high", "quiet"), 0.25)):
        SiteThresholds(**{
            "site": site, "model": model_hash(model), "budget": 1, "confidence": 0.95,
            "supported": True, "hop": hop, "hours": 3, "recordings": {"b.wav": 3.0},
            "settings": EventSettings(**low, ignore=ignore),
            "classes": {label: ClassEvidence(chosen=None) for label in LABELS},
        }).save(model)  # fmt: skip
    return model


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
