"""Scores of identities, counted by hand."""

import json
from dataclasses import asdict

import numpy as np
import pytest

from activesam_ros.datasets.labelled_bag import IMAGE_TOPIC, write_drive
from activesam_ros.datasets.recordings import Recording
from activesam_ros.datasets.samples import TRUE_INSTANCES_TOPIC, default_image_topic
from activesam_ros.evaluation.identities import FrameIdentities, compare_identities, score_identities
from activesam_ros.toytown.world import World


def frame(*regions):
    """Ids and classes of an image of ten columns: (first column, end, id, class) each."""
    ids, labels = np.zeros((4, 10), np.uint16), np.zeros((4, 10), np.uint8)
    for first, end, number, class_id in regions:
        ids[:, first:end], labels[:, first:end] = number, class_id
    return ids, labels


def test_a_switch_a_miss_and_a_false_thing():
    truth = frame((0, 4, 1, 3), (5, 9, 2, 3))
    found = [
        frame((0, 4, 7, 3), (5, 9, 8, 3)),
        frame((0, 4, 7, 3), (5, 8, 8, 3)),  # 3/4 of the second
        frame((0, 4, 9, 3), (5, 6, 8, 3)),  # the first changes its id, 1/4 of the second is no hit
        frame((0, 4, 9, 4), (5, 9, 8, 3)),  # the first is another class, which has no true things
    ]
    compared = [compare_identities(*truth, *one, uncounted=255) for one in found]
    assert [FrameIdentities.from_json(json.loads(json.dumps(asdict(one)))) for one in compared] == compared
    scores = score_identities(compared)
    # Of 8 true things 6 are found. Found things that count: 7, as the one of class 4 does not. The best assignment of
    # ids, 1 to 7 and 2 to 8, holds 2 + 3 times: 2 * 5 / (8 + 7).
    assert (scores.frames, scores.things, scores.identities, scores.switches) == (4, 8, 2, 1)
    assert scores.found == pytest.approx(6 / 8) and scores.idf1 == pytest.approx(10 / 15)


def test_a_number_may_name_a_thing_of_each_class_but_not_a_few_pixels_at_its_edge():
    both = frame((0, 4, 1, 3), (5, 9, 1, 4))
    assert score_identities([compare_identities(*both, *both, uncounted=255)] * 2).idf1 == 1.0
    ids, labels = (np.kron(image, np.ones((1, 10), image.dtype)) for image in frame((0, 9, 1, 3)))
    labels[:, 0] = 4  # where images of labels and of ids disagree
    compared = compare_identities(ids, labels, ids, labels, uncounted=255)
    scores = score_identities([compared])
    assert compared.things == ((1, 3),) and (scores.idf1, scores.found, scores.identities) == (1.0, 1.0, 1)


def test_pixels_that_do_not_count_belong_to_nothing():
    truth, labels = frame((0, 4, 1, 3))
    labels[:, 5:] = 255
    compared = compare_identities(truth, labels, *frame((0, 4, 5, 3), (5, 9, 6, 3)), uncounted=255)
    assert score_identities([compared]).idf1 == 1.0


def test_a_recorded_drive_has_the_true_ids(tmp_path):
    write_drive(tmp_path / "drive", 900_123, 2, 10.0, (160, 120))
    with Recording(tmp_path / "drive") as recording:
        assert default_image_topic(recording) == IMAGE_TOPIC
        found = [one.message for one in recording.messages([TRUE_INSTANCES_TOPIC])]
    world = World(900_123, 160, 120)
    for index, message in enumerate(found):
        assert message.encoding == "16UC1"
        ids = np.frombuffer(bytes(message.data), "<u2").reshape(120, 160)
        expected = world.render(index / 10).instances
        assert np.array_equal(ids, expected) and expected.any()
    assert len(found) == 2
