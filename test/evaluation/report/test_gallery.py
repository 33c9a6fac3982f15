"""Which frames get pictures."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from activesam_ros.errors import EvaluationError
from activesam_ros.evaluation.records import FrameRecord, TruthScores
from activesam_ros.evaluation.report.gallery import (
    Gallery,
    frame_badness,
    read_gallery,
    typical_frame,
    worst_frames,
)
from activesam_ros.vocabulary import Vocabulary

VOCABULARY = Vocabulary.from_names(["road", "sky"])
MATCHING = SimpleNamespace(classes=("road", "sky"), label_index={0: 0, 1: 1})
RGB = np.zeros((10, 10, 3), np.uint8)


def frame(
    index: int, wrong: int, period_s: float = 2.0
) -> tuple[FrameRecord, np.ndarray, np.ndarray, np.ndarray]:
    """A frame of a road, of whose 100 pixels `wrong` are labelled as sky."""
    truth = np.zeros((10, 10), np.int32)
    labels = np.zeros(100, np.uint8)
    labels[:wrong] = 1
    confusion = tuple(triple for triple in ((0, 0, 100 - wrong), (0, 1, wrong)) if triple[2])
    scores = TruthScores(classes=2, active=(0,), confusion=confusion)
    record = FrameRecord(index, int(index * period_s * 1e9), "active", active=(0,), truth=scores)
    return record, RGB, labels.reshape(10, 10), truth


def test_the_worst_are_kept_and_their_files_alone(tmp_path):
    gallery = Gallery(tmp_path, VOCABULARY, MATCHING, worst=3, spread=0)
    for index, wrong in enumerate([5, 80, 10, 60, 0, 70, 20, 90]):
        gallery.offer(*frame(index, wrong))
    worst = worst_frames(read_gallery(tmp_path))
    assert [one.index for one in worst] == [7, 1, 5]
    assert worst[0].badness == pytest.approx(1 - 0.1 / 2), "road: 10 of 100, sky: 0 of 90"
    assert worst[0].pixel_accuracy == pytest.approx(0.1)
    assert sorted(path.name for path in (tmp_path / "frames").iterdir()) == ["000001", "000005", "000007"]
    title, name = worst[0].panels[2]
    assert title == "prediction"
    assert cv2.imread(str(tmp_path / name)).shape == (10, 10, 3)


def test_neighbours_in_time_do_not_fill_the_gallery(tmp_path):
    gallery = Gallery(tmp_path, VOCABULARY, MATCHING, worst=3, spread=0)
    # Thirty frames a second: one bad second, and two bad moments elsewhere.
    for index in range(300):
        bad = 90 if 100 <= index < 120 else 60 if index in (20, 250) else 1
        gallery.offer(*frame(index, bad, period_s=1 / 30))
    kept = [one.index for one in worst_frames(read_gallery(tmp_path))]
    assert kept[0] in range(100, 120) and set(kept[1:]) == {20, 250}


def test_a_bad_neighbour_is_worse_than_a_good_frame_elsewhere(tmp_path):
    gallery = Gallery(tmp_path, VOCABULARY, MATCHING, worst=2, spread=0)
    for index, wrong in ((0, 99), (1, 98), (200, 0)):
        gallery.offer(*frame(index, wrong, period_s=0.1))
    assert [one.index for one in worst_frames(read_gallery(tmp_path))] == [0, 1]


def test_some_frames_are_spread_over_the_run(tmp_path):
    gallery = Gallery(tmp_path, VOCABULARY, MATCHING, worst=0, spread=4)
    for index in range(50):
        gallery.offer(*frame(index, index))
    kept = [one.index for one in read_gallery(tmp_path)]
    assert kept == [0, 16, 32, 48]
    frames = read_gallery(tmp_path)
    assert typical_frame(frames, frame_badness(frame(30, 30)[0])).index == 32
    assert typical_frame((), 0.5) is None


def test_a_run_that_goes_on_goes_on_with_the_pictures(tmp_path):
    whole = Gallery(tmp_path / "whole", VOCABULARY, MATCHING, worst=4, spread=4)
    for index in range(40):
        whole.offer(*frame(index, (index * 37) % 100))
        Gallery(tmp_path / "parts", VOCABULARY, MATCHING, worst=4, spread=4).offer(
            *frame(index, (index * 37) % 100)
        )
    assert read_gallery(tmp_path / "parts") == read_gallery(tmp_path / "whole")


def test_a_missed_class_is_named(tmp_path):
    _, rgb, labels, truth = frame(0, 0)
    truth[:5] = 1
    scores = TruthScores(classes=2, active=(0,), confusion=((0, 0, 50), (1, 0, 50)))
    record = FrameRecord(0, 0, "active", active=(0,), truth=scores)
    Gallery(tmp_path, VOCABULARY, MATCHING).offer(record, rgb, labels, truth)
    (kept,) = read_gallery(tmp_path)
    assert kept.missed == ("sky",)
    assert "class was not decoded" in [entry.name for entry in kept.errors]


def test_without_truth_the_least_agreement_is_the_worst(tmp_path):
    gallery = Gallery(tmp_path, VOCABULARY, MATCHING, worst=1, spread=0)
    labels = np.zeros((10, 10), np.uint8)
    for index, agreement in enumerate([0.9, 0.4, 0.7]):
        record = FrameRecord(index, index * 10**10, "active", active=(0,), agreement=agreement)
        gallery.offer(record, RGB, labels, reference=labels)
    (kept,) = worst_frames(read_gallery(tmp_path))
    assert kept.index == 1 and kept.agreement == 0.4
    assert [title for title, _ in kept.panels] == ["input", "full-vocabulary", "prediction", "difference"]


def test_with_nothing_to_compare_frames_are_shown_all_the_same(tmp_path):
    gallery = Gallery(tmp_path, VOCABULARY, MATCHING, worst=2, spread=2)
    record = FrameRecord(0, 0, "active", active=(0,))
    assert gallery.offer(record, RGB, np.zeros((10, 10), np.uint8))
    frames = read_gallery(tmp_path)
    assert worst_frames(frames) == () and typical_frame(frames, None).index == 0


def test_no_index_is_no_frames_and_another_version_is_refused(tmp_path):
    assert read_gallery(tmp_path) == ()
    (tmp_path / "frames.json").write_text('{"version": 99}')
    with pytest.raises(EvaluationError, match="version 99"):
        read_gallery(tmp_path)
    (tmp_path / "frames.json").write_text("[")
    with pytest.raises(EvaluationError, match="remove the folder"):
        Gallery(tmp_path, VOCABULARY, MATCHING)
