"""Troubleshooting: why no images arrive, and what to do about it."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import TYPE_CHECKING

from rclpy.qos import (
    DurabilityPolicy,
    QoSCompatibility,
    QoSPolicyKind,
    QoSProfile,
    ReliabilityPolicy,
    qos_check_compatible,
)

from activesam_ros.ros.qos import override_parameter, policy_text, profile_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rclpy.node import Node
    from rclpy.topic_endpoint_info import TopicEndpointInfo

    from activesam_ros.ros.transport import Transport

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"

_TRANSPORTS = {IMAGE: "raw", COMPRESSED_IMAGE: "compressed"}
_SUFFIX = "/compressed"
_NAMED = 5
# What only this package's node publishes, and what tells the names of a label image beside it.
_OURS = {"activesam_ros/msg/ActiveClasses", "activesam_ros/msg/Vocabulary"}
_NAMES = "vision_msgs/msg/LabelInfo"


@dataclass(frozen=True)
class ImageInput:
    """The image subscription of one camera.

    Attributes:
        remapped: the name that is remapped to choose the topic, such as "image" or "front/image".
        topic: full name of the topic; with the transport "compressed" it ends in that.
        transport: "raw" or "compressed".
        profile: requested QoS, with the overrides.
    """

    remapped: str
    topic: str
    transport: str
    profile: QoSProfile

    @property
    def type(self) -> str:
        """The message type that is subscribed."""
        return COMPRESSED_IMAGE if self.transport == "compressed" else IMAGE


def incompatible(image: ImageInput, publishers: Sequence[TopicEndpointInfo]) -> str | None:
    """Explain which publishers can never reach the subscription; None if all of them fit.

    Args:
        image: the subscription.
        publishers: those of its topic, from the node's `get_publishers_info_by_topic`.
    """
    return _incompatible("the images", image.type, image.topic, image.profile, publishers)


def incompatible_info(topic: str, profile: QoSProfile, publishers: Sequence[TopicEndpointInfo]) -> str | None:
    """Explain which publishers of camera info can never reach its subscription; None if all of them fit.

    Args:
        topic: full name.
        profile: requested QoS, with the overrides.
        publishers: as for `incompatible`.
    """
    return _incompatible("the camera info", CAMERA_INFO, topic, profile, publishers)


def _incompatible(
    what: str, kind: str, topic: str, profile: QoSProfile, publishers: Sequence[TopicEndpointInfo]
) -> str | None:
    unfit = [
        one
        for one in publishers
        if one.topic_type == kind
        and qos_check_compatible(one.qos_profile, profile)[0] == QoSCompatibility.ERROR
    ]
    if not unfit:
        return None
    first, more = unfit[0], f" and {len(unfit) - 1} more" if len(unfit) > 1 else ""
    offered = f"{policy_text(first.qos_profile.reliability)}, {policy_text(first.qos_profile.durability)}"
    return (
        f"{what} that {_owner(first)}{more} publishes on {topic} cannot be received: it offers {offered}, "
        f"we ask for {profile_text(profile)}; {_remedy(topic, profile, first.qos_profile)}"
    )


def silence(
    image: ImageInput,
    publishers: Sequence[TopicEndpointInfo],
    elsewhere: Mapping[str, str],
    transport: Transport,
) -> str:
    """Explain why no image has arrived for too long.

    Args:
        image: the subscription.
        publishers: as for `incompatible`.
        elsewhere: type of every image topic that somebody else publishes, see `published_images`.
        transport: of this process, which may be the reason.
    """
    topic = image.topic
    unfit = incompatible(image, publishers)
    if any(one.topic_type == image.type for one in publishers):
        return unfit or (
            f"no image comes on {topic}, although its publisher and its quality of service fit: it may be paused, or "
            f"{transport.why_lost()}"
        )
    if publishers:
        return _wrong_type(image, publishers[0], elsewhere)
    said = f"nobody publishes {topic}: {_instead(image, elsewhere)}"
    return f"{said}, {transport.why_unseen()}" if not elsewhere or transport.is_large_data else said


def published_images(node: Node) -> dict[str, str]:
    """Return the type of every image topic that may come from a camera, by name.

    What this node or another segmenter publishes is none: images of a node that has this package's messages, and label
    images, whose node publishes their names beside them.
    """
    topics = node.get_topic_names_and_types()
    segmenters, labelled = {node.get_fully_qualified_name()}, set()
    for name, kinds in topics:
        if not _OURS.isdisjoint(kinds):
            segmenters |= _publishers(node, name)
        elif _NAMES in kinds:
            labelled |= {(owner, posixpath.dirname(name)) for owner in _publishers(node, name)}
    found = {}
    for name, kinds in topics:
        for kind in _TRANSPORTS.keys() & set(kinds):
            owners = _publishers(node, name)
            folder = posixpath.dirname(name)
            if any(owner not in segmenters and (owner, folder) not in labelled for owner in owners):
                found[name] = kind
    return found


def _publishers(node: Node, topic: str) -> set[str]:
    return {_owner(one) for one in node.get_publishers_info_by_topic(topic)}


def _remedy(topic: str, asked: QoSProfile, offered: QoSProfile) -> str:
    wanted = {}
    if (offered.reliability, asked.reliability) == (
        ReliabilityPolicy.BEST_EFFORT,
        ReliabilityPolicy.RELIABLE,
    ):
        wanted[QoSPolicyKind.RELIABILITY] = "best_effort"
    if (offered.durability, asked.durability) == (
        DurabilityPolicy.VOLATILE,
        DurabilityPolicy.TRANSIENT_LOCAL,
    ):
        wanted[QoSPolicyKind.DURABILITY] = "volatile"
    if not wanted:
        return qos_check_compatible(offered, asked)[1].removeprefix("ERROR: ").rstrip("; ")
    parameters = " and ".join(
        f"{override_parameter(topic, policy)}: {value}" for policy, value in wanted.items()
    )
    return f"{_start_with(parameters)}, or change the publisher"


def _wrong_type(image: ImageInput, publisher: TopicEndpointInfo, elsewhere: Mapping[str, str]) -> str:
    kind, topic = publisher.topic_type, image.topic
    found = f"{topic} carries {kind} (from {_owner(publisher)}), but {image.type} is expected"
    if image.transport == "raw" and kind == COMPRESSED_IMAGE and topic.endswith(_SUFFIX):
        name = topic.removesuffix(_SUFFIX)
        return f"{found}: remap {image.remapped} to {name} and {_start_with('image_transport: compressed')}"
    return f"{found}: {_instead(image, elsewhere)}"


def _instead(image: ImageInput, elsewhere: Mapping[str, str]) -> str:
    """Tell what to do when the topic is not there, going by the ones that are."""
    topic = image.topic
    if image.transport == "raw" and elsewhere.get(topic + _SUFFIX) == COMPRESSED_IMAGE:
        return f"{topic}{_SUFFIX} is published, so {_start_with('image_transport: compressed')}"
    bare = topic.removesuffix(_SUFFIX)
    if image.transport == "compressed" and elsewhere.get(bare) == COMPRESSED_IMAGE:
        name = bare.removesuffix(_SUFFIX)
        return f"image_transport compressed appends {_SUFFIX} by itself, so remap {image.remapped} to {name}"
    if image.transport == "compressed" and elsewhere.get(bare) == IMAGE:
        return f"{bare} is published, so {_start_with('image_transport: raw')}"
    if not elsewhere:
        return "no image topic is published at all, so start the camera"
    near = sorted(elsewhere, key=lambda name: (-SequenceMatcher(None, topic, name).ratio(), name))
    named = ", ".join(f"{name} ({_TRANSPORTS[elsewhere[name]]})" for name in near[:_NAMED])
    more = f" and {len(near) - _NAMED} more" if len(near) > _NAMED else ""
    return (
        f"remap {image.remapped} to one of the image topics that there are, without {_SUFFIX}, and set "
        f"image_transport to its kind: {named}{more}"
    )


def _start_with(parameter: str) -> str:
    return f"start this node with the parameter {parameter}"


def _owner(publisher: TopicEndpointInfo) -> str:
    if not publisher.node_name or publisher.node_name.startswith("_"):
        return "an unknown node"
    return posixpath.join(publisher.node_namespace or "/", publisher.node_name)
