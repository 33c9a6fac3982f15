"""Seeded street scenes with exact labels, and drives through them.

``World(seed).render(t)`` shows the street at ``t`` seconds. The street is made of slots of a few metres along the
road; what stands in a slot depends on the seed and the slot's number alone, so a drive never ends and does not
depend on which frames were rendered before. Moving objects are placed so that they meet the camera near their slot.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from math import floor, sin

import cv2
import numpy as np

from activesam_ros.toytown import CLASS_ID, THINGS, VOID, scenery
from activesam_ros.toytown import road_users as users
from activesam_ros.toytown.canvas import NEAR, Camera, Canvas, Item, Rng, shade, tone

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
"""An object of fewer visible pixels than this (of 320 x 240) is left out; what cannot be left out becomes void."""
_LONG = frozenset({"building", "wall", "fence", "hedge"})
_KINDS_AT_CURB = (None, "lamp", "traffic light", "traffic sign")
_VEHICLES = (None, "car", "truck", "bus", "bicycle", "motorcycle")
_DRAW: dict[str, Callable[[Canvas, Item], None]] = {
    "car": users.draw_car,
    "truck": users.draw_truck,
    "bus": users.draw_bus,
    "train": users.draw_train,
    "person": users.draw_person,
    "bicycle": users.draw_two_wheeler,
    "motorcycle": users.draw_two_wheeler,
    "lamp": scenery.draw_lamp,
    "traffic light": scenery.draw_traffic_light,
    "traffic sign": scenery.draw_traffic_sign,
    "tree": scenery.draw_tree,
    "hedge": scenery.draw_hedge,
    "building": scenery.draw_building,
    "wall": scenery.draw_wall,
    "fence": scenery.draw_fence,
}


@dataclass(frozen=True)
class RenderedFrame:
    """A rendered image with its ground truth.

    ``rgb`` is uint8 [H, W, 3]; ``labels`` uint8 [H, W] holds class indices and 255 for void; ``instances`` uint16
    [H, W] holds one positive number per visible thing and 0 elsewhere, the same along a drive. ``depth`` float32 [H, W]
    is z in metres, infinite in the sky; None unless it was asked for.
    """

    rgb: np.ndarray
    labels: np.ndarray
    instances: np.ndarray
    depth: np.ndarray | None = None


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

    def _paint(self, r: Rng) -> None:
        self._road = tone(r, (200, 280), (0, 0.1), (0.3, 0.46))
        self._slabs = tone(r, (15, 50), (0.05, 0.28), (0.72, 0.88))
        self._grass = r.random() < 0.72
        if self._grass:
            self._soil = tone(r, (68, 95), (0.45, 0.7), (0.55, 0.78))
        else:
            self._soil = tone(r, (25, 38), (0.4, 0.6), (0.42, 0.6))
        self._weather = str(
            r.choice(["sun", "overcast", "dusk", "rain", "fog", "snow"], p=[0.4, 0.22, 0.14, 0.1, 0.08, 0.06])
        )
        if self._weather == "sun":
            self._sky = (tone(r, (200, 220), (0.4, 0.7), (0.85, 1.0)), tone(r, (195, 215), (0.1, 0.3), 1.0))
        elif self._weather == "dusk":
            self._sky = (
                tone(r, (235, 275), (0.3, 0.5), (0.55, 0.75)),
                tone(r, (12, 38), (0.35, 0.6), (0.9, 1.0)),
            )
        else:
            self._sky = (tone(r, 215, (0, 0.1), (0.66, 0.82)), tone(r, 215, (0, 0.08), (0.8, 0.95)))
        self._clouds = [
            (r.uniform(0, 1), r.uniform(0.1, 0.8), r.uniform(8, 20)) for _ in range(int(r.integers(0, 5)))
        ]
        self._gain = r.uniform(0.85, 1.12) * {"dusk": 0.85, "rain": 0.9}.get(self._weather, 1.0)
        self._tint = r.uniform(0.95, 1.05, 3)
        self._grain = r.uniform(0, 5)
        self._haze = {"fog": r.uniform(0.35, 0.55), "rain": 0.15, "snow": 0.2}.get(self._weather, 0.0)

    def camera(self, t: float) -> Camera:
        """Return the camera at ``t`` seconds; it drives at a steady pace and sways a little in its lane."""
        x, z = 0.25 * sin(0.35 * t + self._sway), self._speed * t
        return Camera(self.width, self.height, self._focal, self._centre, x, self._eye, z)

    def render(self, t: float = 0.0, measured: bool = False) -> RenderedFrame:
        """Render the street at ``t`` seconds (``t`` >= 0). Equal seeds, sizes and times give equal frames.

        Args:
            t: time of the drive.
            measured: whether depth is asked for. The ground is a plane; vehicles, buildings, walls, fences and posts
                are made of plane faces; people, two-wheelers, trees, plates and lamps stand upright, flat, facing the
                camera, where their foot is.
        """
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
        canvas = self._draw(camera, items, measured=measured)
        areas = np.bincount(canvas.parts.ravel(), minlength=len(canvas.part_class))
        classes = np.array(canvas.part_class, np.uint8)
        totals = np.bincount(classes[canvas.parts.ravel()], minlength=256)
        thing = np.isin(classes, list(THINGS))
        classes[(totals[classes] < smallest) | (thing & (areas < smallest))] = VOID
        owners = np.array(canvas.part_owner, np.int64)
        numbers = np.where(thing & (classes != VOID), owners, 0).astype(np.uint16)
        return RenderedFrame(
            self._grade(canvas.rgb, t), classes[canvas.parts], numbers[canvas.parts], canvas.depth
        )

    @staticmethod
    def _too_small(canvas: Canvas, items: list[Item], smallest: float) -> set[int]:
        """Return the owners of objects of which too little shows; a rider goes together with the two-wheeler."""
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
        """List the items in sight, far to near."""
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
        slot = _Slot(self.seed, number)
        r = slot.r
        if self._road_right > 3:
            kind = _VEHICLES[r.choice(len(_VEHICLES), p=[0.30, 0.24, 0.14, 0.14, 0.1, 0.08])]
            slot.add_vehicle(kind, 2.95, True, self._flow_right)
        plain, with_trams = (
            [0.34, 0.21, 0.14, 0.14, 0.09, 0.08, 0.0],
            [0.34, 0.07, 0.06, 0.06, 0.05, 0.05, 0.37],
        )
        shares = with_trams if self._has_trams else plain
        slot.add_vehicle((*_VEHICLES, "train")[r.choice(len(shares), p=shares)], -2.9, False, self._flow_left)
        for sign, edge in ((-1, self._road_left), (1, self._road_right)):
            self._line_curb(slot, sign, edge)
            if number % 2 == 0:
                self._line_street(slot, sign, edge)
        return slot.items

    def _line_curb(self, slot: "_Slot", sign: int, edge: float) -> None:
        """Add street furniture, people and parked two-wheelers along one edge of the road."""
        r, z, items = slot.r, slot.z, slot.items
        furniture = _KINDS_AT_CURB[r.choice(4, p=[0.42, 0.16, 0.21, 0.21])]
        if furniture:
            owner, x = slot.next_owner(), edge + sign * r.uniform(0.5, 0.8)
            items.append(scenery.make_furniture(r, furniture, owner, x, z + r.uniform(0, 3), -sign))
        strip = max(self._sidewalk or self._verge, 1.4)
        for spot in [z + 1.5 + r.uniform(0, 1.5), z + 5 + r.uniform(0, 2.5)]:
            x = edge + sign * r.uniform(0.9, strip - 0.2)
            choice = r.random()
            if choice < 0.26:
                speed = r.choice([-1, 1]) * r.uniform(0.4, 1.0) if r.random() < 0.6 else 0.0
                items.append(users.make_person(r, slot.next_owner(), x, spot, speed))
            elif choice < 0.46:
                kind, x = "bicycle" if choice < 0.36 else "motorcycle", edge + sign * 1.1
                items.append(users.make_two_wheeler(r, kind, slot.next_owner(), x, spot, False, 0.0))

    def _line_street(self, slot: "_Slot", sign: int, edge: float) -> None:
        """Add what lines the street, for two slots at a time, so that walls and fences are long."""
        r, z, items, length, owner = slot.r, slot.z, slot.items, 2 * SLOT, slot.next_owner
        line = edge + sign * (self._sidewalk + self._verge + 0.3)
        kind = str(r.choice(["building", "wall", "fence", "green", "open"], p=[0.42, 0.18, 0.18, 0.16, 0.06]))
        if self._background < 0.12 and kind == "building":
            kind = "green"
        if kind == "building":
            items.extend(scenery.make_buildings(r, owner, line + sign * 0.3, z, length))
            return
        if kind in ("wall", "fence"):
            items.append(scenery.make_barrier(r, kind, owner(), line, z, length))
        if kind == "green":
            items.append(scenery.make_hedge(r, owner(), line + sign * 0.6, z, length))
        behind = line + sign * r.uniform(2.0, 3.0)
        if self._background > 0.12 and r.random() < 0.45:
            items.extend(scenery.make_buildings(r, owner, line + sign * 3.5, z, length))
            return
        spots, share = [z + r.uniform(at, at + 3) for at in (1, 7, 13)], 0.85 if kind == "green" else 0.35
        items.extend(scenery.make_tree(r, owner(), behind, spot) for spot in spots if r.random() < share)

    # ------------------------------------------------------------------ how it is drawn

    def _draw(
        self, camera: Camera, items: list[Item], coloured: bool = True, measured: bool = False
    ) -> Canvas:
        canvas = Canvas(camera, coloured, measured)
        self._draw_sky(canvas)
        self._draw_ground(canvas)
        for item in items:
            canvas.stand(item.z)
            _DRAW[item.kind](canvas, item)
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
                at = (x * self.width + dx * size * unit, y * horizon * 0.8 + dy * size * unit)
                canvas.ellipse(at, size * k * unit, size * k * 0.6 * unit, cloud, detail=True)
        paved = self._verge == 0
        canvas.begin(CLASS_ID["sidewalk" if paved else "terrain"])
        canvas.rgb[horizon:] = np.array(self._slabs if paved else self._soil).astype(np.uint8)
        canvas.parts[horizon:] = len(canvas.part_class) - 1
        canvas.measure_ground(horizon)

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
        """Draw blades of grass or stones, fixed to the ground, so that terrain has a texture of its own."""
        camera = canvas.camera
        canvas.begin(CLASS_ID["terrain"])
        edge = self._sidewalk
        dark, light = shade(self._soil, 0.72), shade(self._soil, 1.22)
        for step in range(16, 1, -1):
            z = (floor(camera.z / 1.3) + step) * 1.3
            if z < camera.z + 2:
                continue
            canvas.stand(z)
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
        r = np.random.default_rng([self.seed, 2, round(float(t * 1000))])
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


class _Slot:
    """The items of a slot while it is filled, with random numbers and object numbers of its own."""

    def __init__(self, seed: int, number: int) -> None:
        self.r = np.random.default_rng([seed, 1, number + 1_000_000])
        self.z = number * SLOT
        self.items: list[Item] = []
        self._owner = 2 + 2 * (number % 700) * 40

    def next_owner(self) -> int:
        """Return the next object number; the odd ones are for riders."""
        self._owner += 2
        return self._owner

    def add_vehicle(self, kind: str | None, x: float, away: bool, speed: float) -> None:
        """Add a vehicle somewhere along the slot; None adds nothing."""
        if kind:
            owner = self.next_owner()
            z = self.z + self.r.uniform(0, max(SLOT - users.LENGTHS[kind] - 0.8, 0.1))
            self.items.append(users.make_vehicle(self.r, kind, owner, x, z, away, speed))


def scene(seed: int) -> RenderedFrame:
    """Render the one image that stands for a seed in training and evaluation: within the first 20 s of its drive."""
    return World(seed).render(float(np.random.default_rng([seed, 3]).uniform(0, 20)))


def held_out_scene(index: int) -> RenderedFrame:
    """Render scene ``index`` (from 0) of those that training never sees."""
    return scene(HELD_OUT_SEED + index)
