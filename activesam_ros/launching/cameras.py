"""Which cameras a launch file is asked for, and where their images come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import yaml

from activesam_ros.errors import SettingsError
from activesam_ros.launching.drivers import DRIVERS, NO_DRIVER, image_topic
from activesam_ros.launching.names import full_name, namespace_in_force
from activesam_ros.launching.parameters import names_cameras
from activesam_ros.ros.parameters import read

if TYPE_CHECKING:
    from collections.abc import Mapping

ONLY = "camera"
"""What the driver's namespace is called if there is one camera."""

NODE = "activesam"


@dataclass(frozen=True)
class Source:
    """One camera.

    Attributes:
        name: in the node's parameter `cameras`; empty: the only one.
        image: topic of its images; empty: the node's own name for it.
    """

    name: str
    image: str

    @property
    def driver_namespace(self) -> str:
        """Where its driver runs, in the namespace of the launch file."""
        return self.name or ONLY

    @property
    def input(self) -> str:
        """What the node calls the topic."""
        return f"{self.name}/image" if self.name else "image"

    def image_in(self, namespace: str) -> str:
        """Full name of the topic that the node, in that namespace, subscribes."""
        topic = self.image or self.input
        return topic if topic.startswith("/") else full_name(namespace, topic)

    def output(self, namespace: str, topic: str) -> str:
        """Full name of a topic of the camera's that the node publishes, such as "overlay"."""
        return full_name(namespace, NODE, self.name, topic)


def sources(given: Mapping[str, str]) -> tuple[Source, ...]:
    """The cameras that launch arguments ask for, at least one.

    Args:
        given: values of `image`, `camera`, `cameras`, `rviz`, `namespace` and `params_file`.

    Raises:
        SettingsError: they contradict each other, or cameras is neither a list of names nor topics by name.
    """
    topics = _cameras(given["cameras"])
    only_in_file = not topics and given["params_file"] and names_cameras(given["params_file"])
    for name, nothing in (("image", ""), ("camera", NO_DRIVER), ("rviz", "false")):
        asked = given.get(name, "").lower() not in ("", nothing)
        if asked and only_in_file:
            what = "would show none of them" if name == "rviz" else "would have no effect"
            raise SettingsError(
                f"{name}:={given[name]} {what}, since params_file names cameras; give them as an "
                "argument instead: cameras:='{front: /front/image_raw, rear: /rear/image_raw}'"
            )
    if topics and given["image"]:
        raise SettingsError(
            f"image:={given['image']} would have no effect beside cameras, each of which has a topic of its own: "
            "cameras:='{front: /front/image_raw, rear: /rear/image_raw}'"
        )
    if not topics:
        return (_source("", given["image"], given),)
    return tuple(_source(name, topic, given) for name, topic in topics.items())


def _source(name: str, topic: str, given: Mapping[str, str]) -> Source:
    source = Source(name, topic)
    if topic or given["camera"] == NO_DRIVER:
        return source
    return Source(
        name, image_topic(DRIVERS[given["camera"]], namespace_in_force(given), source.driver_namespace)
    )


def _cameras(text: str) -> dict[str, str]:
    """Topics by name of the camera; empty: the default one."""
    if not text:
        return {}
    try:
        given = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SettingsError(f"cameras:={text!r} is not YAML: {' '.join(str(error).split())}") from error
    topics = given if isinstance(given, dict) else dict.fromkeys(given, "") if _is_list_of_texts(given) else None
    if not topics or not all(isinstance(one, str) for one in (*topics, *topics.values())):
        raise SettingsError(
            f"cameras:={text!r} names no cameras; expected names, '[front, rear]', or topics by name, "
            "'{front: /front/image_raw, rear: /rear/image_raw}'"
        )
    read("cameras", list(topics) if isinstance(given, dict) else given)
    return topics


def _is_list_of_texts(given: object) -> bool:
    return isinstance(given, list) and all(isinstance(one, str) for one in given)
