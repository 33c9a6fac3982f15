"""Draw in perspective onto an RGB image and, at the same time, onto an exact label image."""

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import cv2
import numpy as np

NEAR = 0.9
"""Distance of the near clipping plane in front of the camera, in metres."""
_SHIFT = 4
_LIMIT = 4000.0

Rng: TypeAlias = np.random.Generator
Colour = tuple[float, float, float]
Pixel = tuple[float, float]
Point = tuple[float, float, float]
Range = tuple[float, float] | float
"""Bounds to draw a number from, or the number itself."""


def hsv(hue: float, saturation: float, value: float) -> Colour:
    """Convert a hue in degrees and a saturation and value in 0..1 to RGB in 0..255."""
    r, g, b = colorsys.hsv_to_rgb((hue % 360) / 360, min(max(saturation, 0), 1), min(max(value, 0), 1))
    return r * 255, g * 255, b * 255


def draw(r: Rng, bounds: Range) -> float:
    """Draw a number between the bounds; a number stands for itself."""
    return r.uniform(*bounds) if isinstance(bounds, tuple) else bounds


def tone(r: Rng, hue: Range | list[Range], saturation: Range, value: Range) -> Colour:
    """Draw a colour; a list of hues offers several families of colours."""
    angle = r.choice([draw(r, bounds) for bounds in hue]) if isinstance(hue, list) else draw(r, hue)
    return hsv(angle, draw(r, saturation), draw(r, value))


def shade(colour: Colour, factor: float) -> Colour:
    """Make a colour darker (factor < 1) or lighter (factor > 1)."""
    r, g, b = colour
    return min(r * factor, 255.0), min(g * factor, 255.0), min(b * factor, 255.0)


@dataclass(frozen=True)
class Item:
    """One object in the street: kind, instance number, near end (metres), speed (m/s), length (metres) and looks."""

    kind: str
    owner: int
    x: float
    z: float
    speed: float = 0.0
    length: float = 0.0
    looks: dict[str, Any] = field(default_factory=dict)

    def moved(self, dz: float) -> "Item":
        """Return the same item, shifted along the street."""
        return replace(self, z=self.z + dz)

    def __getitem__(self, name: str) -> Any:
        return self.looks[name]


@dataclass(frozen=True)
class Camera:
    """A pinhole camera that looks along +z; x points right, y up, in metres. ``focal`` and ``centre`` are in pixels."""

    width: int
    height: int
    focal: float
    centre: tuple[float, float]
    x: float
    y: float
    z: float

    @property
    def near(self) -> float:
        """World depth of the near clipping plane."""
        return self.z + NEAR

    def scale(self, z: float) -> float:
        """Return the pixels per metre at the world depth ``z``."""
        return self.focal / max(z - self.z, NEAR)

    def project(self, x: float, y: float, z: float) -> Pixel:
        """Project a world point to pixels; points behind the near plane are moved onto it."""
        k = self.scale(z)
        return self.centre[0] + (x - self.x) * k, self.centre[1] - (y - self.y) * k


class Canvas:
    """RGB image and part image drawn together: the shape that colours a pixel also labels it.

    A *part* is one class's share of one object (a traffic light is a box and a pole). `begin` opens a part; the
    drawing calls until the next `begin` belong to it. ``detail=True`` draws colour only, for decoration inside the
    part's own outline.

    With ``measured``, what labels a pixel also gives it its depth: a face that of its plane, what is drawn in pixels
    the distance at which it stands (`stand`), like a cardboard figure.

    Args:
        camera: the view to draw.
        coloured: False draws the part image alone, which takes half of the time.
        measured: whether there shall be ``depth``, float32 [H, W], z in metres; infinite where nothing was drawn.
    """

    def __init__(self, camera: Camera, coloured: bool = True, measured: bool = False) -> None:
        self.camera = camera
        self._coloured = coloured
        shape = (camera.height, camera.width)
        self.rgb = np.zeros((*shape, 3), np.uint8)
        self.parts = np.zeros(shape, np.uint16)
        self.part_class: list[int] = [255]
        self.part_owner: list[int] = [-1]
        self._part = 0
        self.depth = np.full(shape, np.inf, np.float32) if measured else None
        self._distance = np.inf

    def stand(self, z: float) -> None:
        """Put what is drawn in pixels from now on at the world depth ``z``."""
        self._distance = max(z - self.camera.z, NEAR)

    def begin(self, class_id: int, owner: int = -1) -> None:
        """Open a part of the class for the object ``owner`` (-1: no object, such as the ground)."""
        self.part_class.append(class_id)
        self.part_owner.append(owner)
        self._part = len(self.part_class) - 1

    def polygon(
        self,
        pixels: Sequence[Pixel],
        colour: Colour,
        detail: bool = False,
        corners: Sequence[Point] | None = None,
    ) -> None:
        """Fill a polygon given by pixel positions; ``corners`` are world points of its plane, if known."""
        if detail and not self._coloured:
            return
        points = self._points(pixels)
        if points is None:
            return
        if self._coloured:
            cv2.fillPoly(self.rgb, points, colour, cv2.LINE_AA, _SHIFT)
        if not detail:
            self._fill_part(points, corners)

    def label_face(self, corners: Sequence[Point]) -> None:
        """Label a polygon given by world points without colouring it, for things one can see through."""
        points = self._points([self.camera.project(*corner) for corner in corners])
        if points is not None:
            self._fill_part(points, corners)

    def _fill_part(self, points: list[np.ndarray], corners: Sequence[Point] | None) -> None:
        cv2.fillPoly(self.parts, points, self._part, cv2.LINE_8, _SHIFT)
        if self.depth is None:
            return
        (x0, y0), (x1, y1) = points[0].min(0) >> _SHIFT, (points[0].max(0) >> _SHIFT) + 1
        box = np.s_[max(y0, 0) : max(y1 + 1, 0), max(x0, 0) : max(x1 + 1, 0)]
        mask = np.zeros(self.parts.shape, np.uint8)
        cv2.fillPoly(mask, points, 1, cv2.LINE_8, _SHIFT)
        self._set_depth(box, mask[box] > 0, corners)

    def _set_depth(
        self, box: tuple[slice, slice], mask: np.ndarray, corners: Sequence[Point] | None = None
    ) -> None:
        """Set the depth in a box of the image where the mask says so."""
        if self.depth is None:
            return
        area = self.depth[box]
        if corners is None:
            area[mask] = self._distance
            return
        camera = self.camera
        a, b, c = (np.array([x - camera.x, camera.y - y, z - camera.z]) for x, y, z in corners[:3])
        normal = np.cross(b - a, c - a)
        rows, columns = np.nonzero(mask)
        across = (columns + (box[1].start - camera.centre[0])) / camera.focal
        down = (rows + (box[0].start - camera.centre[1])) / camera.focal
        # The inverse, since it is linear in the pixels, and 0 at the horizon of the plane.
        inverse = (normal[0] * across + normal[1] * down + normal[2]) / (normal @ a)
        with np.errstate(divide="ignore"):
            area[mask] = np.where(inverse > 0, np.maximum(1 / inverse, NEAR), np.inf)

    def _points(self, pixels: Sequence[Pixel]) -> list[np.ndarray] | None:
        """Return fixed-point corners for OpenCV; None for a polygon outside the image."""
        xs, ys = [x for x, _ in pixels], [y for _, y in pixels]
        width, height = self.camera.width, self.camera.height
        if max(xs) < -2 or min(xs) > width + 2 or max(ys) < -2 or min(ys) > height + 2:
            return None
        scale = 1 << _SHIFT
        fixed = [[round(min(max(v, -_LIMIT), _LIMIT) * scale) for v in point] for point in pixels]
        return [np.array(fixed, np.int32)]

    def face(self, corners: Sequence[Point], colour: Colour, detail: bool = False) -> None:
        """Fill a polygon given by world points."""
        if detail and not self._coloured:
            return
        project = self.camera.project
        self.polygon([project(*corner) for corner in corners], colour, detail, corners)

    def side(
        self, x: float, z0: float, z1: float, y0: float, y1: float, colour: Colour, detail: bool = False
    ) -> None:
        """Fill a rectangle in the plane of constant ``x``, clipped at the near plane."""
        z0 = max(z0, self.camera.near)
        if z1 > z0:
            self.face([(x, y0, z0), (x, y0, z1), (x, y1, z1), (x, y1, z0)], colour, detail)

    def front(
        self, z: float, x0: float, x1: float, y0: float, y1: float, colour: Colour, detail: bool = False
    ) -> None:
        """Fill a rectangle in the plane of constant ``z``, if it is in front of the camera; x0, x1 in any order."""
        if z > self.camera.near:
            x0, x1 = min(x0, x1), max(x0, x1)
            self.face([(x0, y0, z), (x1, y0, z), (x1, y1, z), (x0, y1, z)], colour, detail)

    def trapezoid(self, x: float, low: Point, high: Point, colour: Colour, detail: bool = False) -> None:
        """Fill a trapezoid that is symmetric about ``x``; each end is (half width, y, z)."""
        (a, y0, z0), (b, y1, z1) = low, high
        self.face([(x - a, y0, z0), (x + a, y0, z0), (x + b, y1, z1), (x - b, y1, z1)], colour, detail)

    def ground(
        self, x0: float, x1: float, z0: float, z1: float, colour: Colour, detail: bool = False
    ) -> None:
        """Fill a rectangle on the ground, clipped at the near plane."""
        z0 = max(z0, self.camera.near)
        if z1 > z0:
            self.face([(x0, 0, z0), (x1, 0, z0), (x1, 0, z1), (x0, 0, z1)], colour, detail)

    def box(
        self, x: float, width: float, z0: float, z1: float, y0: float, y1: float, colour: Colour
    ) -> float | None:
        """Draw a box; return the x of the side that faces the camera, None if neither does."""
        camera, half = self.camera, width / 2
        if z1 < camera.near:
            return None
        near_side = x - half if x - half > camera.x else x + half if x + half < camera.x else None
        if y1 < camera.y:
            self.trapezoid(x, (half, y1, max(z0, camera.near)), (half, y1, z1), shade(colour, 1.12))
        if near_side is not None:
            self.side(near_side, z0, z1, y0, y1, shade(colour, 0.8))
        self.front(z0, x - half, x + half, y0, y1, colour)
        return near_side

    def ellipse(self, centre: Pixel, rx: float, ry: float, colour: Colour, detail: bool = False) -> None:
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
            if self.depth is not None:
                mask = np.zeros(self.parts.shape, np.uint8)
                cv2.ellipse(mask, at, axes, 0, 0, 360, 1, -1, cv2.LINE_8, _SHIFT)
                self._set_depth(np.s_[0:, 0:], mask > 0)

    def bar(self, a: Pixel, b: Pixel, width: float, colour: Colour, detail: bool = False) -> None:
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

    def measure_ground(self, horizon: int) -> None:
        """Give every pixel from the row ``horizon`` on the depth of the ground."""
        corners = [(0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)]
        below = np.s_[horizon:, 0:]
        self._set_depth(below, np.ones(self.parts[below].shape, bool), corners)

    def darken_ground(self, x0: float, x1: float, z0: float, z1: float, factor: float) -> None:
        """Darken a rectangle on the ground: a shadow, which changes no label."""
        z0 = max(z0, self.camera.near)
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
