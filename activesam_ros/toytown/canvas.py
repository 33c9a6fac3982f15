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

    def __init__(self, camera: Camera, coloured: bool = True) -> None:
        """Args:
        camera: whose picture is drawn.
        coloured: False: draw the part image alone, which takes half of the time.
        """
        self.camera = camera
        self._coloured = coloured
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
        if detail and not self._coloured:
            return
        points = self._points(pixels)
        if points is None:
            return
        if self._coloured:
            cv2.fillPoly(self.rgb, points, colour, cv2.LINE_AA, _SHIFT)
        if not detail:
            cv2.fillPoly(self.parts, points, self._part, cv2.LINE_8, _SHIFT)

    def label_polygon(self, pixels: Sequence[tuple[float, float]]) -> None:
        """Give a polygon's pixels to the part without colouring them, for things one can see through."""
        points = self._points(pixels)
        if points is not None:
            cv2.fillPoly(self.parts, points, self._part, cv2.LINE_8, _SHIFT)

    def _points(self, pixels: Sequence[tuple[float, float]]) -> list[np.ndarray] | None:
        """Fixed-point corners for OpenCV; None for a polygon that lies beside the picture."""
        xs, ys = [x for x, _ in pixels], [y for _, y in pixels]
        width, height = self.camera.width, self.camera.height
        if max(xs) < -2 or min(xs) > width + 2 or max(ys) < -2 or min(ys) > height + 2:
            return None
        scale = 1 << _SHIFT
        return [
            np.array(
                [
                    (
                        round(min(max(x, -_LIMIT), _LIMIT) * scale),
                        round(min(max(y, -_LIMIT), _LIMIT) * scale),
                    )
                    for x, y in pixels
                ],
                np.int32,
            )
        ]

    def face(
        self, corners: Sequence[tuple[float, float, float]], colour: Colour, detail: bool = False
    ) -> None:
        """Fill a polygon given by world points."""
        if detail and not self._coloured:
            return
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
        x, y = centre
        if max(abs(x), abs(y), rx, ry) > _LIMIT or (detail and not self._coloured):
            return
        beside = x + rx < -2 or x - rx > self.camera.width + 2
        if beside or y + ry < -2 or y - ry > self.camera.height + 2:
            return
        at = (round(x * 16), round(y * 16))
        axes = (max(8, round(rx * 16)), max(8, round(ry * 16)))
        if self._coloured:
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
        if z1 <= z0 or not self._coloured:
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
