import re
import time

import pytest

pytest.importorskip("rclpy", reason="rclpy is missing; source env.sh")

from activesam_ros.msg import Vocabulary
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.topic_endpoint_info import TopicEndpointInfo
from sensor_msgs.msg import CompressedImage, Image, PointCloud2
from vision_msgs.msg import LabelInfo

from activesam_ros.ros.qos import image_in
from activesam_ros.ros.transport import Transport, transport_profile
from activesam_ros.ros.troubleshooting import (
    COMPRESSED_IMAGE,
    IMAGE,
    ImageInput,
    incompatible,
    published_images,
    silence,
)

PROFILE = Transport({"FASTDDS_DEFAULT_PROFILES_FILE": str(transport_profile())}, "rmw_fastrtps_cpp")
LARGE = Transport({"FASTDDS_BUILTIN_TRANSPORTS": "LARGE_DATA"}, "rmw_fastrtps_cpp")
ZENOH = Transport({}, "rmw_zenoh_cpp")
# Long enough for a loaded machine; reached only by a failure.
PATIENCE = 30
RELIABLE, BEST_EFFORT = ReliabilityPolicy.RELIABLE, ReliabilityPolicy.BEST_EFFORT


def listener(topic="/cam/image", transport="raw", queue="newest", **profile) -> ImageInput:
    asked = image_in(queue)
    for policy, value in profile.items():
        setattr(asked, policy, value)
    return ImageInput("image", topic, transport, asked)


def publisher(
    kind=IMAGE, reliability=RELIABLE, durability=DurabilityPolicy.VOLATILE, name="driver", namespace="/cam"
) -> TopicEndpointInfo:
    # Neither history nor depth of a remote endpoint is known.
    profile = QoSProfile(
        history=HistoryPolicy.UNKNOWN, depth=0, reliability=reliability, durability=durability
    )
    return TopicEndpointInfo(node_name=name, node_namespace=namespace, topic_type=kind, qos_profile=profile)


@pytest.mark.parametrize("reliability", [RELIABLE, BEST_EFFORT])
def test_what_fits_is_not_complained_of(reliability):
    assert incompatible(listener(), [publisher(reliability=reliability)]) is None
    assert incompatible(listener(), []) is None
    assert incompatible(listener(queue="all"), [publisher()]) is None


def test_a_best_effort_camera_for_a_reliable_subscription_is_told_with_the_remedy():
    asked = listener(queue="all")
    said = incompatible(asked, [publisher(), publisher(reliability=BEST_EFFORT, name="wild")])
    assert said == (
        "the images that /cam/wild publishes on /cam/image cannot be received: it offers best effort, volatile, we ask "
        "for reliable, keep all, volatile; start this node with the parameter "
        "qos_overrides./cam/image.subscription.reliability: best_effort, or change the publisher"
    )
    assert silence(asked, [publisher(reliability=BEST_EFFORT, name="wild")], {}, PROFILE) == said


def test_every_policy_that_has_to_change_is_named_and_further_publishers_are_counted():
    asked = listener(queue="all", durability=DurabilityPolicy.TRANSIENT_LOCAL)
    wild = publisher(reliability=BEST_EFFORT)
    said = incompatible(asked, [wild, wild, wild])
    assert "/cam/driver and 2 more" in said
    assert (
        "qos_overrides./cam/image.subscription.reliability: best_effort and "
        "qos_overrides./cam/image.subscription.durability: volatile," in said
    )


def test_a_publisher_of_another_type_is_no_question_of_quality():
    assert (
        incompatible(listener(queue="all"), [publisher("sensor_msgs/msg/PointCloud2", BEST_EFFORT)]) is None
    )


@pytest.mark.parametrize(
    ("transport", "why"),
    [
        (PROFILE, "above about 0.5 MB unless .* set FASTDDS_DEFAULT_PROFILES_FILE=.*/fastdds.xml for .* the camera's"),
        (LARGE, "above about 8 MB with FASTDDS_BUILTIN_TRANSPORTS=LARGE_DATA: unset it and set FASTDDS_DEFAULT_PROF"),
        (ZENOH, "lost on the way, of which rmw_zenoh_cpp has settings"),
    ],
)  # fmt: skip
def test_a_fitting_publisher_that_is_silent_may_be_paused_or_lose_its_images(transport, why):
    said = silence(listener(), [publisher()], {"/cam/image": IMAGE}, transport)
    assert "no image comes on /cam/image" in said and "paused" in said
    assert re.search(why, said)


def test_without_a_publisher_the_image_topics_there_are_are_named_close_ones_first():
    elsewhere = {f"/lidar/picture_{number}": IMAGE for number in range(5)}
    elsewhere |= {
        "/rear/image_raw": IMAGE,
        "/front/image_raw": IMAGE,
        "/front/image/compressed": COMPRESSED_IMAGE,
    }
    said = silence(listener("/front/image_row"), [], elsewhere, PROFILE)
    assert said.startswith("nobody publishes /front/image_row: remap image to one of the image topics")
    assert ": /front/image_raw (raw), " in said and said.endswith("and 3 more")
    assert "/front/image/compressed (compressed)" in said


def test_without_any_image_topic_domain_and_middleware_are_in_doubt():
    said = silence(listener(), [], {}, PROFILE)
    assert said.startswith(
        "nobody publishes /cam/image: no image topic is published at all, so start the camera, or "
    )
    assert "ROS_DOMAIN_ID" in said and said.endswith("middleware (rmw_fastrtps_cpp)")


@pytest.mark.parametrize("elsewhere", [{}, {"/rear/image_raw": IMAGE}])
def test_large_data_meets_only_its_like_which_is_said_of_a_topic_that_is_not_there(elsewhere):
    said = silence(listener(), [], elsewhere, LARGE)
    assert "see that it has FASTDDS_BUILTIN_TRANSPORTS=LARGE_DATA too" in said


@pytest.mark.parametrize(
    ("asked", "publishers", "elsewhere", "said"),
    [
        (
            listener(),
            [],
            {"/cam/image/compressed": COMPRESSED_IMAGE},
            "nobody publishes /cam/image: /cam/image/compressed is published, so start this node with the parameter "
            "image_transport: compressed",
        ),
        (
            listener("/cam/image/compressed"),
            [publisher(COMPRESSED_IMAGE)],
            {"/cam/image/compressed": COMPRESSED_IMAGE},
            "remap image to /cam/image and start this node with the parameter image_transport: compressed",
        ),
        (
            listener("/cam/image/compressed", "compressed"),
            [],
            {"/cam/image": IMAGE},
            "nobody publishes /cam/image/compressed: /cam/image is published, so start this node with the parameter "
            "image_transport: raw",
        ),
        (
            listener("/cam/image/compressed/compressed", "compressed"),
            [],
            {"/cam/image/compressed": COMPRESSED_IMAGE},
            "image_transport compressed appends /compressed by itself, so remap image to /cam/image",
        ),
        (
            listener("/cam/image/compressed", "compressed"),
            [publisher(IMAGE)],
            {"/cam/image/compressed": IMAGE},
            "/cam/image/compressed carries sensor_msgs/msg/Image (from /cam/driver), but "
            "sensor_msgs/msg/CompressedImage is expected",
        ),
        (
            listener(),
            [publisher("sensor_msgs/msg/PointCloud2")],
            {"/cam/rgb": IMAGE},
            "/cam/image carries sensor_msgs/msg/PointCloud2 (from /cam/driver), but sensor_msgs/msg/Image is "
            "expected: remap image to one of the image topics",
        ),
    ],
)
def test_the_wrong_transport_or_type_is_told_with_the_remedy(asked, publishers, elsewhere, said):
    told = silence(asked, publishers, elsewhere, PROFILE)
    assert said in told and "\n" not in told


def test_a_publisher_whose_node_is_not_discovered_yet_is_unknown():
    said = incompatible(
        listener(queue="all"), [publisher(reliability=BEST_EFFORT, name="_NODE_NAME_UNKNOWN_")]
    )
    assert "that an unknown node publishes" in said


def test_the_graph_is_read_as_the_middleware_gives_it(ros):
    node, other = ros.create_node("watch_test"), ros.create_node("wild", namespace="watched")
    third = ros.create_node("segmenter", namespace="watched")
    try:
        node.create_subscription(Image, "/watched/only_subscribed", print, 1)
        node.create_publisher(Image, "~/labels", 1)
        other.create_publisher(Image, "image", QoSProfile(depth=1, reliability=BEST_EFFORT))
        other.create_publisher(CompressedImage, "image/compressed", 1)
        other.create_publisher(PointCloud2, "points", 1)
        other.create_publisher(LabelInfo, "truth/label_info", 1)
        other.create_publisher(Image, "truth/labels", 1)
        third.create_publisher(Vocabulary, "~/vocabulary", 1)
        third.create_publisher(Image, "/watched/segmented", 1)
        found, deadline = {}, time.monotonic() + PATIENCE
        while len(found) < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
            found = {name: kind for name, kind in published_images(node).items() if "watch" in name}
        assert found == {"/watched/image": IMAGE, "/watched/image/compressed": COMPRESSED_IMAGE}
        publishers = node.get_publishers_info_by_topic("/watched/image")
        assert incompatible(listener("/watched/image"), publishers) is None
        said = incompatible(listener("/watched/image", queue="all"), publishers)
        assert "the images that /watched/wild publishes on /watched/image cannot be received" in said
    finally:
        for one in (node, other, third):
            one.destroy_node()
