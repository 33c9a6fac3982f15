"""The whole demonstration, shortened, with a real node; its drive, and its figures by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("rosbags")
pytest.importorskip("rclpy", reason="rclpy is not installed; make setup and source env.sh give it")
pytest.importorskip(
    "activesam_ros.msg", reason="the messages are not built; make setup and source env.sh give them"
)

from activesam_ros.benchmarks.demo_client import FrameOutput, Replay
from activesam_ros.benchmarks.demo_pictures import UNKNOWN, to_truth
from activesam_ros.cli import demo
from activesam_ros.datasets.labelled_bag import IMAGE_TOPIC, TRUTH_INFO_TOPIC, TRUTH_TOPIC, write_drive
from activesam_ros.datasets.recordings import Recording
from activesam_ros.datasets.samples import Sample, SampleReader
from activesam_ros.toytown import CLASSES, DEMO_CLASSES
from activesam_ros.toytown.world import World
from activesam_ros.vocabulary import Vocabulary


def test_a_drive_comes_back_exactly_and_replaces_an_older_one(tmp_path):
    bag, world = tmp_path / "drive", World(5, 96, 64)
    for frames in (1, 4):
        write_drive(bag, seed=5, frames=frames, rate=2.0, size=(96, 64))
        with Recording(bag) as recording:
            samples = list(SampleReader(recording, IMAGE_TOPIC, TRUTH_TOPIC))
            info = next(recording.messages([TRUTH_INFO_TOPIC])).message
        assert [sample.stamp - samples[0].stamp for sample in samples] == [
            i * 500_000_000 for i in range(frames)
        ]
        for index, sample in enumerate(samples):
            rendered = world.render(index / 2.0)
            assert np.array_equal(sample.rgb, rendered.rgb)
            assert np.array_equal(sample.truth, rendered.labels)
        assert [(one.class_id, one.class_name) for one in info.class_map] == list(enumerate(CLASSES))
    assert list(bag.glob("*.mcap")) and (bag / "metadata.yaml").is_file()


def test_both_vocabularies_are_valid_and_differ():
    second = demo.second_classes()
    assert len(Vocabulary.from_names(second)) == len(Vocabulary.from_names(DEMO_CLASSES)) == 60
    assert not set(second) & set(DEMO_CLASSES)


def test_figures_by_hand():
    labels = np.array([[0, 1, 2, 255]], np.uint8)
    translated = to_truth(labels, {0: "Automobile", 1: "giraffe", 2: "sky"})
    assert translated.tolist() == [[CLASSES.index("car"), UNKNOWN, CLASSES.index("sky"), UNKNOWN]]
    truth = np.array([[10, 10, 0, 0]], np.uint8)
    frame = Sample(0, 1, np.zeros((1, 4, 3), np.uint8), truth)
    labels = np.array([[1, 1, 0, 255]], np.uint8)
    outputs = {
        1: FrameOutput(labels, labels, 7, ("road", "sky"), 0.5),
        2: FrameOutput(labels, labels, 8, (), 9.0),
    }
    replay = Replay([1, 2, 3], outputs, {7: {0: "road", 1: "sky"}, 8: {0: "x"}})
    figures = demo.vocabulary_figures(7, {1: frame, 2: frame}, replay)
    assert (figures.frames, figures.classes, figures.active) == (1, 2, 2)
    assert figures.mean_iou == pytest.approx((1.0 + 0.5) / 2)
    assert figures.latency_median == 0.5


@pytest.mark.parametrize(
    "arguments", [["--frames", "1"], ["--rate", "0"], ["--seed", "-1"], ["--width", "wide"]]
)
def test_bad_options_are_refused(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        demo.main(arguments)
    assert ended.value.code == 2
    assert "expected" in capsys.readouterr().err


@pytest.mark.live
def test_a_bad_model_ends_in_one_sentence(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("ROS_DOMAIN_ID", str(np.random.default_rng().integers(1, 100)))
    code = demo.main(["--out", str(tmp_path), "--frames", "2", "--model", str(tmp_path / "nowhere")])
    assert code == 2
    assert "does not exist" in capsys.readouterr().err


@pytest.mark.live
@pytest.mark.slow
def test_a_short_demonstration(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("ROS_DOMAIN_ID", str(np.random.default_rng().integers(1, 100)))
    options = "--frames 24 --rate 2 --width 320 --height 240 --compare 2 --pictures 3"
    code = demo.main(["--out", str(tmp_path), *options.split()])
    assert code == 0, capsys.readouterr().err
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["published"] == 24 == figures["answered"] + figures["superseded"]
    assert [entry["classes"] for entry in figures["vocabularies"]] == [60, 60]
    assert [entry["revision"] for entry in figures["vocabularies"]] == [1, 2]
    with_preview, without = figures["comparison"]
    # The node and the library are one segmenter.
    assert with_preview["agreement"] == pytest.approx(1.0, abs=1e-3)
    assert "preview" in with_preview["stages"] and "preview" not in without["stages"]
    assert len(list(tmp_path.glob("frame_*.png"))) == 3 and (tmp_path / "first.png").stat().st_size
    with Image.open(tmp_path / "demo.webp") as animation:
        assert animation.n_frames == figures["answered"]
    assert "mIoU" in (tmp_path / "table.txt").read_text()
