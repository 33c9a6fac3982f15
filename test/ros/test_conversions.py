import array
import math
import sys

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is missing; source env.sh")
pytest.importorskip("activesam_ros.msg", reason="the messages are not built; run make setup")

from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from activesam_ros import msg
from activesam_ros.datasets.message_types import known_message_types
from activesam_ros.errors import ImageError
from activesam_ros.images.raw import SUPPORTED_ENCODINGS, image_to_rgb
from activesam_ros.results import ActiveClass, PreviewResult, SegmentationResult
from activesam_ros.ros import conversions
from activesam_ros.ros.conversions import (
    BRIDGED_ENCODINGS,
    active_classes_from_msg,
    active_classes_to_msg,
    class_names_from_msg,
    class_names_to_msg,
    confidence_to_msg,
    image_from_msg,
    label_info_to_msg,
    labels_to_msg,
    panoptic_to_msg,
    recorded_image_to_msg,
    rgb_to_msg,
    to_nanoseconds,
    to_stamp,
    vocabulary_from_msg,
    vocabulary_to_msg,
)
from activesam_ros.vocabulary import ClassSpec, Vocabulary

HEADER = Header(frame_id="camera")
HEADER.stamp.sec, HEADER.stamp.nanosec = 5, 7
VOCABULARY = Vocabulary.from_names(["road", "car, automobile", "sky"])


class BrokenBridge:
    def imgmsg_to_cv2(self, message, encoding):
        raise KeyError(message.encoding)


@pytest.fixture(params=["cv_bridge", "none", "broken"])
def bridge(request, monkeypatch):
    """The installed cv_bridge, no cv_bridge, or one that fails on everything."""
    if request.param == "cv_bridge":
        pytest.importorskip("cv_bridge")
    else:
        broken = BrokenBridge() if request.param == "broken" else None
        monkeypatch.setattr(conversions, "_bridge", lambda: broken)


def image(encoding: str, height: int = 6, width: int = 8, padding: int = 0) -> Image:
    size = BRIDGED_ENCODINGS.get(encoding, 8)
    step = width * size + padding
    rows = {"nv12": height * 3 // 2, "nv21": height * 3 // 2, "nv24": height * 3}.get(encoding, height)
    data = np.random.default_rng(0).integers(0, 256, rows * step, np.uint8)
    return Image(
        height=height, width=width, encoding=encoding, step=step, data=array.array("B", data.tobytes())
    )


def result(labels: np.ndarray, active: tuple[ActiveClass, ...]) -> SegmentationResult:
    return SegmentationResult(
        labels=labels,
        unlabeled_id=255,
        confidence=np.zeros(labels.shape, np.float32),
        active=active,
        preview_presence=None,
        active_prompts=(),
        timings={},
        vocabulary=VOCABULARY,
    )


@pytest.mark.parametrize("encoding", BRIDGED_ENCODINGS)
def test_cv_bridge_and_the_library_read_equal_pixels(encoding):
    message = image(encoding)
    try:
        bridged = conversions._bridge().imgmsg_to_cv2(message, "rgb8")
    except KeyError:
        pytest.skip(f"the cv_bridge installed here does not convert {encoding}")
    assert np.array_equal(bridged, image_to_rgb(message))


@pytest.mark.parametrize("encoding", SUPPORTED_ENCODINGS)
@pytest.mark.parametrize("padding", [0, 3])
def test_every_encoding_is_read_with_or_without_cv_bridge(encoding, padding, bridge):
    message = image(encoding, padding=padding)
    rgb = image_from_msg(message)
    assert rgb.shape == (6, 8, 3) and rgb.dtype == np.uint8 and rgb.flags.c_contiguous
    assert np.array_equal(rgb, image_to_rgb(message))


def test_an_image_that_cannot_be_read_is_refused(bridge):
    for message in (image("rgb8", height=0), image("bayer_rggb8", height=1, width=1), image("32FC1")):
        with pytest.raises(ImageError):
            image_from_msg(message)
    with pytest.raises(ImageError, match="at most 40"):
        image_from_msg(image("rgb8"), max_pixels=40)
    short = image("rgb8")
    short.data = short.data[:-1]
    with pytest.raises(ImageError, match="data is 143 bytes"):
        image_from_msg(short)
    with pytest.raises(ImageError, match="neither JPEG nor PNG"):
        image_from_msg(CompressedImage(format="jpeg", data=b"nothing"))


def test_a_cv_bridge_that_cannot_be_imported_is_done_without(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv_bridge", None)
    conversions._bridge.cache_clear()
    try:
        assert conversions._bridge() is None
        assert image_from_msg(image("bgr8")).shape == (6, 8, 3)
    finally:
        conversions._bridge.cache_clear()


@pytest.mark.parametrize(("dtype", "encoding", "size"), [(np.uint8, "mono8", 1), (np.uint16, "mono16", 2)])
def test_labels_are_packed_tightly_under_the_given_header(dtype, encoding, size, bridge):
    labels = np.arange(12).reshape(3, 4).astype(dtype)
    labels[0, 0] = np.iinfo(dtype).max
    message = labels_to_msg(labels[:, ::-1], HEADER)
    assert message.header == HEADER
    assert (message.height, message.width, message.encoding) == (3, 4, encoding)
    assert message.is_bigendian == 0
    assert (
        message.step == 4 * size and isinstance(message.data, array.array) and len(message.data) == 12 * size
    )
    assert np.array_equal(np.frombuffer(message.data, dtype).reshape(3, 4), labels[:, ::-1])


def test_a_panoptic_image_has_the_class_in_its_high_half():
    labels = np.array([[0, 3, 65535]], np.uint16)
    message = panoptic_to_msg(labels, np.array([[0, 65535, 7]], np.uint16), Header())
    assert (message.encoding, message.step, message.width) == ("32SC1", 12, 3)
    read = np.frombuffer(message.data, np.int32).view(np.uint32)
    assert (read >> 16).tolist() == [0, 3, 65535] and (read & 0xFFFF).tolist() == [0, 65535, 7]


def test_labels_of_another_type_are_a_mistake():
    with pytest.raises(TypeError, match="int64"):
        labels_to_msg(np.zeros((2, 2), np.int64), HEADER)


def test_confidence_is_scaled_and_zero_where_unlabelled(bridge):
    confidence = np.array([[0.0, 0.5, 1.0, 0.9, 1.2]], np.float32)
    message = confidence_to_msg(confidence, np.array([[0, 1, 2, 255, 0]], np.uint8), 255, HEADER)
    assert message.encoding == "mono8" and message.header == HEADER
    assert list(message.data) == [0, 128, 255, 0, 255]


def test_a_picture_survives_the_way_out_and_in(bridge):
    rgb = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)
    assert np.array_equal(image_from_msg(rgb_to_msg(rgb, HEADER)), rgb)


def test_stamps_survive_the_way_to_nanoseconds_and_back():
    assert to_nanoseconds(HEADER.stamp) == 5_000_000_007
    assert to_stamp(5_000_000_007) == HEADER.stamp


def test_times_beyond_the_stamps_become_the_nearest_one(monkeypatch):
    monkeypatch.setenv("ROS_PYTHON_CHECK_FIELDS", "1")
    assert (to_stamp(2**31 * 10**9).sec, to_stamp(2**31 * 10**9).nanosec) == (2**31 - 1, 999_999_999)
    assert to_stamp(2**40 * 10**9) == to_stamp(2**31 * 10**9)
    assert to_stamp(-(2**40) * 10**9).sec == -(2**31)


def test_decoded_classes_give_presence_and_share_of_the_image():
    labelled = result(np.zeros((2, 5), np.uint8), (ActiveClass(1, "car", 0.75, None, 4),))
    message = active_classes_to_msg(labelled, 3, HEADER)
    assert message.header == HEADER and message.stage == message.DECODED
    assert (message.vocabulary_revision, message.vocabulary_size) == (3, 3)
    (car,) = message.classes
    assert (car.class_id, car.name, car.presence, car.area) == (1, "car", 0.75, pytest.approx(0.4))
    assert active_classes_to_msg(result(np.zeros((2, 5), np.uint8), ()), 1, HEADER).classes == []


def test_previewed_classes_have_a_presence_and_no_area():
    presence = np.array([0.1, 0.2, 0.75, 0.3], np.float32)
    active = (ActiveClass(1, "car", 0.75, 0.75, None), ActiveClass(2, "sky", 0.25, 0.25, None))
    message = active_classes_to_msg(PreviewResult(presence, (2, 3), active, {}, VOCABULARY), 5, HEADER)
    assert message.header == HEADER and message.stage == message.PREVIEW != message.DECODED
    assert (message.vocabulary_revision, message.vocabulary_size) == (5, 3)
    named = [(one.class_id, one.name, one.presence) for one in message.classes]
    assert named == [(1, "car", 0.75), (2, "sky", 0.25)]
    assert all(math.isnan(one.area) for one in message.classes)


def test_label_info_names_every_class_of_the_vocabulary():
    message = label_info_to_msg(VOCABULARY, 0.3, HEADER)
    assert message.header == HEADER and message.threshold == pytest.approx(0.3)
    named = [(one.class_id, one.class_name) for one in message.class_map]
    assert named == [(0, "road"), (1, "car"), (2, "sky")]


def test_a_vocabulary_carries_all_that_belongs_to_its_ids():
    entries = [
        ClassSpec("vehicle", ("car", "truck"), (255, 0, 51), ("car", "lorry")),
        ClassSpec("nothing", ("sky",)),
    ]
    message = vocabulary_to_msg(Vocabulary.from_specs(entries, background="nothing"), 4, HEADER)
    assert message.header == HEADER
    assert (message.revision, message.unlabeled_id, message.background_id) == (4, 255, 1)
    vehicle, nothing = message.classes
    assert (vehicle.class_id, vehicle.name) == (0, "vehicle")
    assert (vehicle.prompts, vehicle.members) == (["car", "truck"], ["car", "lorry"])
    color = vehicle.color
    assert (color.r, color.g, color.b, color.a) == pytest.approx((1, 0, 0.2, 1))
    assert (nothing.class_id, nothing.prompts, nothing.members) == (1, ["sky"], [])


def test_a_vocabulary_without_a_background_and_with_large_ids():
    message = vocabulary_to_msg(
        Vocabulary.from_names([f"thing {number}" for number in range(300)]), 1, HEADER
    )
    assert (message.unlabeled_id, message.background_id) == (65535, -1)
    assert [one.class_id for one in message.classes] == list(range(300))


@pytest.mark.parametrize("background", [None, "sky"])
def test_a_vocabulary_comes_through_as_it_is(background):
    entries = [
        ClassSpec("road", ("road", "street"), (1, 127, 254)),
        ClassSpec("ground", ("grass", "sand"), members=("lawn", "beach")),
        ClassSpec("sky"),
    ]
    vocabulary = Vocabulary.from_specs(entries, background)
    assert vocabulary_from_msg(vocabulary_to_msg(vocabulary, 3, Header())) == vocabulary


def test_an_edited_vocabulary_keeps_its_ids():
    vocabulary = Vocabulary.from_names(["road", "car", "sky"]).updated(["sky", "tree"])
    told = vocabulary_from_msg(vocabulary_to_msg(vocabulary, 2, Header()))
    assert told.classes == vocabulary.classes
    assert told.class_ids == (2, 3)


def test_active_classes_are_read_in_their_order():
    message = msg.ActiveClasses(
        classes=[
            msg.ActiveClass(class_id=7, name="car", presence=0.5, area=0.25),
            msg.ActiveClass(class_id=2, name="sky", presence=0.75, area=0.5),
        ]
    )
    assert [(one.class_id, one.name, one.presence) for one in active_classes_from_msg(message)] == [
        (7, "car", 0.5),
        (2, "sky", 0.75),
    ]


def test_a_label_info_names_the_ids():
    message = label_info_to_msg(Vocabulary.from_names(["road", "sky"]), 0.3, Header())
    assert class_names_from_msg(message) == {0: "road", 1: "sky"}
    assert class_names_from_msg(class_names_to_msg({0: "road", 9: "sky"})) == {0: "road", 9: "sky"}


STORE = known_message_types()
TYPES = STORE.types


def recorded_header():
    time = TYPES["builtin_interfaces/msg/Time"](sec=12, nanosec=34)
    return TYPES["std_msgs/msg/Header"](stamp=time, frame_id="camera")


def read_back(message, kind):
    """As rosbags gives it: the arrays are parts of a buffer that cannot be written."""
    return STORE.deserialize_cdr(STORE.serialize_cdr(message, kind), kind)


def test_an_image_keeps_every_field():
    pixels = np.arange(2 * 3 * 2, dtype=np.uint8)
    recorded = TYPES["sensor_msgs/msg/Image"](
        header=recorded_header(), height=2, width=3, encoding="mono16", is_bigendian=1, step=6, data=pixels
    )
    image = recorded_image_to_msg(read_back(recorded, "sensor_msgs/msg/Image"))
    assert isinstance(image, Image)
    assert (image.header.stamp.sec, image.header.stamp.nanosec, image.header.frame_id) == (12, 34, "camera")
    assert (image.height, image.width, image.encoding, image.is_bigendian, image.step) == (
        2,
        3,
        "mono16",
        1,
        6,
    )
    assert bytes(image.data) == pixels.tobytes()


def test_a_compressed_image_keeps_every_field():
    recorded = TYPES["sensor_msgs/msg/CompressedImage"](
        header=recorded_header(), format="jpeg", data=np.array([255, 216, 0], np.uint8)
    )
    image = recorded_image_to_msg(read_back(recorded, "sensor_msgs/msg/CompressedImage"))
    assert isinstance(image, CompressedImage)
    assert (image.header.stamp.sec, image.format, bytes(image.data)) == (12, "jpeg", b"\xff\xd8\x00")


def test_an_image_without_data_goes_on_too():
    recorded = TYPES["sensor_msgs/msg/Image"](
        header=recorded_header(),
        height=0,
        width=0,
        encoding="",
        is_bigendian=0,
        step=0,
        data=np.zeros(0, np.uint8),
    )
    assert len(recorded_image_to_msg(read_back(recorded, "sensor_msgs/msg/Image")).data) == 0
