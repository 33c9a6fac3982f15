"""Seeded street scenes with exact labels, and drives through them.

``World(seed).render(t)`` shows the street at ``t`` seconds. The street is made of slots of a few metres along
the road; what stands in a slot depends on the seed and the slot's number alone, so a drive never ends and
never depends on which frames were rendered before. What moves is placed so that it meets the camera near its
own slot.
"""

from dataclasses import dataclass
from functools import lru_cache
from math import floor, sin
from typing import Any

import cv2
import numpy as np

from activesam_ros.toytown import CLASS_ID, THINGS, VOID
from activesam_ros.toytown.canvas import NEAR, Camera, Canvas, Colour, hsv, shade
from activesam_ros.toytown.objects import DRAW, Item

HELD_OUT_SEED = 10_000_000
"""Training uses seeds below this one, evaluation seeds from it on."""
SLOT = 9.0
"""Length of a slot along the street, in metres."""
SIGHT = 18.0
"""Vehicles farther from the camera than this many metres are left out: they would be a few pixels."""
SMALL_SIGHT = 14.5
"""The same for people, two-wheelers and street furniture."""
_STREET_SIGHT = 45.0
_SMALLEST = 100
"""An object of fewer visible pixels than this (of 320 x 240) is left out; what cannot be left out becomes
void.
"""
_LONG = frozenset({"building", "wall", "fence", "hedge"})
_KINDS_AT_CURB = (None, "lamp", "traffic light", "traffic sign")
_VEHICLES = (None, "car", "truck", "bus", "bicycle", "motorcycle")
_LENGTHS = {"car": 3.6, "truck": 5.6, "bus": 7.0, "train": 8.0, "bicycle": 1.0, "motorcycle": 1.0}


@dataclass(frozen=True)
class RenderedFrame:
    """One rendered picture with its truth, all of one height and width.

    ``rgb`` is uint8 [H, W, 3]; ``labels`` uint8 [H, W] holds class indices and 255 for void; ``instances``
    uint16 [H, W] holds one positive number per visible thing and 0 elsewhere. The numbers stay the same along
    a drive.
    """

    rgb: np.ndarray
    labels: np.ndarray
    instances: np.ndarray


class World:
    """A street that is a function of its seed.

    Args:
        seed: any non-negative integer.
        width: width of the pictures in pixels.
        height: height of the pictures in pixels.
    """

    def __init__(self, seed: int, width: int = 320, height: int = 240) -> None:
        if seed < 0 or width < 32 or height < 32:
            raise ValueError(
                f"a world needs a seed >= 0 and at least 32 x 32 pixels, "
                f"got seed {seed} and {width} x {height}"
            )
        self.seed, self.width, self.height = seed, width, height
        r = np.random.default_rng([seed, 0])
        self._focal = r.uniform(185, 225) * height / 240
        self._centre = (width * (0.5 + r.uniform(-0.05, 0.05)), height * r.uniform(0.42, 0.54))
        self._eye = r.uniform(1.6, 2.4)
        self._speed = r.uniform(4.0, 5.5)
        self._sway = r.uniform(0, 6.28)
        wide = r.random() < 0.65
        self._road_left = -4.2
        self._road_right = 4.2 if wide else 1.7
        self._sidewalk = r.uniform(1.7, 2.4) if r.random() < 0.82 else 0.0
        self._verge = r.uniform(1.2, 2.6) if r.random() < 0.55 or self._sidewalk == 0 else 0.0
        self._flow_right = 0.0 if r.random() < 0.35 else r.uniform(0.3, 0.6) * self._speed
        self._flow_left = -r.uniform(1.0, 3.0)
        self._has_trams = r.random() < 0.55
        self._background = r.random()
        self._paint(r)
        self._slots = lru_cache(maxsize=64)(self._slot)

    def _paint(self, r: np.random.Generator) -> None:
        self._road = hsv(r.uniform(200, 280), r.uniform(0, 0.1), r.uniform(0.3, 0.46))
        self._slabs = hsv(r.uniform(15, 50), r.uniform(0.05, 0.28), r.uniform(0.72, 0.88))
        grass = r.random() < 0.72
        self._grass = grass
        self._soil = (
            hsv(r.uniform(68, 95), r.uniform(0.45, 0.7), r.uniform(0.55, 0.78))
            if grass
            else hsv(r.uniform(25, 38), r.uniform(0.4, 0.6), r.uniform(0.42, 0.6))
        )
        self._weather = str(
            r.choice(["sun", "overcast", "dusk", "rain", "fog", "snow"], p=[0.4, 0.22, 0.14, 0.1, 0.08, 0.06])
        )
        if self._weather == "sun":
            self._sky = (
                hsv(r.uniform(200, 220), r.uniform(0.4, 0.7), r.uniform(0.85, 1.0)),
                hsv(r.uniform(195, 215), r.uniform(0.1, 0.3), 1.0),
            )
        elif self._weather == "dusk":
            self._sky = (
                hsv(r.uniform(235, 275), r.uniform(0.3, 0.5), r.uniform(0.55, 0.75)),
                hsv(r.uniform(12, 38), r.uniform(0.35, 0.6), r.uniform(0.9, 1.0)),
            )
        else:
            self._sky = (
                hsv(215, r.uniform(0, 0.1), r.uniform(0.66, 0.82)),
                hsv(215, r.uniform(0, 0.08), r.uniform(0.8, 0.95)),
            )
        self._clouds = [
            (r.uniform(0, 1), r.uniform(0.1, 0.8), r.uniform(8, 20)) for _ in range(int(r.integers(0, 5)))
        ]
        self._gain = r.uniform(0.85, 1.12) * {"dusk": 0.85, "rain": 0.9}.get(self._weather, 1.0)
        self._tint = r.uniform(0.95, 1.05, 3)
        self._grain = r.uniform(0, 5)
        self._haze = {"fog": r.uniform(0.35, 0.55), "rain": 0.15, "snow": 0.2}.get(self._weather, 0.0)

    def camera(self, t: float) -> Camera:
        """The camera at ``t`` seconds; it drives at a steady pace and sways a little in its lane."""
        return Camera(
            self.width,
            self.height,
            self._focal,
            self._centre,
            0.25 * sin(0.35 * t + self._sway),
            self._eye,
            self._speed * t,
        )

    def render(self, t: float = 0.0) -> RenderedFrame:
        """The street at ``t`` seconds (``t`` >= 0). Equal seeds, sizes and times give equal frames."""
        if not t >= 0:
            raise ValueError(f"time is in seconds from the start of the drive and at least 0, got {t}")
        camera = self.camera(t)
        items = self._items(camera, t)
        smallest = _SMALLEST * self.width * self.height / (320 * 240)
        for _ in range(2):
            canvas = self._draw(camera, items, coloured=False)
            hidden = self._too_small(canvas, items, smallest)
            if not hidden:
                break
            items = [item for item in items if item.owner not in hidden]
        canvas = self._draw(camera, items)
        areas = np.bincount(canvas.parts.ravel(), minlength=len(canvas.part_class))
        classes = np.array(canvas.part_class, np.uint8)
        totals = np.bincount(classes[canvas.parts.ravel()], minlength=256)
        thing = np.isin(classes, list(THINGS))
        classes[(totals[classes] < smallest) | (thing & (areas < smallest))] = VOID
        owners = np.array(canvas.part_owner, np.int64)
        numbers = np.where(thing & (classes != VOID), owners, 0).astype(np.uint16)
        return RenderedFrame(self._grade(canvas.rgb, t), classes[canvas.parts], numbers[canvas.parts])

    @staticmethod
    def _too_small(canvas: Canvas, items: list[Item], smallest: float) -> set[int]:
        """Owners of objects of which too little shows; riders and their two-wheelers go together."""
        areas = np.bincount(canvas.parts.ravel(), minlength=len(canvas.part_class))
        drop: set[int] = set()
        whole: dict[int, int] = {}
        for part, owner in enumerate(canvas.part_owner):
            if owner > 0:
                group = owner - owner % 2
                whole[group] = whole.get(group, 0) + int(areas[part])
                if canvas.part_class[part] in THINGS and areas[part] < smallest:
                    drop.add(group)
        return {
            item.owner
            for item in items
            if item.kind not in _LONG and (item.owner in drop or whole.get(item.owner, 0) < smallest)
        }

    # ------------------------------------------------------------------ what there is

    def _items(self, camera: Camera, t: float) -> list[Item]:
        """Everything in sight, far to near."""
        first, last = floor((camera.z - 60) / SLOT), floor((camera.z + 75) / SLOT)
        items = []
        for slot in range(first, last + 1):
            for item in self._slots(slot):
                if item.speed:
                    item = item.moved(item.speed * (t - (slot * SLOT - 10) / self._speed))
                ahead = item.z - camera.z
                if item.kind in _LONG:
                    if ahead < _STREET_SIGHT and ahead + item.length > NEAR + 0.3:
                        items.append(item)
                elif item.length > 2:
                    if ahead < SIGHT and ahead + item.length > 2.5:
                        items.append(item)
                elif 2.6 < ahead < (28 if item.kind == "tree" else SMALL_SIGHT):
                    items.append(item)

        def depth(item: Item) -> float:
            if item.kind == "building":
                return item.z + item.length / 2 + 8
            if item.kind in _LONG:
                return item.z + item.length / 2 + 4
            return item.z + (item.length / 2 if abs(item.x - camera.x) > 2 else 0)

        return sorted(items, key=depth, reverse=True)

    def _slot(self, number: int) -> list[Item]:
        r = np.random.default_rng([self.seed, 1, number + 1_000_000])
        z = number * SLOT
        items: list[Item] = []
        next_owner = 2 + 2 * (number % 700) * 40

        def owner() -> int:
            nonlocal next_owner
            next_owner += 2
            return next_owner

        def vehicle(kind: str, x: float, away: bool, speed: float) -> None:
            items.append(
                _vehicle(
                    r, kind, owner(), x, z + r.uniform(0, max(SLOT - _LENGTHS[kind] - 0.8, 0.1)), away, speed
                )
            )

        if self._road_right > 3:
            kind = r.choice(len(_VEHICLES), p=[0.30, 0.24, 0.14, 0.14, 0.1, 0.08])
            if _VEHICLES[kind]:
                vehicle(_VEHICLES[kind], 2.95, True, self._flow_right)
        if self._has_trams:
            kind = r.choice(len(_VEHICLES) + 1, p=[0.34, 0.07, 0.06, 0.06, 0.05, 0.05, 0.37])
        else:
            kind = r.choice(len(_VEHICLES) + 1, p=[0.34, 0.21, 0.14, 0.14, 0.09, 0.08, 0.0])
        name = (*_VEHICLES, "train")[kind]
        if name:
            vehicle(name, -2.9, False, self._flow_left)
        for sign, edge in ((-1, self._road_left), (1, self._road_right)):
            self._curb(r, items, owner, sign, edge, z)
            self._back(r, items, owner, sign, edge, number)
        return items

    def _curb(
        self, r: np.random.Generator, items: list[Item], owner: Any, sign: int, edge: float, z: float
    ) -> None:
        kind = _KINDS_AT_CURB[r.choice(4, p=[0.42, 0.16, 0.21, 0.21])]
        strip = self._sidewalk or self._verge
        if kind:
            items.append(
                _street_furniture(
                    r, kind, owner(), edge + sign * r.uniform(0.5, 0.8), z + r.uniform(0, 3), -sign
                )
            )
        spots = [z + 1.5 + r.uniform(0, 1.5), z + 5 + r.uniform(0, 2.5)]
        for spot in spots:
            x = edge + sign * r.uniform(0.9, max(strip, 1.4) - 0.2)
            choice = r.random()
            if choice < 0.26:
                speed = r.choice([-1, 1]) * r.uniform(0.4, 1.0) if r.random() < 0.6 else 0.0
                items.append(_person(r, owner(), x, spot, speed))
            elif choice < 0.36:
                items.append(_two_wheeler(r, "bicycle", owner(), edge + sign * 1.1, spot, False, 0.0))
            elif choice < 0.46:
                items.append(_two_wheeler(r, "motorcycle", owner(), edge + sign * 1.1, spot, False, 0.0))

    def _back(
        self, r: np.random.Generator, items: list[Item], owner: Any, sign: int, edge: float, number: int
    ) -> None:
        """What lines the street: decided for two slots at a time, so that walls and fences are long."""
        if number % 2:
            return
        z, length = number * SLOT, 2 * SLOT
        line = edge + sign * (self._sidewalk + self._verge + 0.3)
        kind = str(r.choice(["building", "wall", "fence", "green", "open"], p=[0.42, 0.18, 0.18, 0.16, 0.06]))
        if self._background < 0.12 and kind == "building":
            kind = "green"
        if kind == "building":
            items.extend(_buildings(r, owner, line + sign * 0.3, z, length))
            return
        if kind in ("wall", "fence"):
            items.append(_barrier(r, kind, owner(), line, z, length))
        if kind == "green":
            items.append(
                Item(
                    "hedge",
                    owner(),
                    line + sign * 0.6,
                    z,
                    0,
                    length,
                    {"height": r.uniform(1.0, 1.6), "colour": _leaf(r)},
                )
            )
        behind = line + sign * r.uniform(2.0, 3.0)
        if self._background > 0.12 and r.random() < 0.45:
            items.extend(_buildings(r, owner, line + sign * 3.5, z, length))
            return
        for spot in (z + r.uniform(1, 4), z + r.uniform(7, 10), z + r.uniform(13, 16)):
            if r.random() < (0.85 if kind == "green" else 0.35):
                items.append(_tree(r, owner(), behind, spot))

    # ------------------------------------------------------------------ how it is drawn

    def _draw(self, camera: Camera, items: list[Item], coloured: bool = True) -> Canvas:
        canvas = Canvas(camera, coloured)
        self._draw_sky(canvas)
        self._draw_ground(canvas)
        for item in items:
            DRAW[item.kind](canvas, item)
        return canvas

    def _draw_sky(self, canvas: Canvas) -> None:
        horizon = int(np.clip(round(self._centre[1]), 1, self.height))
        blend = np.linspace(0, 1, horizon)[:, None]
        canvas.begin(CLASS_ID["sky"])
        high, low = np.array(self._sky[0]), np.array(self._sky[1])
        canvas.rgb[:horizon] = (high * (1 - blend) + low * blend)[:, None, :].astype(np.uint8)
        canvas.parts[:horizon] = len(canvas.part_class) - 1
        unit = self.height / 240
        cloud = shade(self._sky[1], 1.08)
        for x, y, size in self._clouds:
            for dx, dy, k in ((0, 0, 1.0), (-1, 0.2, 0.7), (1, 0.2, 0.75), (0.5, -0.3, 0.7)):
                canvas.ellipse(
                    (x * self.width + dx * size * unit, y * horizon * 0.8 + dy * size * unit),
                    size * k * unit,
                    size * k * 0.6 * unit,
                    cloud,
                    detail=True,
                )
        paved = self._verge == 0
        canvas.begin(CLASS_ID["sidewalk" if paved else "terrain"])
        canvas.rgb[horizon:] = np.array(self._slabs if paved else self._soil).astype(np.uint8)
        canvas.parts[horizon:] = len(canvas.part_class) - 1

    def _draw_ground(self, canvas: Canvas) -> None:
        z0, z1 = canvas.camera.z, canvas.camera.z + 400
        left, right, width = self._road_left, self._road_right, self._sidewalk
        if self._verge:
            self._draw_tufts(canvas)
        if width:
            canvas.begin(CLASS_ID["sidewalk"])
            canvas.ground(left - width, left, z0, z1, self._slabs)
            canvas.ground(right, right + width, z0, z1, self._slabs)
            joint = shade(self._slabs, 0.74)
            for a in (left - width, right):
                for i in range(26):
                    z = floor(z0) + i
                    canvas.ground(a, a + width, z, z + 0.08, joint, detail=True)
                canvas.ground(a + width / 2 - 0.04, a + width / 2 + 0.04, z0, z0 + 26, joint, detail=True)
        canvas.begin(CLASS_ID["road"])
        canvas.ground(left, right, z0, z1, self._road)
        white = (235.0, 235.0, 228.0)
        start = floor(z0 / 4) * 4
        for i in range(14):
            canvas.ground(-1.5, -1.3, start + 4 * i, start + 4 * i + 2, white, detail=True)
            if right > 3:
                canvas.ground(1.3, 1.5, start + 4 * i, start + 4 * i + 2, white, detail=True)
        if self._has_trams:
            for x in (-3.7, -2.1):
                canvas.ground(x - 0.07, x + 0.07, z0, z0 + 60, (62, 56, 52), detail=True)
        if width:
            canvas.begin(CLASS_ID["sidewalk"])
            for a in (left - 0.2, right):
                canvas.ground(a, a + 0.2, z0, z1, shade(self._slabs, 0.86))
        else:
            for a in (left, right - 0.2):
                canvas.ground(a, a + 0.2, z0, z1, white, detail=True)

    def _draw_tufts(self, canvas: Canvas) -> None:
        """Blades of grass or stones, fixed to the ground, so that terrain has a texture of its own."""
        camera = canvas.camera
        canvas.begin(CLASS_ID["terrain"])
        edge = self._sidewalk
        dark, light = shade(self._soil, 0.72), shade(self._soil, 1.22)
        for step in range(16, 1, -1):
            z = (floor(camera.z / 1.3) + step) * 1.3
            if z < camera.z + 2:
                continue
            k = camera.scale(z)
            phase = (z * 7.3) % 1.7
            for side, start in ((-1, self._road_left - edge), (1, self._road_right + edge)):
                offset = 0.3 + phase * 0.5
                while offset < 7:
                    x, y = camera.project(start + side * offset, 0, z)
                    if -20 < x < self.width + 20:
                        if self._grass:
                            canvas.polygon(
                                [(x - 0.18 * k, y), (x + 0.18 * k, y), (x + 0.05 * k, y - 0.22 * k)],
                                dark,
                                detail=y - 0.22 * k < self._centre[1],
                            )
                        else:
                            canvas.ellipse((x, y), 0.2 * k, 0.08 * k, light, detail=True)
                    offset += 1.1

    def _grade(self, rgb: np.ndarray, t: float) -> np.ndarray:
        image = rgb.astype(np.float32)
        if self._haze:
            rows = np.abs(np.arange(self.height) - self._centre[1]) * 240 / self.height
            veil = (np.clip(1 - rows / 110, 0, 1) * self._haze)[:, None, None].astype(np.float32)
            image = image * (1 - veil) + np.array(self._sky[1], np.float32) * veil
        r = np.random.default_rng([self.seed, 2, int(round(t * 1000))])
        if self._weather in ("rain", "snow"):
            unit = self.height / 240
            drops = np.zeros(image.shape[:2], np.uint8)
            for x, y in r.uniform(0, 1, (45, 2)) * (self.width, self.height):
                a = (int(x), int(y))
                if self._weather == "rain":
                    cv2.line(drops, a, (int(x - 2 * unit), int(y + 10 * unit)), 70, 1, cv2.LINE_AA)
                else:
                    cv2.circle(drops, a, max(1, round(1.4 * unit)), 150, -1, cv2.LINE_AA)
            share = drops[:, :, None].astype(np.float32) / 255
            image = image * (1 - share) + 245 * share
        image *= (self._gain * self._tint).astype(np.float32)
        if self._grain > 0.5:
            noise = r.standard_normal(image.shape[:2], dtype=np.float32)
            image += noise[:, :, None] * np.float32(self._grain)
        return np.clip(image, 0, 255).astype(np.uint8)


def scene(seed: int) -> RenderedFrame:
    """Render the one image that stands for a seed in training and evaluation: within the first 20 s of its drive."""
    return World(seed).render(float(np.random.default_rng([seed, 3]).uniform(0, 20)))


def held_out_scene(index: int) -> RenderedFrame:
    """Render scene ``index`` (from 0) of those that training never sees."""
    return scene(HELD_OUT_SEED + index)


def _leaf(r: np.random.Generator) -> Colour:
    return hsv(r.uniform(110, 155), r.uniform(0.5, 0.85), r.uniform(0.26, 0.5))


def _tree(r: np.random.Generator, owner: int, x: float, z: float) -> Item:
    blobs = [
        (float(a), float(b), float(c), float(d))
        for a, b, c, d in zip(
            r.uniform(-1, 1, 6),
            r.uniform(-1, 1, 6),
            r.uniform(0.5, 0.75, 6),
            r.uniform(0.8, 1.2, 6),
            strict=True,
        )
    ]
    return Item(
        "tree",
        owner,
        x,
        z,
        looks={
            "height": r.uniform(4.0, 6.5),
            "crown": r.uniform(1.2, 1.9),
            "colour": _leaf(r),
            "conifer": r.random() < 0.25,
            "blobs": blobs,
        },
    )


def _buildings(r: np.random.Generator, owner: Any, x: float, z: float, length: float) -> list[Item]:
    items, end = [], z + length
    while z < end - 3:
        part = min(r.uniform(7, 11), end - z)
        items.append(
            Item(
                "building",
                owner(),
                x,
                z,
                0,
                part - (1.0 if r.random() < 0.3 else 0.0),
                {
                    "height": r.uniform(5, 13),
                    "depth": r.uniform(6, 10),
                    "window": (r.uniform(0.9, 1.3), r.uniform(0.8, 1.3)),
                    "colour": hsv(
                        r.choice([r.uniform(20, 60), r.uniform(180, 230), r.uniform(310, 350)]),
                        r.uniform(0.08, 0.38),
                        r.uniform(0.68, 0.95),
                    ),
                    "glass": hsv(r.uniform(205, 235), r.uniform(0.35, 0.65), r.uniform(0.3, 0.55)),
                    "roof": hsv(r.uniform(0, 30), r.uniform(0.2, 0.5), r.uniform(0.35, 0.5)),
                },
            )
        )
        z += part
    return items


def _barrier(r: np.random.Generator, kind: str, owner: int, x: float, z: float, length: float) -> Item:
    start = z + (r.uniform(0, 4) if r.random() < 0.4 else 0)
    if kind == "wall":
        looks = {
            "height": r.uniform(2.6, 3.4),
            "colour": hsv(r.uniform(2, 22), r.uniform(0.5, 0.72), r.uniform(0.42, 0.64)),
            "mortar": hsv(35, r.uniform(0.05, 0.2), r.uniform(0.75, 0.92)),
        }
    else:
        white = r.random() < 0.6
        looks = {
            "height": r.uniform(1.9, 2.4),
            "pitch": r.uniform(0.42, 0.6),
            "colour": hsv(45, r.uniform(0, 0.1), r.uniform(0.9, 1))
            if white
            else hsv(r.uniform(28, 40), r.uniform(0.4, 0.6), r.uniform(0.7, 0.85)),
        }
    return Item(kind, owner, x, start, 0, z + length - start, looks)


def _street_furniture(r: np.random.Generator, kind: str, owner: int, x: float, z: float, inward: int) -> Item:
    looks: dict[str, Any] = {
        "thickness": r.uniform(0.34, 0.44),
        "metal": hsv(r.uniform(160, 220), r.uniform(0.05, 0.3), r.uniform(0.32, 0.6)),
    }
    if kind == "lamp":
        looks |= {"height": r.uniform(4.2, 5.2), "arm": inward * r.uniform(0.9, 1.4)}
    elif kind == "traffic light":
        looks |= {
            "height": r.uniform(3.0, 3.6),
            "state": int(r.integers(3)),
            "rim": (250, 250, 245) if r.random() < 0.5 else (250, 200, 30),
        }
    else:
        looks |= {"height": r.uniform(2.6, 3.2), "shape": int(r.integers(5)), "radius": r.uniform(0.75, 0.95)}
    return Item(kind, owner, x, z, looks=looks)


def _skin(r: np.random.Generator) -> Colour:
    return hsv(r.uniform(18, 30), r.uniform(0.3, 0.6), r.uniform(0.45, 0.95))


def _person(r: np.random.Generator, owner: int, x: float, z: float, speed: float) -> Item:
    hue = r.choice([r.uniform(0, 30), r.uniform(190, 360)])
    return Item(
        "person",
        owner,
        x,
        z,
        speed,
        looks={
            "height": r.uniform(1.95, 2.25) if r.random() < 0.85 else r.uniform(1.6, 1.8),
            "phase": r.uniform(-1.5, 1.5),
            "shirt": hsv(hue, r.uniform(0.55, 0.95), r.uniform(0.5, 0.9)),
            "trousers": hsv(r.uniform(200, 260), r.uniform(0.2, 0.5), r.uniform(0.15, 0.35)),
            "skin": _skin(r),
            "hair": hsv(r.uniform(15, 40), r.uniform(0.3, 0.7), r.uniform(0.1, 0.4)),
        },
    )


def _two_wheeler(
    r: np.random.Generator, kind: str, owner: int, x: float, z: float, ridden: bool, speed: float
) -> Item:
    if kind == "bicycle":
        colour = hsv(
            r.choice([r.uniform(0, 12), r.uniform(170, 215), r.uniform(290, 330)]),
            r.uniform(0.7, 1),
            r.uniform(0.7, 0.95),
        )
    else:
        colour = hsv(
            r.choice([r.uniform(0, 20), r.uniform(215, 250)]), r.uniform(0.6, 0.95), r.uniform(0.35, 0.7)
        )
    vest = hsv(r.uniform(62, 80), r.uniform(0.75, 0.95), r.uniform(0.88, 1))
    if r.random() < 0.3:
        vest = hsv(r.uniform(22, 32), r.uniform(0.85, 1), 1)
    rider = {
        "shirt": vest,
        "trousers": hsv(r.uniform(200, 260), r.uniform(0.2, 0.5), r.uniform(0.15, 0.35)),
        "skin": _skin(r),
        "helmet": hsv(r.choice([0, 210]), r.choice([0.0, 0.85]), r.uniform(0.85, 1)),
        "phase": 0.0,
    }
    return Item(
        kind,
        owner,
        x,
        z,
        speed,
        looks={
            "colour": colour,
            "squash": r.uniform(0.75, 1.0) if not ridden else r.uniform(0.6, 0.95),
            "flip": int(r.choice([-1, 1])),
            "ridden": ridden,
            "rider": rider,
        },
    )


def _vehicle(
    r: np.random.Generator, kind: str, owner: int, x: float, z: float, away: bool, speed: float
) -> Item:
    if kind in ("bicycle", "motorcycle"):
        return _two_wheeler(r, kind, owner, x + r.uniform(-0.5, 0.5), z, True, speed)
    length = _LENGTHS[kind]
    looks: dict[str, Any] = {"away": away, "width": 2.35}
    if kind == "car":
        hue, plain = r.choice([r.uniform(0, 15), r.uniform(95, 250), r.uniform(280, 360)]), r.random() < 0.35
        looks |= {
            "width": r.uniform(1.75, 1.95),
            "height": r.uniform(1.4, 1.6),
            "cabin": (0.18, 0.84),
            "colour": hsv(0, 0, r.choice([0.12, 0.5, 0.7, 0.92]))
            if plain
            else hsv(hue, r.uniform(0.6, 0.95), r.uniform(0.45, 0.9)),
        }
    elif kind == "truck":
        looks |= {
            "height": r.uniform(3.0, 3.4),
            "cargo": hsv(r.uniform(0, 360), r.uniform(0, 0.12), r.uniform(0.82, 0.96)),
            "stripe": hsv(
                r.choice([r.uniform(345, 365), r.uniform(210, 235)]),
                r.uniform(0.7, 0.95),
                r.uniform(0.55, 0.85),
            ),
            "colour": hsv(
                r.choice([r.uniform(345, 370), r.uniform(205, 240)]),
                r.uniform(0.7, 0.95),
                r.uniform(0.5, 0.85),
            ),
        }
    elif kind == "bus":
        looks |= {
            "height": r.uniform(2.8, 3.1),
            "colour": hsv(r.uniform(32, 52), r.uniform(0.75, 0.95), r.uniform(0.85, 1)),
            "trim": hsv(r.uniform(0, 15), r.uniform(0.7, 0.9), r.uniform(0.6, 0.85)),
        }
    else:
        looks |= {
            "height": r.uniform(3.1, 3.4),
            "colour": hsv(r.uniform(155, 200), r.uniform(0.6, 0.9), r.uniform(0.28, 0.5)),
            "cream": hsv(r.uniform(42, 55), r.uniform(0.15, 0.3), r.uniform(0.88, 0.98)),
        }
    return Item(kind, owner, x, z, speed, length, looks)
