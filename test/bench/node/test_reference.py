"""The bare segmenter in a process of its own."""

import numpy as np
import pytest

from activesam_ros.benchmarks.node.reference import Reference
from activesam_ros.errors import ActiveSamError

PICTURES = [np.zeros((24, 32, 3), np.uint8)]


def test_it_segments_on_demand():
    given = {"model": "toytown", "vocabulary": ["road", "sky"], "prompt_cache": "off"}
    with Reference(given, PICTURES, threads=1) as reference:
        assert 0 < reference.seconds(0) < 60


def test_its_end_is_noticed(capfd):
    with Reference({"model": "/no/such/model"}, PICTURES, threads=1) as reference:
        with pytest.raises(ActiveSamError, match="ended"):
            reference.seconds(0)
    assert "/no/such/model" in capfd.readouterr().err
