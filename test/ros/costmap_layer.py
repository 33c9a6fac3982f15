"""How Nav2's semantic_segmentation_layer reads a mask, a confidence image and a LabelInfo, as far as that matters here.

Written after the sources of ros-navigation/semantic_segmentation_layer: `labelinfoCb`, `syncSegmConfPointcloudCb` and
`bufferSegmentation`. Encoding and step are not looked at there: byte v·width+u is the class of the pixel u, v, and
the same byte of the other image its confidence.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Observation:
    """What the layer notes of one pixel: the name it counts as, and its confidence, 0 to 255."""

    name: str
    confidence: int


class Refused(Exception):
    """The layer drops the pair of images with a warning."""


class Source:
    """One observation source of the layer.

    Attributes:
        costs: cost parameters by class name.
        ignored: names in the last LabelInfo that no class type has; the layer complains of them.
    """

    def __init__(self, parameters: dict) -> None:
        """`parameters`: the source's block, as YAML has it."""
        self.costs = {
            name: parameters[kind]
            for kind in parameters["class_types"]
            for name in parameters[kind]["classes"]
        }
        self.ignored: list[str] = []
        self._names: dict[int, str] = {}

    def label_info(self, message) -> None:
        """The latched names; those before are forgotten. Ids are cut to eight bits."""
        self._names = {
            entry.class_id & 0xFF: entry.class_name
            for entry in message.class_map
            if entry.class_name in self.costs
        }
        self.ignored = [one.class_name for one in message.class_map if one.class_name not in self.costs]

    def observe(self, mask, confidence, cloud: tuple[int, int]) -> dict[tuple[int, int], Observation]:
        """What is noted of each pixel (u, v) whose class has a cost.

        Args:
            mask, confidence: sensor_msgs/Image.
            cloud: width and height of the point cloud of the same stamp.

        Raises:
            Refused: the cloud has another number of points, the mask is short, or no names have come.
        """
        stamps = {(one.header.stamp.sec, one.header.stamp.nanosec) for one in (mask, confidence)}
        if len(stamps) > 1:
            raise Refused("the images are not of one stamp, so they never meet")
        if mask.width * mask.height != cloud[0] * cloud[1]:
            raise Refused("the cloud and the mask have different sizes")
        if len(mask.data) < mask.width * mask.height:
            raise Refused("the mask is short")
        if not self._names:
            raise Refused("no LabelInfo has come")
        found = {}
        for v in range(mask.height):
            for u in range(mask.width):
                index = v * mask.width + u
                if mask.data[index] in self._names:
                    found[u, v] = Observation(self._names[mask.data[index]], confidence.data[index])
        return found
