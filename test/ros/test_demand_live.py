"""Work on demand: the real node with the demo model does what its subscribers need, and nothing else, over DDS."""

import math

import numpy as np
import pytest

pytestmark = pytest.mark.usefixtures("dds_environment")

SPACE = "demand"
PREVIEW, DECODED = 1, 2


@pytest.fixture(scope="module")
def node(start_shared_node):
    node = start_shared_node("-p", "full_resolution:=96", namespace=SPACE)
    yield node
    assert node.end() == 0
    assert "Traceback" not in node.log


@pytest.fixture(scope="module")
def client(node, make_shared_client):
    """A camera to which nobody listens until a test subscribes something."""
    client = make_shared_client(namespace=SPACE, topics=())
    client.diagnosed(lambda level, message, values: values["lifecycle state"] == "active", "node")
    return client


@pytest.fixture
def wanting(client):
    """Subscribes topics, and waits until the camera knows it; everything is unsubscribed at the end."""
    subscribed = []

    def want(*topics):
        for topic in topics:
            client.subscribe(topic)
            subscribed.append(topic)
        client.eventually(lambda: client.is_wanted)

    yield want
    for topic in subscribed:
        client.unsubscribe(topic)
    client.eventually(lambda: not client.is_wanted)
    client.received.clear()
    client.counted()


def ask_until(client, topic, rgb):
    """Publishes until a topic answers, since a subscription is made while an image is under way: the stamp."""
    answered = client.received[topic]
    for _ in range(20):
        stamp = client.send(rgb)
        if client.until(lambda stamp=stamp: any(one.stamp >= stamp for one in answered), 5.0):
            return answered[-1].stamp
    raise AssertionError(f"nothing came on {topic}")


def test_nothing_is_subscribed_for_nobody(client, wanting, small):
    assert not client.is_wanted
    told = client.diagnosed(lambda *_: True, "camera")
    assert told["received"] == "0" and "idle" in client.statuses["camera"][-1][1]
    client.send(small)

    wanting("labels", "active_classes")
    ask_until(client, "labels", small)
    client.unsubscribe("labels")
    # The other one still wants something.
    ask_until(client, "active_classes", small)
    assert client.is_wanted
    client.unsubscribe("active_classes")
    client.eventually(lambda: not client.is_wanted)
    before = client.counted()
    assert before["answered"] >= 2
    client.send(small)
    assert client.counted() == {}
    client.subscribe("labels")
    client.subscribe("active_classes")


def test_the_names_come_before_any_image(client, wanting):
    client.subscribe("label_info")
    client.subscribe("vocabulary")
    assert client.until(lambda: client.received["label_info"] and client.received["vocabulary"])
    assert [one.name for one in client.received["vocabulary"][0].message.classes][:2] == ["road", "car"]
    # They are no reason to do anything.
    assert client.counted() == {} and not client.is_wanted
    client.unsubscribe("label_info")
    client.unsubscribe("vocabulary")


def test_active_classes_alone_are_those_of_the_preview(client, wanting, small):
    wanting("active_classes")
    stamp = ask_until(client, "active_classes", small)
    active = client.with_stamp("active_classes", stamp).message
    assert active.stage == PREVIEW and active.header.frame_id == f"camera {stamp}"
    assert active.classes and all(math.isnan(one.area) and one.presence > 0 for one in active.classes)

    client.subscribe("labels")
    try:
        stamp = ask_until(client, "labels", small)
        active = client.with_stamp("active_classes", stamp).message
        assert active.stage == DECODED and not any(math.isnan(one.area) for one in active.classes)
    finally:
        client.unsubscribe("labels")

    def previewed():
        stamp = ask_until(client, "active_classes", small)
        return client.with_stamp("active_classes", stamp).message.stage == PREVIEW

    client.eventually(previewed)


@pytest.mark.parametrize("topic", ["overlay", "confidence"])
def test_pictures_are_made_for_their_subscribers(client, wanting, small, topic):
    # Alone, it has the image decoded.
    wanting(topic)
    stamp = ask_until(client, topic, small)
    message = client.with_stamp(topic, stamp).message
    assert (message.height, message.width) == small.shape[:2]
    assert message.encoding == {"overlay": "rgb8", "confidence": "mono8"}[topic]


def test_instances_alone_have_the_image_decoded_and_agree_with_its_labels(client, wanting, small):
    wanting("detections")
    stamp = ask_until(client, "detections", small)
    (alone,) = (one for one in client.received["detections"] if one.stamp == stamp)
    assert alone.message.header.frame_id == f"camera {stamp}" and alone.message.detections

    wanting("labels", "instances", "panoptic")
    topics = ("labels", "detections", "instances", "panoptic")

    stamps = []

    def answered_on_all():
        stamps.append(ask_until(client, "panoptic", small))
        return all(any(one.stamp == stamps[-1] for one in client.received[topic]) for topic in topics)

    client.eventually(answered_on_all)
    stamp = stamps[-1]
    labels, detections, instances, panoptic = (client.with_stamp(topic, stamp).message for topic in topics)
    assert {one.header.frame_id for one in (labels, detections, instances, panoptic)} == {f"camera {stamp}"}
    classes = np.frombuffer(labels.data, np.uint8)
    ids = np.frombuffer(instances.data, np.uint16)
    assert np.array_equal(np.frombuffer(panoptic.data, np.int32), (classes.astype(np.int32) << 16) | ids)
    names = {one.id: one.results[0].hypothesis.class_id for one in detections.detections}
    assert set(map(str, np.unique(ids[ids > 0]))) <= set(names) and ids.any()
    assert [one.results[0].hypothesis.score for one in detections.detections] == sorted(
        (one.results[0].hypothesis.score for one in detections.detections), reverse=True
    )
