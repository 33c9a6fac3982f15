"""Labels that are in a recording are scored as those that the evaluation makes itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

pytest.importorskip("rosbags")

from activesam_ros.cli.evaluate import main
from activesam_ros.datasets.bag_writer import BagWriter
from activesam_ros.datasets.labelled_bag import START, LabelledBag
from activesam_ros.datasets.recordings import Recording
from activesam_ros.errors import EvaluationError
from activesam_ros.evaluation.predictions import recorded_vocabulary
from activesam_ros.evaluation.records import read_records
from activesam_ros.evaluation.run_folder import RunFolder
from activesam_ros.evaluation.runner import EvaluationConfig, evaluate
from activesam_ros.labelling.job import LabelConfig
from activesam_ros.labelling.label import label
from activesam_ros.settings import SegmenterSettings
from activesam_ros.toytown import CLASSES
from activesam_ros.toytown.world import World
from activesam_ros.vocabulary import Vocabulary

if TYPE_CHECKING:
    from pathlib import Path

FRAMES = 4
NAMES = ("road", "car, automobile", "sky", "person", "building")
LABELS = "/activesam/labels"


@pytest.fixture(scope="module")
def drive(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("drive") / "drive"
    world = World(3, 96, 64)
    with LabelledBag(path, dict(enumerate(CLASSES))) as bag:
        for index in range(FRAMES):
            frame = world.render(index / 5)
            bag.write(START + index * 200_000_000, frame.rgb, frame.labels)
    return path


@pytest.fixture(scope="module")
def labelled(drive, tmp_path_factory) -> Path:
    keep = ("/camera/*", "/ground_truth/*")
    out = tmp_path_factory.mktemp("labelled") / "out"
    given = LabelConfig(
        (drive,), out, "toytown", Vocabulary.from_names(NAMES), SegmenterSettings(), keep=keep
    )
    return label(given).out


@pytest.fixture
def late(labelled, tmp_path) -> Path:
    """The same as a robot records it: labels come after their images, some images have none, later ones do."""
    path = tmp_path / "late"
    with Recording(labelled) as recording, BagWriter(path) as bag:
        topics = [one for one in recording.topics if one != "/activesam/vocabulary"]
        connections = {one.topic: bag.copied_connection(one) for one in recording.connections(topics)}
        messages = [
            (time + (250_000_000 if one.topic.startswith("/activesam") else 0), one.topic, data)
            for time, one, data in recording.serialised(topics)
        ]
        messages.sort(key=lambda one: one[0])
        labels = [one for one in messages if one[1] == LABELS]
        for time, topic, data in messages:
            if (time, topic, data) != labels[1]:
                bag.write_raw(connections[topic], time, data)
    return path


def scored(bag, out, *more):
    code = main([str(bag), "--predictions", LABELS, "--out", str(out), *more])
    return code, read_records(RunFolder(out).records_path)


def test_they_are_scored_as_those_of_the_segmenter(drive, labelled, tmp_path, capsys):
    offline = tmp_path / "offline"
    vocabulary = Vocabulary.from_names(NAMES)
    evaluate(EvaluationConfig(drive, offline, "toytown", vocabulary, SegmenterSettings()))
    code, records = scored(labelled, tmp_path / "scored")
    assert code == 0 and "mIoU" in capsys.readouterr().out
    expected = read_records(RunFolder(offline).records_path)
    assert len(records) == len(expected) == FRAMES
    same = ("index", "stamp", "error", "width", "height", "active", "pixels", "unlabeled", "truth")
    for ours, theirs in zip(records, expected, strict=True):
        assert {name: getattr(ours, name) for name in same} == {name: getattr(theirs, name) for name in same}
        assert ours.presence == pytest.approx(theirs.presence) and ours.latency is None
    described, reference = (RunFolder(one).description() for one in (tmp_path / "scored", offline))
    assert described["vocabulary"] == reference["vocabulary"]
    assert described["matching"] == reference["matching"]
    assert scored(labelled, tmp_path / "scored")[1] == records  # anew


def test_labels_that_come_later_or_never_are_those_of_their_stamp(labelled, late, tmp_path):
    _, whole = scored(labelled, tmp_path / "whole")
    code, records = scored(late, tmp_path / "late_scored")
    assert code == 0 and [one.index for one in records] == list(range(FRAMES))
    assert records[1].error == "/activesam/labels has no labels of its stamp" and records[1].truth is None
    for index in (0, 3):  # flicker, of those after a gap, is not measured
        assert records[index].truth.confusion == whole[index].truth.confusion
        assert records[index].active == whole[index].active
    with Recording(late) as recording:  # which has LabelInfo alone
        assert recorded_vocabulary(recording, LABELS).names == ("road", "car", "sky", "person", "building")


def test_ids_that_change_their_meaning_are_refused(labelled, tmp_path):
    path = tmp_path / "changed"
    with Recording(labelled) as recording, BagWriter(path) as bag:
        connections = {
            one.topic: bag.copied_connection(one) for one in recording.connections(recording.topics)
        }
        for time, one, data in recording.serialised(recording.topics):
            bag.write_raw(connections[one.topic], time, data)
            if one.topic == "/activesam/vocabulary":
                changed = data.replace(b"sky\0", b"sea\0")
                assert changed != data
                bag.write_raw(connections[one.topic], time + 1, changed)
    with Recording(path) as recording, pytest.raises(EvaluationError, match="vocabulary changes"):
        recorded_vocabulary(recording, LABELS)


def test_options_without_effect_are_refused(labelled, tmp_path, capsys):
    for option in ("--model", "--vocabulary", "--compare", "--param"):
        with pytest.raises(SystemExit):
            scored(labelled, tmp_path / "out", option, "toytown")
        assert f"{option} has no effect" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
