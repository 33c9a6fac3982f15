import array

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is missing; source env.sh")

from std_msgs.msg import Header

from activesam_ros.images.raw import image_to_rgb
from activesam_ros.ros.conversions import confidence_to_image, labels_to_image, rgb_to_image

HEADER = Header(frame_id="camera")
HEADER.stamp.sec, HEADER.stamp.nanosec = 5, 7


@pytest.mark.parametrize(("dtype", "encoding", "size"), [(np.uint8, "mono8", 1), (np.uint16, "mono16", 2)])
def test_labels_are_packed_tightly_under_the_given_header(dtype, encoding, size):
    labels = np.arange(12).reshape(3, 4).astype(dtype)
    labels[0, 0] = np.iinfo(dtype).max
    image = labels_to_image(labels[:, ::-1], HEADER)
    assert image.header == HEADER and (image.height, image.width, image.encoding) == (3, 4, encoding)
    assert image.step == 4 * size and isinstance(image.data, array.array) and len(image.data) == 12 * size
    assert np.array_equal(np.frombuffer(image.data, dtype).reshape(3, 4), labels[:, ::-1])


def test_labels_of_another_type_are_a_mistake():
    with pytest.raises(TypeError, match="int64"):
        labels_to_image(np.zeros((2, 2), np.int64), HEADER)


def test_confidence_is_scaled_and_zero_where_unlabelled():
    confidence = np.array([[0.0, 0.5, 1.0, 0.9, 1.2]], np.float32)
    image = confidence_to_image(confidence, np.array([[0, 1, 2, 255, 0]], np.uint8), 255, HEADER)
    assert image.encoding == "mono8" and image.header == HEADER
    assert list(image.data) == [0, 128, 255, 0, 255]


def test_a_picture_survives_the_way_out_and_in():
    rgb = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)
    assert np.array_equal(image_to_rgb(rgb_to_image(rgb, HEADER)), rgb)
