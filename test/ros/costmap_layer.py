"""How Nav2's semantic_segmentation_layer reads a mask, a confidence image and a LabelInfo, as far as that matters here.

Written after the sources of ros-navigation/semantic_segmentation_layer: `labelinfoCb`, `syncSegmConfPointcloudCb`,
`bufferSegmentation` and `updateBounds`. Encoding and step are not looked at there: byte v·width+u is the class of the
pixel u, v, and the same byte of the other image its confidence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

Pixel = tuple[int, int]


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
        self._by_cost = parameters.get("use_cost_selection", True)
        self._names: dict[int, str] = {}

    def label_info(self, message) -> None:
        """The latched names; those before are forgotten. Ids are cut to eight bits."""
        self._names = {
            entry.class_id & 0xFF: entry.class_name
            for entry in message.class_map
            if entry.class_name in self.costs
        }
        self.ignored = [one.class_name for one in message.class_map if one.class_name not in self.costs]

    def observe(self, mask, confidence, cloud: tuple[int, int]) -> dict[Pixel, Observation]:
        """What is noted of each pixel (u, v) whose class has a cost.

        Args:
            mask, confidence: sensor_msgs/Image.
            cloud: width and height of the point cloud of the same stamp.

        Raises:
            Refused: the cloud has another number of points, the mask is short, or no names have come.
        """
        tiles = {(u, v): (u, v) for v in range(mask.height) for u in range(mask.width)}
        return self.observe_tiles(mask, confidence, cloud, tiles)

    def observe_tiles(
        self, mask, confidence, cloud: tuple[int, int], tiles: Mapping[Pixel, Hashable]
    ) -> dict[Hashable, Observation]:
        """What is noted of each tile; one whose chosen pixel has no cost gets nothing.

        Args:
            mask, confidence, cloud: as above.
            tiles: the tile of each pixel (u, v) that has a finite point in range.
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
        chosen: dict[Hashable, int] = {}
        for v in range(mask.height):
            for u in range(mask.width):
                index, tile = v * mask.width + u, tiles.get((u, v))
                if tile is None:
                    continue
                # The first pixel of the highest rank stays.
                if tile not in chosen or self._rank(mask, confidence, index) > self._rank(
                    mask, confidence, chosen[tile]
                ):
                    chosen[tile] = index
        return {
            tile: Observation(self._names[mask.data[index]], confidence.data[index])
            for tile, index in chosen.items()
            if mask.data[index] in self._names
        }

    def _rank(self, mask, confidence, index: int) -> int:
        if not self._by_cost:
            return confidence.data[index]
        name = self._names.get(mask.data[index])
        return 0 if name is None else self.costs[name]["max_cost"]

    def first_cost(self, seen: Observation) -> int:
        """The cost of a tile after its first observation."""
        cost = self.costs[seen.name]
        is_sure = cost["samples_to_max_cost"] <= 1 and seen.confidence > cost["mark_confidence"]
        return cost["max_cost"] if is_sure else cost["base_cost"]
