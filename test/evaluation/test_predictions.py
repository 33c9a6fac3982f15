"""Labels that are in a recording are scored as those that the evaluation makes itself."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("rosbags")

from activesam_ros.cli.evaluate import main
from activesam_ros.datasets.bag_writer import BagWriter
from activesam_ros.datasets.labelled_bag import START, LabelledBag
from activesam_ros.datasets.recordings import Recording
from activesam_ros.datasets.samples import TRUE_INSTANCES_TOPIC
from activesam_ros.errors import EvaluationError
from activesam_ros.evaluation.config import EvaluationConfig
from activesam_ros.evaluation.identities import score_identities
from activesam_ros.evaluation.predictions import recorded_vocabulary
from activesam_ros.evaluation.records import read_records
from activesam_ros.evaluation.results import read_results
from activesam_ros.evaluation.run_folder import RunFolder
from activesam_ros.evaluation.runner import evaluate
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
            bag.write(START + index * 200_000_000, frame.rgb, frame.labels, frame.instances)
    return path


@pytest.fixture(scope="module")
def labelled(drive, tmp_path_factory) -> Path:
    keep = ("/camera/*", "/ground_truth/*")
    out = tmp_path_factory.mktemp("labelled") / "out"
    given = LabelConfig(
        (drive,),
        out,
        "toytown",
        Vocabulary.from_names(NAMES),
        SegmenterSettings(),
        keep=keep,
        instances=True,
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
    evaluate(
        EvaluationConfig(drive, offline, model="toytown", vocabulary=vocabulary, settings=SegmenterSettings())
    )
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
    assert described["methods"][0]["settings"] == reference["methods"][0]["settings"]
    assert described["model"]["name"] == reference["model"]["name"] == "toytown"
    assert described["matching"] == reference["matching"]
    assert scored(labelled, tmp_path / "scored")[1] == records  # anew


def test_identities_are_scored_alike_live_resumed_and_offline(drive, labelled, tmp_path, capsys):
    def offline(name):
        config = EvaluationConfig(
            drive,
            tmp_path / name,
            model="toytown",
            vocabulary=Vocabulary.from_names(NAMES),
            settings=SegmenterSettings(),
            instances_topic=TRUE_INSTANCES_TOPIC,
        )
        evaluate(config)
        return RunFolder(config.out).records_path

    path = offline("offline")
    expected = [one.identities for one in read_records(path)]
    assert all(one.things and one.found for one in expected) and sum(len(one.overlaps) for one in expected)
    *first, _, _ = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(first))
    assert [one.identities for one in read_records(offline("offline"))] == expected
    code, records = scored(labelled, tmp_path / "scored", "--instances", TRUE_INSTANCES_TOPIC)
    assert code == 0 and [one.identities for one in records] == expected
    assert f"ID F1 {score_identities(expected).idf1:.3f}" in capsys.readouterr().out
    results = read_results(tmp_path / "scored" / "results.json")
    assert results["summaries"][0]["identities"] == asdict(score_identities(expected))
    assert "Things that keep their ids" in (tmp_path / "scored" / "report.html").read_text()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--instances", "/camera/image"], "/camera/image holds no id images: the encoding 'rgb8'"),
        (
            ["--instances", TRUE_INSTANCES_TOPIC, "--labels", "none", "--image", "/camera/image"],
            "give ground truth with --labels",
        ),
        (["--instances", "/nowhere"], "/nowhere"),
    ],
)
def test_true_ids_that_cannot_be_compared_are_refused_in_a_sentence(labelled, tmp_path, capsys, more, said):
    assert scored(labelled, tmp_path / "out", *more)[0] == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


def test_missing_motmetrics_is_named_with_what_installs_it(labelled, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "motmetrics", None)
    assert scored(labelled, tmp_path / "out", "--instances", TRUE_INSTANCES_TOPIC)[0] == 2
    assert "pip install motmetrics" in capsys.readouterr().err


def test_labels_that_come_later_or_never_are_those_of_their_stamp(labelled, late, tmp_path):
    _, whole = scored(labelled, tmp_path / "whole")
    code, records = scored(late, tmp_path / "late_scored")
    assert code == 0 and [one.index for one in records] == list(range(FRAMES))
    assert records[1].error == "/activesam/labels has no labels of its stamp" and records[1].truth is None
    assert [one.truth.flicker is None for one in whole] == [True, False, False, False]
    assert [one.truth.flicker is None for one in records if one.truth] == [True, True, False]  # after a gap
    for index in (0, 3):
        assert records[index].truth.confusion == whole[index].truth.confusion
        assert records[index].active == whole[index].active
    # In which the node did nothing else: the labels before came 0.2 s sooner, or two frames.
    assert [one.latency for one in records] == [0.25, None, 0.25, 0.25]
    assert [one.timings for one in records] == [{"total": 0.25}, {}, {"total": 0.25}, {"total": 0.2}]
    with Recording(late) as recording:  # which has LabelInfo alone
        assert recorded_vocabulary(recording, LABELS)[0].names == ("road", "car", "sky", "person", "building")


def rewritten(labelled, path, change) -> Path:
    """The recording with some messages changed; `change` takes topic, the message's number on it, and the message."""
    with Recording(labelled) as recording, BagWriter(path) as bag:
        connections = {
            one.topic: bag.copied_connection(one) for one in recording.connections(recording.topics)
        }
        counts = Counter()
        for one in recording.messages(recording.topics):
            for message in change(one.topic, counts[one.topic], one.message) or [one.message]:
                bag.write(connections[one.topic], one.time_ns, message)
            counts[one.topic] += 1
    return path


def renamed(message, revision):
    sea = [replace(one, name="sea") if one.name == "sky" else one for one in message.classes]
    return replace(message, classes=sea, revision=revision)


def test_ids_that_change_their_meaning_are_refused(labelled, tmp_path):
    def change(topic, number, message):
        return [message, renamed(message, 1)] if topic == "/activesam/vocabulary" else None

    path = rewritten(labelled, tmp_path / "changed", change)
    with Recording(path) as recording, pytest.raises(EvaluationError, match="vocabulary changes"):
        recorded_vocabulary(recording, LABELS)


def test_labels_that_cannot_be_scored_fail_their_image_alone(labelled, tmp_path):
    """Those of another revision of the vocabulary, of another size, and no labels at all."""

    def change(topic, number, message):
        if topic == "/activesam/vocabulary":
            return [message, renamed(message, 2)]
        if topic == "/activesam/active_classes" and number == 1:
            return [replace(message, vocabulary_revision=2)]
        if topic == LABELS and number == 2:
            return [replace(message, height=message.height // 2, data=message.data[: message.data.size // 2])]
        if topic == LABELS and number == 3:
            return [replace(message, encoding="rgb8", width=message.width // 3)]
        return None

    code, records = scored(rewritten(labelled, tmp_path / "changed", change), tmp_path / "out")
    assert code == 0
    assert [one.error for one in records] == [
        None,
        "it was labelled with revision 2 of the vocabulary, the run is about revision 1",
        "the labels are 96x32, the image is 96x64",
        records[3].error,
    ]
    assert records[3].error.startswith("its labels cannot be used: ") and "'rgb8'" in records[3].error


def test_options_without_effect_are_refused(labelled, tmp_path, capsys):
    for option in ("--model", "--vocabulary", "--compare", "--param"):
        with pytest.raises(SystemExit):
            scored(labelled, tmp_path / "out", option, "toytown")
        assert f"{option} has no effect" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
