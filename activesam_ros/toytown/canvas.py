"""Drawing in perspective onto an RGB image and, in step with it, an exact image of parts."""

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

NEAR = 0.9
"""Distance of the near clipping plane in front of the camera, in metres."""
_SHIFT = 4
_LIMIT = 4000.0

Colour = tuple[float, float, float]


def hsv(hue: float, saturation: float, value: float) -> Colour:
    """RGB colour (0..255) of a hue in degrees and a saturation and value in 0..1."""
    r, g, b = colorsys.hsv_to_rgb((hue % 360) / 360, min(max(saturation, 0), 1), min(max(value, 0), 1))
    return r * 255, g * 255, b * 255


def shade(colour: Colour, factor: float) -> Colour:
    """The colour made darker (factor < 1) or lighter (factor > 1)."""
    r, g, b = colour
    return min(r * factor, 255.0), min(g * factor, 255.0), min(b * factor, 255.0)


@dataclass(frozen=True)
class Camera:
    """A pinhole camera that looks along +z; x points right, y up, all lengths in metres.

    ``focal`` and ``centre`` are in pixels.
    """

    width: int
    height: int
    focal: float
    centre: tuple[float, float]
    x: float
    y: float
    z: float

    def scale(self, z: float) -> float:
        """Pixels per metre at the world depth ``z``."""
        return self.focal / max(z - self.z, NEAR)

    def project(self, x: float, y: float, z: float) -> tuple[float, float]:
        """Pixel position of a world point; points behind the near plane are moved onto it."""
        k = self.scale(z)
        return self.centre[0] + (x - self.x) * k, self.centre[1] - (y - self.y) * k


class Canvas:
    """RGB image and part image drawn together: whatever shape colours a pixel also owns its label.

    A *part* is one class's share of one object (a traffic light is a box and a pole). `begin` opens a part;
    drawing calls belong to it until the next `begin`. ``detail=True`` draws colour only, for decoration that
    lies within the part's own outline.
    """

    def __init__(self, camera: Camera) -> None:
        self.camera = camera
        shape = (camera.height, camera.width)
        self.rgb = np.zeros((*shape, 3), np.uint8)
        self.parts = np.zeros(shape, np.uint16)
        self.part_class: list[int] = [255]
        self.part_owner: list[int] = [-1]
        self._part = 0

    def begin(self, class_id: int, owner: int = -1) -> None:
        """Open a part of the class for the object ``owner`` (-1: nobody's, such as the ground)."""
        self.part_class.append(class_id)
        self.part_owner.append(owner)
        self._part = len(self.part_class) - 1

    def polygon(self, pixels: Sequence[tuple[float, float]], colour: Colour, detail: bool = False) -> None:
        """Fill a polygon given by pixel positions."""
        points = np.round(np.clip(np.asarray(pixels, np.float64), -_LIMIT, _LIMIT) * (1 << _SHIFT)).astype(
            np.int32
        )
        cv2.fillPoly(self.rgb, [points], colour, cv2.LINE_AA, _SHIFT)
        if not detail:
            cv2.fillPoly(self.parts, [points], self._part, cv2.LINE_8, _SHIFT)

    def label_polygon(self, pixels: Sequence[tuple[float, float]]) -> None:
        """Give a polygon's pixels to the part without colouring them, for things one can see through."""
        points = np.round(np.clip(np.asarray(pixels, np.float64), -_LIMIT, _LIMIT) * (1 << _SHIFT)).astype(
            np.int32
        )
        cv2.fillPoly(self.parts, [points], self._part, cv2.LINE_8, _SHIFT)

    def face(
        self, corners: Sequence[tuple[float, float, float]], colour: Colour, detail: bool = False
    ) -> None:
        """Fill a polygon given by world points."""
        project = self.camera.project
        self.polygon([project(*corner) for corner in corners], colour, detail)

    def side(
        self, x: float, z0: float, z1: float, y0: float, y1: float, colour: Colour, detail: bool = False
    ) -> None:
        """Fill a rectangle in the plane of constant ``x``, clipped at the near plane."""
        z0 = max(z0, self.camera.z + NEAR)
        if z1 > z0:
            self.face([(x, y0, z0), (x, y0, z1), (x, y1, z1), (x, y1, z0)], colour, detail)

    def front(
        self, z: float, x0: float, x1: float, y0: float, y1: float, colour: Colour, detail: bool = False
    ) -> None:
        """Fill a rectangle in the plane of constant ``z``, if it is in front of the camera."""
        if z > self.camera.z + NEAR:
            self.face([(x0, y0, z), (x1, y0, z), (x1, y1, z), (x0, y1, z)], colour, detail)

    def ground(
        self, x0: float, x1: float, z0: float, z1: float, colour: Colour, detail: bool = False
    ) -> None:
        """Fill a rectangle on the ground, clipped at the near plane."""
        z0 = max(z0, self.camera.z + NEAR)
        if z1 > z0:
            self.face([(x0, 0, z0), (x1, 0, z0), (x1, 0, z1), (x0, 0, z1)], colour, detail)

    def ellipse(
        self, centre: tuple[float, float], rx: float, ry: float, colour: Colour, detail: bool = False
    ) -> None:
        """Fill an axis-parallel ellipse given in pixels."""
        if max(abs(centre[0]), abs(centre[1]), rx, ry) > _LIMIT:
            return
        at = (round(centre[0] * 16), round(centre[1] * 16))
        axes = (max(8, round(rx * 16)), max(8, round(ry * 16)))
        cv2.ellipse(self.rgb, at, axes, 0, 0, 360, colour, -1, cv2.LINE_AA, _SHIFT)
        if not detail:
            cv2.ellipse(self.parts, at, axes, 0, 0, 360, self._part, -1, cv2.LINE_8, _SHIFT)

    def bar(
        self,
        a: tuple[float, float],
        b: tuple[float, float],
        width: float,
        colour: Colour,
        detail: bool = False,
    ) -> None:
        """Draw a thick straight bar between two pixel positions."""
        dx, dy = b[0] - a[0], b[1] - a[1]
        length = max((dx * dx + dy * dy) ** 0.5, 1e-6)
        half = max(width, 1.0) / 2
        nx, ny = -dy / length * half, dx / length * half
        self.polygon(
            [(a[0] + nx, a[1] + ny), (b[0] + nx, b[1] + ny), (b[0] - nx, b[1] - ny), (a[0] - nx, a[1] - ny)],
            colour,
            detail,
        )

    def darken_ground(self, x0: float, x1: float, z0: float, z1: float, factor: float) -> None:
        """Darken a rectangle on the ground: a shadow, which changes no label."""
        z0 = max(z0, self.camera.z + NEAR)
        if z1 <= z0:
            return
        project = self.camera.project
        corners = np.array([project(x0, 0, z0), project(x1, 0, z0), project(x1, 0, z1), project(x0, 0, z1)])
        corners = np.round(np.clip(corners, -_LIMIT, _LIMIT)).astype(np.int32)
        left, top = np.maximum(corners.min(0), 0)
        right, bottom = np.minimum(corners.max(0) + 1, (self.camera.width, self.camera.height))
        if right <= left or bottom <= top:
            return
        mask = np.zeros((bottom - top, right - left), np.uint8)
        cv2.fillPoly(mask, [corners - (left, top)], 1)
        area = self.rgb[top:bottom, left:right]
        area[mask > 0] = (area[mask > 0] * factor).astype(np.uint8)
