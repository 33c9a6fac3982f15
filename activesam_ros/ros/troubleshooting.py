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

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"

_TRANSPORTS = {IMAGE: "raw", COMPRESSED_IMAGE: "compressed"}
_SUFFIX = "/compressed"
_NAMED = 5
_PROFILES = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")


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
    unfit = [
        one
        for one in publishers
        if one.topic_type == image.type
        and qos_check_compatible(one.qos_profile, image.profile)[0] == QoSCompatibility.ERROR
    ]
    if not unfit:
        return None
    first, more = unfit[0], f" and {len(unfit) - 1} more" if len(unfit) > 1 else ""
    offered = f"{policy_text(first.qos_profile.reliability)}, {policy_text(first.qos_profile.durability)}"
    return (
        f"the images that {_owner(first)}{more} publishes on {image.topic} cannot be received: it offers {offered}, "
        f"we ask for {profile_text(image.profile)}; {_remedy(image, first.qos_profile)}"
    )


def silence(image: ImageInput, publishers: Sequence[TopicEndpointInfo], elsewhere: Mapping[str, str]) -> str:
    """Explain why no image has arrived for too long.

    Args:
        image: the subscription.
        publishers: as for `incompatible`.
        elsewhere: type of every image topic that somebody else publishes, see `published_images`.
    """
    topic = image.topic
    unfit = incompatible(image, publishers)
    if any(one.topic_type == image.type for one in publishers):
        return unfit or (
            f"no image comes on {topic}, although its publisher and its quality of service fit: it may be paused, or "
            "its images are lost on the way, which Fast DDS does with large ones unless "
            "FASTDDS_BUILTIN_TRANSPORTS=LARGE_DATA is set for the camera and for this node"
        )
    if publishers:
        return _wrong_type(image, publishers[0], elsewhere)
    return f"nobody publishes {topic}: {_instead(image, elsewhere)}"


def published_images(node: Node) -> dict[str, str]:
    """Return the type of every image topic that another node publishes, by name."""
    own = node.get_fully_qualified_name() + "/"
    return {
        name: kind
        for name, kinds in node.get_topic_names_and_types()
        for kind in kinds
        if kind in _TRANSPORTS and not name.startswith(own) and node.count_publishers(name)
    }


def _remedy(image: ImageInput, offered: QoSProfile) -> str:
    asked, wanted = image.profile, {}
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
        f"{override_parameter(image.topic, policy)}: {value}" for policy, value in wanted.items()
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
        return (
            "no image topic is published at all, so start the camera, or see that it has the same ROS_DOMAIN_ID "
            "and the same kind of discovery"
        )
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


def transport_warning(environment: Mapping[str, str], middleware: str) -> str | None:
    """Warn of a DDS transport that loses camera images silently; None if nothing is known to be wrong.

    Fast DDS's default transport loses best-effort images above about 0.5 MB. LARGE_DATA carries them, but
    rmw_fastrtps replaces it when discovery is limited to this machine.

    Args:
        environment: the process's environment variables.
        middleware: name of the middleware in use, such as "rmw_fastrtps_cpp".
    """
    if not middleware.startswith("rmw_fastrtps") or any(environment.get(name) for name in _PROFILES):
        return None
    if not environment.get("FASTDDS_BUILTIN_TRANSPORTS"):
        return (
            "best-effort images above about 0.5 MB get lost in Fast DDS's default transport: set "
            "FASTDDS_BUILTIN_TRANSPORTS=LARGE_DATA for this node and for the camera's"
        )
    local = environment.get("ROS_AUTOMATIC_DISCOVERY_RANGE", "").upper() == "LOCALHOST"
    if local and environment["FASTDDS_BUILTIN_TRANSPORTS"].upper().startswith("LARGE_DATA"):
        return (
            "discovery is limited to this machine, which switches FASTDDS_BUILTIN_TRANSPORTS=LARGE_DATA off, "
            "and best-effort images above about 0.5 MB get lost: unset ROS_AUTOMATIC_DISCOVERY_RANGE and "
            "separate machines by ROS_DOMAIN_ID instead"
        )
    return None
