"""The field test in short (`make field` is the long run)."""

from __future__ import annotations

import pytest

from tests.field.course import SHORT, FieldTest


@pytest.mark.process
@pytest.mark.timeout(400)
def test_three_cameras_six_consumers_and_a_recorder_survive_the_world() -> None:
    """C-108, W-008, D-142: every frame is received or counted, and no camera is refused."""
    assert FieldTest(rate_hz=100.0, bound_s=120.0).run(SHORT) == []
