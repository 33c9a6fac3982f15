"""The whole demonstration, shortened, with a real node; and its figures by hand."""

import json

import numpy as np
import pytest

pytest.importorskip("rosbags")
pytest.importorskip("rclpy", reason="rclpy is not installed; make setup and source env.sh give it")
pytest.importorskip(
    "vision_msgs.msg", reason="vision_msgs is not installed; make setup and source env.sh give it"
)

from activesam_ros.demo import report
from activesam_ros.demo.drive import RecordedFrame
from activesam_ros.demo.replay import Answer, Recording
from activesam_ros.demo.run import main, second_words
from activesam_ros.toytown import CLASSES, DEMO_CLASSES
from activesam_ros.vocabulary import Vocabulary


def test_both_vocabularies_are_valid_and_differ():
    assert len(Vocabulary.from_names(second_words())) == len(Vocabulary.from_names(DEMO_CLASSES)) == 60
    assert not set(second_words()) & set(DEMO_CLASSES)


def test_labels_are_translated_by_name_and_synonym():
    labels = np.array([[0, 1, 2, 255]], np.uint8)
    translated = report.to_truth(labels, {0: "Automobile", 1: "giraffe", 2: "sky"})
    assert translated.tolist() == [
        [CLASSES.index("car"), report.UNKNOWN, CLASSES.index("sky"), report.UNKNOWN]
    ]


def test_figures_by_hand():
    truth = np.array([[10, 10, 0, 0]], np.uint8)
    frame = RecordedFrame(1, b"", np.zeros((1, 4, 3), np.uint8), truth)
    labels = np.array([[1, 1, 0, 255]], np.uint8)
    answers = {
        1: Answer(labels, labels, 7, ("road", "sky"), 0.5),
        2: Answer(labels, labels, 8, (), 9.0),
    }
    recording = Recording([1, 2, 3], answers, {7: {0: "road", 1: "sky"}, 8: {0: "x"}})
    figures = report.vocabulary_figures(7, {1: frame, 2: frame}, recording)
    assert (figures.frames, figures.classes, figures.active) == (1, 2, 2)
    assert figures.mean_iou == pytest.approx((1.0 + 0.5) / 2)
    assert figures.latency_median == 0.5


@pytest.mark.parametrize(
    "arguments", [["--frames", "1"], ["--rate", "0"], ["--seed", "-1"], ["--width", "wide"]]
)
def test_bad_options_are_refused(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "expected" in capsys.readouterr().err


def test_a_bad_model_ends_in_one_sentence(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("ROS_DOMAIN_ID", str(np.random.default_rng().integers(1, 100)))
    code = main(["--out", str(tmp_path), "--frames", "2", "--model", str(tmp_path / "nowhere")])
    assert code == 1
    assert "does not exist" in capsys.readouterr().err


def test_a_short_demonstration(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("ROS_DOMAIN_ID", str(np.random.default_rng().integers(1, 100)))
    code = main(
        [
            "--out",
            str(tmp_path),
            "--frames",
            "24",
            "--rate",
            "2",
            "--width",
            "320",
            "--height",
            "240",
            "--compare",
            "2",
            "--pictures",
            "3",
        ]
    )
    assert code == 0, capsys.readouterr().err
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["published"] == 24 == figures["answered"] + figures["superseded"]
    assert [entry["classes"] for entry in figures["vocabularies"]] == [60, 60]
    assert [entry["revision"] for entry in figures["vocabularies"]] == [1, 2]
    with_preview, without = figures["comparison"]
    # The node and the library are one segmenter.
    assert with_preview["agreement"] == pytest.approx(1.0, abs=1e-3)
    assert "preview" in with_preview["stages"] and "preview" not in without["stages"]
    assert len(list(tmp_path.glob("frame_*.png"))) == 3
    assert "mIoU" in (tmp_path / "table.txt").read_text()
