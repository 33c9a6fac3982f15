import pytest

pytest.importorskip("rclpy", reason="rclpy is missing; source env.sh")

from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from activesam_ros.ros.camera_info import InfoCache


def header(number: int, frame: str = "camera") -> Header:
    made = Header(frame_id=frame)
    made.stamp.sec, made.stamp.nanosec = number, 7 * number
    return made


def info(number: int, width: int = 640) -> CameraInfo:
    return CameraInfo(
        header=header(number, "of the info"), width=width, height=480, k=[float(number)] * 9, d=[0.5]
    )


def test_without_any_there_is_nothing_to_publish():
    assert InfoCache().for_header(header(1)) is None


def test_the_one_of_the_same_stamp_is_found_even_if_later_ones_came():
    cache = InfoCache()
    for number in (1, 2, 3):
        cache.add(info(number))
    found = cache.for_header(header(2, "of the labels"))
    assert found.header == header(2, "of the labels")
    assert found.k[0] == 2.0 and found.d[0] == 0.5 and (found.width, found.height) == (640, 480)


def test_else_it_is_the_one_that_came_last_under_the_labels_header():
    cache = InfoCache()
    cache.add(info(5))
    cache.add(info(2))  # Time jumped back.
    assert cache.for_header(header(9)).k[0] == 2.0
    assert cache.for_header(header(9)).header == header(9)


def test_what_was_received_is_not_changed():
    cache, received = InfoCache(), info(1)
    cache.add(received)
    assert cache.for_header(header(4)).header == header(4)
    assert received == info(1)


def test_a_stamp_that_comes_again_replaces_the_old_one():
    cache = InfoCache()
    cache.add(info(1, width=640))
    cache.add(info(2))
    cache.add(info(1, width=320))
    assert cache.for_header(header(1)).width == 320
    assert cache.for_header(header(9)).width == 320


def test_memory_is_bounded():
    cache = InfoCache(kept=3)
    for number in range(10):
        cache.add(info(number))
    assert [cache.for_header(header(number)).k[0] for number in (7, 8, 9)] == [7.0, 8.0, 9.0]
    assert cache.for_header(header(6)).k[0] == 9.0


def test_what_is_forgotten_is_not_published_any_more():
    cache = InfoCache()
    cache.add(info(1))
    cache.clear()
    assert cache.for_header(header(1)) is None
    cache.add(info(2))
    assert cache.for_header(header(1)).k[0] == 2.0
