"""The contract with Nav2's semantic segmentation layer: our messages, read as that layer reads them."""

from pathlib import Path

import numpy as np
import pytest
import yaml

pytest.importorskip("rclpy", reason="rclpy is missing; source env.sh")
pytest.importorskip("activesam_ros.msg", reason="the messages are not built; run make setup")

from rclpy.qos import (
    DurabilityPolicy,
    QoSCompatibility,
    QoSProfile,
    ReliabilityPolicy,
    qos_check_compatible,
    qos_profile_sensor_data,
)
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from vision_msgs.msg import LabelInfo

from activesam_ros.ros import qos
from activesam_ros.ros.conversions import confidence_to_msg, label_info_to_msg, labels_to_msg
from activesam_ros.vocabulary import Vocabulary
from activesam_ros.vocabulary.files import load_vocabulary_file

from .conftest import WORDS
from .costmap_layer import Observation, Refused, Source

CONFIG = Path(__file__).parents[2] / "config" / "nav2_costmap.yaml"
PRESET = "outdoor_navigation"
HEADER = Header(frame_id="camera")
# Nav2's LatchedSubscriptionQoS.
LATCHED = QoSProfile(
    depth=5, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
)


def layer() -> dict:
    content = yaml.safe_load(CONFIG.read_text())
    return content["local_costmap"]["local_costmap"]["ros__parameters"]["semantic_segmentation_layer"]


def source_for(*names) -> Source:
    return Source({"class_types": ["some"], "some": {"classes": list(names), "max_cost": 0}})


def images(labels, vocabulary, confidence=0.5):
    scores = np.full(labels.shape, confidence, np.float32)
    return (
        labels_to_msg(labels, HEADER),
        confidence_to_msg(scores, labels, vocabulary.unlabeled_id, HEADER),
    )


def test_every_pixel_is_read_as_what_it_was_labelled():
    vocabulary = load_vocabulary_file(PRESET).vocabulary()
    random = np.random.default_rng(5)
    # An odd width, since rows must not be padded.
    labels = random.choice(np.array([*vocabulary.class_ids, 255], np.uint8), (21, 37))
    source = Source(layer()["camera"])
    source.label_info(label_info_to_msg(vocabulary, 0.3, HEADER))
    found = source.observe(*images(labels, vocabulary), cloud=(37, 21))
    names = dict(zip(vocabulary.class_ids, vocabulary.names, strict=True))
    expected = {
        (u, v): Observation(names[labels[v, u]], 128)
        for v, u in np.ndindex(labels.shape)
        if names.get(labels[v, u]) in source.costs
    }
    assert found == expected and len(found) > 600
    assert source.ignored == ["sky"]


def test_pixels_without_a_class_count_for_nothing():
    vocabulary = Vocabulary.from_names(["road", "sky"])
    source = source_for("road", "sky")
    source.label_info(label_info_to_msg(vocabulary, 0.3, HEADER))
    labels = np.array([[0, 255, 1]], np.uint8)
    mask, confidence = images(labels, vocabulary, 1.0)
    assert source.observe(mask, confidence, (3, 1)) == {
        (0, 0): Observation("road", 255),
        (2, 0): Observation("sky", 255),
    }
    assert list(confidence.data) == [255, 0, 255]


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize(
    ("by_cost", "max_cost", "taken"), [(True, 1, True), (True, 0, False), (False, 0, True)]
)
def test_pixels_without_a_class_keep_a_class_out_of_a_tile_only_if_its_max_cost_is_0(
    order, by_cost, max_cost, taken
):
    camera = layer()["camera"]
    assert camera["use_cost_selection"] and camera["traversable"]["max_cost"] == 1
    camera["use_cost_selection"], camera["traversable"]["max_cost"] = by_cost, max_cost
    vocabulary = load_vocabulary_file(PRESET).vocabulary()
    source = Source(camera)
    source.label_info(label_info_to_msg(vocabulary, 0.3, HEADER))
    ids = dict(zip(vocabulary.names, vocabulary.class_ids, strict=True))
    # Each row is a tile; sky is in no list.
    rows = [[255, ids["road"]], [ids["sky"], ids["road"]], [ids["road"], ids["person"]], [255, ids["sky"]]]
    labels = np.array(rows, np.uint8)[:, ::order].copy()
    tiles = {(u, v): v for v, u in np.ndindex(labels.shape)}
    found = source.observe_tiles(*images(labels, vocabulary), (2, 4), tiles)
    # Of two pixels of the same rank the first one counts.
    first = order == -1
    assert (found.get(0) == Observation("road", 128)) == (taken or first)
    assert (found.get(1) == Observation("road", 128)) == ((taken and by_cost) or first)
    assert (found[2].name == "person") == (by_cost or first) and 3 not in found
    if by_cost and max_cost:
        assert [source.first_cost(found[tile]) for tile in (0, 2)] == [0, 254]


def test_labels_before_a_change_of_words_are_never_read_as_other_words_after_it():
    before = Vocabulary.from_names(["road", "car", "sky", "tree"])
    labels = np.array([[0, 1, 2, 3, 255]], np.uint8)
    after = before.updated(["bus", "sky", "road", "person", "dog"])
    source = source_for(*before.names, *after.names)
    source.label_info(label_info_to_msg(after, 0.3, HEADER))
    found = source.observe(*images(labels, before), (5, 1))
    assert {u: one.name for (u, _), one in found.items()} == {0: "road", 2: "sky"}


def test_255_classes_are_read_and_more_are_not():
    names = [f"thing {number}" for number in range(256)]
    fitting = Vocabulary.from_names(names[:255])
    source = source_for(*names)
    source.label_info(label_info_to_msg(fitting, 0.3, HEADER))
    labels = np.arange(256, dtype=fitting.label_dtype).reshape(16, 16)
    found = source.observe(*images(labels, fitting), (16, 16))
    assert [one.name for one in found.values()] == names[:255]
    # This is why docs/nav2.md sets a limit: the mask has two bytes a pixel then.
    more = Vocabulary.from_names(names)
    mask, _ = images(np.zeros((2, 2), more.label_dtype), more)
    assert mask.encoding == "mono16" and mask.step == 4


def shorten(mask, confidence):
    mask.data = mask.data[:-1]


def retime(mask, confidence):
    confidence.header = Header(frame_id="camera")
    confidence.header.stamp.sec = 1


def heighten(mask, confidence):
    mask.height = 2


@pytest.mark.parametrize(
    ("change", "said"), [(shorten, "short"), (retime, "one stamp"), (heighten, "different sizes")]
)
def test_the_reader_refuses_what_the_layer_refuses(change, said):
    vocabulary = Vocabulary.from_names(["road"])
    mask, confidence = images(np.zeros((1, 4), np.uint8), vocabulary)
    source = source_for("road")
    with pytest.raises(Refused, match="no LabelInfo"):
        source.observe(mask, confidence, (4, 1))
    source.label_info(label_info_to_msg(vocabulary, 0.3, HEADER))
    assert len(source.observe(mask, confidence, (4, 1))) == 4
    change(mask, confidence)
    with pytest.raises(Refused, match=said):
        source.observe(mask, confidence, (4, 1))


def test_the_example_names_classes_of_the_preset_each_once():
    camera = layer()["camera"]
    listed = [name for kind in camera["class_types"] for name in camera[kind]["classes"]]
    names = [entry.name for entry in load_vocabulary_file(PRESET).classes]
    assert sorted([*listed, "sky"]) == sorted(names)
    assert PRESET in CONFIG.read_text()


def test_the_example_has_numbers_that_the_layer_takes():
    camera = layer()["camera"]
    integers = ("base_cost", "max_cost", "mark_confidence", "samples_to_max_cost")
    for kind in camera["class_types"]:
        # Costs are bytes there, of which 255 is what is not known; so is the confidence.
        assert all(type(camera[kind][name]) is int and 0 <= camera[kind][name] <= 255 for name in integers)
        # A group without a max_cost loses its tiles to pixels without a class.
        assert 0 < camera[kind]["max_cost"] < 255
        assert camera[kind]["base_cost"] <= camera[kind]["max_cost"]
        assert type(camera[kind]["dominant_priority"]) is bool
    floats = ["max_obstacle_distance", "min_obstacle_distance", "tile_map_decay_time"]
    floats += ["fov_decay_time", "outside_fov_decay_time", "camera_horizontal_fov", "camera_vertical_fov"]
    assert all(type(camera[name]) is float for name in floats)
    assert layer()["combination_method"] in (0, 1)
    assert type(layer()["sensor_data_depth"]) is int


@pytest.mark.parametrize(
    ("offered", "wanted"),
    [
        (qos.results_out(), qos_profile_sensor_data),
        (qos.results_out(), QoSProfile(depth=30, reliability=ReliabilityPolicy.BEST_EFFORT)),
        (qos.latched_out(), LATCHED),
    ],
)
def test_its_subscriptions_match(offered, wanted):
    assert qos_check_compatible(offered, wanted)[0] != QoSCompatibility.ERROR


@pytest.mark.usefixtures("dds_environment")
def test_the_node_keeps_the_contract(start_node, make_client, small):
    space = "costmap"
    start_node("-p", "full_resolution:=96", namespace=space)
    client = make_client(namespace=space, topics=())
    topics = {name: layer()["camera"][f"{name}_topic"] for name in ("segmentation", "confidence", "labels")}
    came = []

    def subscribe(kind, name, profile):
        def keep(message):
            came.append((name, message))

        client.node.create_subscription(kind, f"/{space}{topics[name]}", keep, profile)

    subscribe(LabelInfo, "labels", LATCHED)
    # The names are there before any image is.
    client.eventually(lambda: came)
    subscribe(Image, "segmentation", qos_profile_sensor_data)
    subscribe(Image, "confidence", qos_profile_sensor_data)
    client.eventually(lambda: client.is_wanted)
    odd = np.ascontiguousarray(small[:, :-2])

    def pair():
        """The newest stamp of which both images came."""
        images = {name: {one.header.stamp.sec: one for kind, one in came if kind == name} for name in topics}
        both = images["segmentation"].keys() & images["confidence"].keys()
        return (images["segmentation"][max(both)], images["confidence"][max(both)]) if both else None

    def both_came():
        stamps.append(client.send(odd))
        client.until(pair, 0.3)
        return pair()

    stamps = []
    client.eventually(both_came)
    assert [name for name, _ in came].index("labels") == 0
    mask, confidence = pair()
    sent = mask.header.stamp.sec
    assert sent in stamps
    for image in (mask, confidence):
        assert (image.header.frame_id, image.header.stamp.nanosec) == (
            f"camera {sent}",
            7 * sent % 1_000_000_000,
        )
        assert (image.height, image.width) == odd.shape[:2] and image.width % 2
        assert (image.encoding, image.step, len(image.data)) == ("mono8", image.width, odd[..., 0].size)
    names = [word.partition(",")[0] for word in WORDS]
    source = source_for(*names)
    source.label_info(next(message for name, message in came if name == "labels"))
    assert source.ignored == []
    found = source.observe(mask, confidence, (image.width, image.height))
    assert found and {one.name for one in found.values()} <= set(names)
    labelled = np.frombuffer(mask.data, np.uint8) != 255
    assert len(found) == labelled.sum()
    assert not np.frombuffer(confidence.data, np.uint8)[~labelled].any()
