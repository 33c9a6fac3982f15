"""Messages of a recording go on as they were recorded."""

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is missing; source env.sh")

from sensor_msgs.msg import CompressedImage, Image

from activesam_ros.datasets.class_map import ClassMap
from activesam_ros.datasets.message_types import known_message_types
from activesam_ros.ros.recorded import image_of, label_info_of

STORE = known_message_types()
TYPES = STORE.types


def header():
    time = TYPES["builtin_interfaces/msg/Time"](sec=12, nanosec=34)
    return TYPES["std_msgs/msg/Header"](stamp=time, frame_id="camera")


def read_back(message, kind):
    """As rosbags gives it: the arrays are parts of a buffer that cannot be written."""
    return STORE.deserialize_cdr(STORE.serialize_cdr(message, kind), kind)


def test_an_image_keeps_every_field():
    pixels = np.arange(2 * 3 * 2, dtype=np.uint8)
    recorded = TYPES["sensor_msgs/msg/Image"](
        header=header(), height=2, width=3, encoding="mono16", is_bigendian=1, step=6, data=pixels
    )
    image = image_of(read_back(recorded, "sensor_msgs/msg/Image"))
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
        header=header(), format="jpeg", data=np.array([255, 216, 0], np.uint8)
    )
    image = image_of(read_back(recorded, "sensor_msgs/msg/CompressedImage"))
    assert isinstance(image, CompressedImage)
    assert (image.header.stamp.sec, image.format, bytes(image.data)) == (12, "jpeg", b"\xff\xd8\x00")


def test_an_image_without_data_goes_on_too():
    recorded = TYPES["sensor_msgs/msg/Image"](
        header=header(), height=0, width=0, encoding="", is_bigendian=0, step=0, data=np.zeros(0, np.uint8)
    )
    assert len(image_of(read_back(recorded, "sensor_msgs/msg/Image")).data) == 0


def test_the_names_of_classes_go_on():
    message = label_info_of(ClassMap({0: "road", 9: "sky"}))
    assert [(one.class_id, one.class_name) for one in message.class_map] == [(0, "road"), (9, "sky")]
