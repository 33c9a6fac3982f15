"""The node answers best-effort images that Fast DDS's default transports lose."""

import signal

import numpy as np
import pytest

from .conftest import WORDS

pytestmark = pytest.mark.usefixtures("dds_environment")


def test_best_effort_images_of_any_size_are_answered_under_their_own_header(make_client, start_node, street):
    client, node = make_client(), start_node()
    client.subscribe("confidence")
    client.subscribe("overlay")
    client.connect(street)
    large = np.ascontiguousarray(np.tile(street, (5, 6, 1))[:1080, :1920])
    assert large.shape == (1080, 1920, 3)
    for rgb in (street, large, street[:1, :1], large, street):
        rgb = np.ascontiguousarray(rgb)
        stamp = client.send(rgb)
        for topic, encoding, channels in (
            ("labels", "mono8", 1),
            ("confidence", "mono8", 1),
            ("overlay", "rgb8", 3),
        ):
            image = client.with_stamp(topic, stamp).message
            assert (image.header.stamp.nanosec, image.header.frame_id) == (7 * stamp, f"camera {stamp}")
            assert (image.height, image.width) == rgb.shape[:2]
            assert image.encoding == encoding
            assert image.step == channels * image.width and len(image.data) == image.step * image.height
        labels = np.asarray(client.with_stamp("labels", stamp).message.data)
        assert set(np.unique(labels)) <= {*range(len(WORDS)), 255}
        active = client.with_stamp("active_classes", stamp).message
        assert active.header.frame_id == f"camera {stamp}"
        assert active.vocabulary_size == len(WORDS) and active.vocabulary_revision == 1
        for entry in active.classes:
            assert entry.area == pytest.approx((labels == entry.class_id).mean())
        confidence = np.asarray(client.with_stamp("confidence", stamp).message.data)
        assert not confidence[labels == 255].any()

    # The names are latched: a subscriber that comes late gets them.
    late = make_client()
    assert late.until(lambda: late.received["label_info"])
    info = late.received["label_info"][0]
    assert [(one.class_id, one.class_name) for one in info.message.class_map] == [
        (0, "road"),
        (1, "car"),
        (2, "sky"),
        (3, "building"),
        (4, "person"),
    ]
    assert info.stamp <= client.stamps("labels")[0] and info.message.threshold == pytest.approx(0.3)
    assert late.until(lambda: late.received["vocabulary"])
    (vocabulary,) = late.received["vocabulary"]
    assert vocabulary.stamp == info.stamp and vocabulary.message.revision == 1
    assert [", ".join(one.prompts) for one in vocabulary.message.classes] == WORDS
    assert node.end(signal.SIGTERM) == 0
    assert "Traceback" not in node.log
    assert "get lost" not in node.log
