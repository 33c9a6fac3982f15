"""Gaps between outputs beside an encoding."""

import time
from types import SimpleNamespace

import numpy as np
import pytest

from activesam_ros.benchmarks.gaps import measure_gaps
from activesam_ros.errors import VocabularyError
from activesam_ros.segmenter import ActiveSegmenter
from activesam_ros.vocabulary import Vocabulary

IMAGE = np.zeros((24, 32, 3), np.uint8)


class Paced:
    """Images take 5 ms, also the one that an encoding falls into; the encoding makes that one wait."""

    def __init__(self):
        self.used, self.images, self._busy = [], 0, False

    def segment(self, rgb):
        self.images += 1
        time.sleep(0.005)
        while self._busy:
            time.sleep(0.001)

    def encode(self, vocabulary):
        self._busy = True
        time.sleep(0.2)
        self._busy = False
        return SimpleNamespace(vocabulary=vocabulary)

    def use(self, prompts):
        self.used.append(prompts.vocabulary)


def test_a_gap_is_told_from_the_others():
    segmenter = Paced()
    gaps = measure_gaps(segmenter, IMAGE, ["one", "two"], frames=5)
    assert segmenter.used == ["one", "two"] and gaps.edits == 2
    assert gaps.frames >= 15
    assert gaps.median < 0.2 < gaps.largest
    assert gaps.encoding >= 0.2
    assert gaps.median <= gaps.largest_quiet


def test_on_the_demo_model(toytown_checkpoint):
    segmenter = ActiveSegmenter(toytown_checkpoint, prompt_cache=None)
    segmenter.set_vocabulary(Vocabulary.from_names(["road", "sky"]))
    gaps = measure_gaps(segmenter, IMAGE, [Vocabulary.from_names(["road", "anvil"])], frames=2)
    assert segmenter.vocabulary.names == ("road", "anvil")
    assert 0 < gaps.median <= gaps.largest_quiet


def test_a_failing_stream_ends_the_measurement(toytown_checkpoint):
    with pytest.raises(VocabularyError, match="set_vocabulary"):
        measure_gaps(ActiveSegmenter(toytown_checkpoint, prompt_cache=None), IMAGE, [], frames=2)


def test_a_failure_in_the_thread_is_raised():
    class Failing(Paced):
        def segment(self, rgb):
            if self.images == 2:
                raise ValueError("the third image")
            super().segment(rgb)

    with pytest.raises(ValueError, match="the third image"):
        measure_gaps(Failing(), IMAGE, ["one"], frames=5)
