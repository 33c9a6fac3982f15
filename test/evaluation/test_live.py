"""Labels that come from elsewhere are judged, kept and reported."""

import json

import numpy as np
import pytest

from activesam_ros.datasets.class_map import ClassMap, match_classes
from activesam_ros.datasets.samples import Sample
from activesam_ros.errors import EvaluationError
from activesam_ros.evaluation.live import LiveRun, describe_live_run, require_free
from activesam_ros.evaluation.records import read_records
from activesam_ros.evaluation.report.findings import LIVE_METHOD
from activesam_ros.evaluation.run_folder import RunFolder
from activesam_ros.evaluation.scoring import FrameCost, FrameLabels
from activesam_ros.settings import SegmenterSettings
from activesam_ros.vocabulary import Vocabulary

VOCABULARY = Vocabulary.from_names(["road", "sky"])
MATCHING = match_classes(VOCABULARY, ClassMap({1: "sky", 2: "road"}))
TRUTH = np.array([[1, 1, 1, 1], [2, 2, 2, 2]], np.uint8)
RIGHT = np.array([[1, 1, 1, 1], [0, 0, 0, 0]], np.uint8)
HALF = np.array([[1, 1, 0, 0], [0, 0, 1, 1]], np.uint8)
RGB = np.zeros((2, 4, 3), np.uint8)


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path / "run")


def begin(folder, matching=MATCHING):
    folder.begin(
        describe_live_run(
            recording={"path": "drive"},
            model={"name": "toytown"},
            vocabulary=VOCABULARY,
            matching=matching,
            settings=SegmenterSettings(),
            command="evaluator",
        )
    )
    return LiveRun(folder, VOCABULARY, matching)


def sample(index, truth=TRUTH, rgb=RGB, error=None):
    return Sample(index, 1000 * index, rgb, truth, error)


def test_the_score_runs_along(folder):
    with begin(folder) as run:
        assert run.mean_iou is None
        run.add(sample(0), FrameLabels(RIGHT, 255))
        assert run.mean_iou == 1.0
        run.add(sample(1), FrameLabels(HALF, 255))
        # Of 8 true pixels 6 are right; 2 are labelled as the other: 6 / 10 of each class.
        assert run.mean_iou == pytest.approx(6 / 10)
        run.add(sample(2, truth=None), FrameLabels(HALF, 255))
        assert run.mean_iou == pytest.approx(6 / 10)
    assert (run.frames, run.failed) == (3, 0)


def test_records_and_labels_are_kept(folder):
    with begin(folder) as run:
        run.add(sample(0), FrameLabels(HALF, 255, timings={"total": 0.5}), FrameCost(latency=0.75))
    (record,) = read_records(folder.records_path)
    assert (record.method, record.index, record.latency) == (LIVE_METHOD, 0, 0.75)
    assert record.timings == {"total": 0.5}
    assert np.array_equal(folder.prediction(LIVE_METHOD, "", 0), HALF)


def test_flicker_is_measured_against_the_frame_before_unless_that_failed(folder):
    with begin(folder) as run:
        first = run.add(sample(0), FrameLabels(RIGHT, 255))
        second = run.add(sample(1), FrameLabels(HALF, 255))
        run.add_failed(sample(2), "the node gave no labels")
        fourth = run.add(sample(3), FrameLabels(RIGHT, 255))
    assert [one.truth.flicker for one in (first, second, fourth)] == [None, 0.5, None]
    assert (run.frames, run.failed) == (4, 1)


def test_labels_of_another_size_are_a_failure(folder):
    with begin(folder) as run:
        record = run.add(sample(0), FrameLabels(np.zeros((3, 4), np.uint8), 255))
    assert "the labels are 4x3" in record.error
    assert "4x2" in record.error
    assert run.failed == 1


def test_without_truth_frames_are_kept_and_not_scored(folder):
    with begin(folder, matching=None) as run:
        record = run.add(sample(0, truth=None), FrameLabels(RIGHT, 255))
    assert record.truth is None
    assert run.mean_iou is None


def test_the_report_is_written(folder):
    with begin(folder) as run:
        run.add(sample(0), FrameLabels(HALF, 255, active=()))
    page, table = run.finalize(["The recording was cut off."])
    assert page.exists()
    assert LIVE_METHOD in table
    results = json.loads((folder.path / "results.json").read_text())
    assert results["summaries"][0]["truth"]["mean_iou"] == pytest.approx(1 / 3)
    assert "The recording was cut off." in results["run"]["notes"]


def test_a_folder_with_a_run_is_refused_unless_it_may_be_overwritten(folder):
    require_free(folder.path, overwrite=False)
    with begin(folder) as run:
        # Nothing is lost with a run that has no frame.
        require_free(folder.path, overwrite=False)
        run.add(sample(0), FrameLabels(RIGHT, 255))
    with pytest.raises(EvaluationError, match="overwrite"):
        require_free(folder.path, overwrite=False)
    require_free(folder.path, overwrite=True)


@pytest.mark.parametrize("overwrite", [False, True])
def test_what_is_no_evaluation_is_refused_and_kept(tmp_path, overwrite):
    kept = tmp_path / "thesis.txt"
    kept.write_text("years of work")
    with pytest.raises(EvaluationError, match="is a file; give another folder as out"):
        require_free(kept, overwrite)
    with pytest.raises(EvaluationError, match="holds files that are no evaluation"):
        require_free(tmp_path, overwrite)
    assert kept.read_text() == "years of work"
