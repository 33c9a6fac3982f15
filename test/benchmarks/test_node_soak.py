"""What a soak does."""

from collections import Counter
from itertools import islice, pairwise

import pytest

from activesam_ros.benchmarks.node_soak import Edit, Fault, SegmentCall, Send, class_pool, plan_steps
from activesam_ros.errors import VocabularyError
from activesam_ros.vocabulary import Vocabulary


def steps(count, seed=1, bad_rate=0.1, edit_rate=0.05, call_rate=0.0, words=12):
    plan = plan_steps(seed, ["front", "rear"], 7, class_pool(words), words, bad_rate, edit_rate, call_rate)
    return list(islice(plan, count))


def test_a_seed_gives_the_same_steps():
    assert steps(500) == steps(500)
    assert steps(500) != steps(500, seed=2)


def test_rates_are_kept_and_all_that_can_happen_does():
    found = steps(20_000)
    frames = [step for step in found if isinstance(step, Send)]
    edits = [step for step in found if isinstance(step, Edit)]
    bad = [step for step in frames if step.fault]
    assert len(bad) / len(frames) == pytest.approx(0.1, rel=0.1)
    assert len(edits) / len(frames) == pytest.approx(0.05, rel=0.1)
    assert {step.fault for step in bad} == set(Fault)
    assert {step.image for step in frames} == set(range(7))
    assert Counter(step.camera for step in frames).most_common()[0][1] <= len(frames) / 2 + 1


def test_two_bad_frames_of_a_camera_never_follow_each_other():
    for camera in ("front", "rear"):
        sent = [
            step for step in steps(5000, bad_rate=0.4) if isinstance(step, Send) and step.camera == camera
        ]
        assert not any(one.fault and other.fault for one, other in pairwise(sent))


def test_edits_are_what_they_say():
    edits = [step for step in steps(3000, edit_rate=0.5) if isinstance(step, Edit)]
    assert {edit.valid for edit in edits} == {True, False}
    for edit in edits:
        assert len(edit.names) == 12
        if edit.valid:
            assert len(Vocabulary.from_names(edit.names)) == 12
        else:
            with pytest.raises(VocabularyError):
                Vocabulary.from_names(edit.names)


def test_many_edits_and_calls_come_between_two_frames_and_no_class_is_called_twice():
    found = steps(2000, edit_rate=2.5, call_rate=2.5, words=500)
    counts = Counter(type(step) for step in found)
    assert counts[Edit] / counts[Send] == pytest.approx(2.5, rel=0.1)
    assert counts[SegmentCall] / counts[Send] == pytest.approx(2.5, rel=0.1)
    assert len({name for step in found if isinstance(step, Edit) for name in step.names[:-1]}) == 600
    called = [name for step in found if isinstance(step, SegmentCall) for name in step.names]
    assert len(Vocabulary.from_names([*class_pool(500), *called])) == 600 + 20 * counts[SegmentCall]
