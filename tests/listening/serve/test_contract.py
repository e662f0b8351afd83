"""The service against its own OpenAPI, by requests that schemathesis makes up."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile as sf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.listening.serve.service import Service

pytestmark = pytest.mark.slow


@st.composite
def sounds(draw: st.DrawFn) -> bytes:
    """Make a sound, most of the time."""
    rate = draw(st.sampled_from([8_000, 16_000, 44_100]))
    y = np.zeros(draw(st.integers(1, 20_000)), np.float32)
    y[:: draw(st.integers(2, 50))] = draw(st.floats(-1, 1, width=32))
    buffer = io.BytesIO()
    sf.write(buffer, y, rate, format=draw(st.sampled_from(["WAV", "FLAC", "AIFF"])))
    return buffer.getvalue()


def test_it_answers_as_it_says(service: Service) -> None:
    schemathesis = pytest.importorskip("schemathesis")
    for kind in ("audio/*", "video/*", "application/octet-stream"):
        schemathesis.openapi.media_type(kind, sounds())
    schema = schemathesis.openapi.from_url(service.url + "openapi.json")
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) == 9
    for operation in operations:

        @given(case=operation.as_strategy())
        @settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
        def check(case) -> None:
            case.call_and_validate()

        check()
    assert service.ask("healthz").status == 200
