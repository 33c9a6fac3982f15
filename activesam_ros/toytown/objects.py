"""How each kind of thing in Toy Town looks.

Every function draws one `Item` onto a `Canvas`. Looks are chunky on purpose: the world is for a very small
model at 192 pixels, so each class has a shape and a family of colours of its own.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import cos, pi, sin
from typing import Any

from activesam_ros.toytown import CLASS_ID
from activesam_ros.toytown.canvas import NEAR, Canvas, Colour, shade

_DARK: Colour = (26, 26, 30)
_GLASS: Colour = (58, 74, 96)


@dataclass(frozen=True)
class Item:
    """One object: what it is, where its near end stands (metres), how it moves (metres per second), its
    looks.
    """

    kind: str
    owner: int
    x: float
    z: float
    speed: float = 0.0
    length: float = 0.0
    looks: dict[str, Any] = field(default_factory=dict)

    def moved(self, dz: float) -> "Item":
        """The same item, shifted along the street."""
        return replace(self, z=self.z + dz)

    def __getitem__(self, name: str) -> Any:
        return self.looks[name]


def _box(
    canvas: Canvas, x: float, width: float, z0: float, z1: float, y0: float, y1: float, colour: Colour
) -> float | None:
    """Draw a box; returns the x of the side that faces the camera, None if neither does."""
    camera, half = canvas.camera, width / 2
    if z1 < camera.z + NEAR:
        return None
    near_side = x - half if x - half > camera.x else x + half if x + half < camera.x else None
    if y1 < camera.y:
        start = max(z0, camera.z + NEAR)
        canvas.face(
            [(x - half, y1, start), (x + half, y1, start), (x + half, y1, z1), (x - half, y1, z1)],
            shade(colour, 1.12),
        )
    if near_side is not None:
        canvas.side(near_side, z0, z1, y0, y1, shade(colour, 0.8))
    canvas.front(z0, x - half, x + half, y0, y1, colour)
    return near_side


def _wheels(
    canvas: Canvas, item: Item, width: float, side: float | None, offsets: tuple[float, ...], radius: float
) -> None:
    camera = canvas.camera
    for offset in offsets:
        z = item.z + offset
        if side is not None and z - radius > camera.z + NEAR:
            rim = [(side, radius * (1 + sin(i * pi / 6)), z + radius * cos(i * pi / 6)) for i in range(12)]
            hub = [
                (side, radius * (1 + 0.45 * sin(i * pi / 4)), z + 0.45 * radius * cos(i * pi / 4))
                for i in range(8)
            ]
            canvas.face(rim, _DARK)
            canvas.face(hub, (165, 165, 170), detail=True)
    for sign in (-1, 1):
        outer = item.x + sign * width / 2
        canvas.front(
            item.z - 0.01,
            min(outer, outer - sign * 0.3),
            max(outer, outer - sign * 0.3),
            0,
            radius * 1.2,
            _DARK,
        )


def _lamps(canvas: Canvas, item: Item, width: float, y: float, size: float) -> None:
    colour = (235, 30, 30) if item["away"] else (255, 248, 200)
    for sign in (-1, 1):
        outer = item.x + sign * (width / 2 - 0.08)
        canvas.front(
            item.z - 0.02,
            min(outer, outer - sign * size),
            max(outer, outer - sign * size),
            y,
            y + size * 0.6,
            colour,
            detail=True,
        )


def _shadow(canvas: Canvas, item: Item, width: float) -> None:
    canvas.darken_ground(
        item.x - width / 2 - 0.2, item.x + width / 2 + 0.2, item.z - 0.25, item.z + item.length + 0.2, 0.6
    )


def draw_car(canvas: Canvas, item: Item) -> None:
    """A low body in any colour with a glazed cabin on top."""
    camera, x, z, length, width, height = (
        canvas.camera,
        item.x,
        item.z,
        item.length,
        item["width"],
        item["height"],
    )
    colour: Colour = item["colour"]
    _shadow(canvas, item, width)
    canvas.begin(CLASS_ID["car"], item.owner)
    waist = 0.56 * height
    side = _box(canvas, x, width, z, z + length, 0.22, waist, colour)
    back, front = z + item["cabin"][0] * length, z + item["cabin"][1] * length
    half, roof = width / 2, width / 2 * 0.8
    near = camera.z + NEAR
    if front > near + 0.4:
        foot0, roof0, roof1 = max(back, near), max(back + 0.35, near + 0.05), max(front - 0.35, near + 0.1)
        if side is not None:
            s = -1 if side < x else 1
            canvas.face(
                [
                    (x + s * half, waist, foot0),
                    (x + s * half, waist, front),
                    (x + s * roof, height, roof1),
                    (x + s * roof, height, roof0),
                ],
                shade(colour, 0.75),
            )
            canvas.face(
                [
                    (x + s * half * 0.98, waist + 0.04, foot0 + 0.25),
                    (x + s * half * 0.98, waist + 0.04, front - 0.25),
                    (x + s * roof, height - 0.1, roof1 - 0.1),
                    (x + s * roof, height - 0.1, roof0 + 0.1),
                ],
                _GLASS,
                detail=True,
            )
        if back > near:
            canvas.face(
                [
                    (x - half, waist, back),
                    (x + half, waist, back),
                    (x + roof, height, roof0),
                    (x - roof, height, roof0),
                ],
                colour,
            )
            canvas.face(
                [
                    (x - half * 0.85, waist + 0.05, back),
                    (x + half * 0.85, waist + 0.05, back),
                    (x + roof * 0.88, height - 0.1, roof0),
                    (x - roof * 0.88, height - 0.1, roof0),
                ],
                _GLASS,
                detail=True,
            )
        if height < camera.y:
            canvas.face(
                [
                    (x - roof, height, roof0),
                    (x + roof, height, roof0),
                    (x + roof, height, roof1),
                    (x - roof, height, roof1),
                ],
                shade(colour, 1.15),
            )
    _wheels(canvas, item, width, side, (0.2 * length, 0.8 * length), 0.36)
    _lamps(canvas, item, width, waist * 0.62, 0.36)
    canvas.front(z - 0.02, x - 0.3, x + 0.3, 0.34, 0.5, (240, 240, 225), detail=True)


def draw_truck(canvas: Canvas, item: Item) -> None:
    """A pale cargo box with a diagonal stripe and hazard chevrons, and a cab of another colour."""
    x, z, length, width, height = item.x, item.z, item.length, item["width"], item["height"]
    half, cab, cab_height = width / 2, 1.7, 2.3
    _shadow(canvas, item, width)
    canvas.begin(CLASS_ID["truck"], item.owner)
    cargo0, cargo1 = (z, z + length - cab - 0.15) if item["away"] else (z + cab + 0.15, z + length)
    cab0 = z + length - cab if item["away"] else z

    def draw_cargo() -> float | None:
        _box(canvas, x, width * 0.9, z, z + length, 0.35, 0.8, (50, 50, 54))
        side = _box(canvas, x, width, cargo0, cargo1, 0.75, height, item["cargo"])
        near = canvas.camera.z + NEAR
        if side is not None and cargo0 > near:
            a, b, low, high = cargo0, cargo1, 0.8, height - 0.05
            for shift in (0.15, 0.55):
                canvas.face(
                    [
                        (side, low, a + shift * (b - a)),
                        (side, low, a + (shift + 0.2) * (b - a)),
                        (side, high, a + (shift + 0.3) * (b - a)),
                        (side, high, a + (shift + 0.1) * (b - a)),
                    ],
                    item["stripe"],
                    detail=True,
                )
        if item["away"]:
            canvas.front(z - 0.01, x - half, x + half, 0.75, 1.25, (225, 40, 35), detail=True)
            for i in range(4):
                a = x - half + i * width / 4
                if z > near:
                    canvas.face(
                        [
                            (a, 0.75, z),
                            (a + width / 8, 0.75, z),
                            (a + width / 4, 1.25, z),
                            (a + width / 8, 1.25, z),
                        ],
                        (250, 250, 245),
                        detail=True,
                    )
            canvas.front(
                z - 0.01, x - 0.06, x + 0.06, 1.3, height - 0.1, shade(item["cargo"], 0.55), detail=True
            )
            for sign in (-1, 1):
                canvas.front(
                    z - 0.01,
                    x + sign * half * 0.5 - half * 0.28,
                    x + sign * half * 0.5 + half * 0.28,
                    1.55,
                    height - 0.35,
                    item["stripe"],
                    detail=True,
                )
        return side

    def draw_cab() -> float | None:
        side = _box(canvas, x, width * 0.94, cab0, cab0 + cab, 0.35, cab_height, item["colour"])
        if side is not None:
            canvas.side(side, cab0 + 0.25, cab0 + cab - 0.4, 1.3, 2.05, _GLASS, detail=True)
        if not item["away"]:
            canvas.front(z - 0.01, x - half * 0.82, x + half * 0.82, 1.35, 2.1, _GLASS, detail=True)
            canvas.front(z - 0.01, x - half * 0.6, x + half * 0.6, 0.55, 0.95, (70, 70, 74), detail=True)
        return side

    if item["away"]:
        draw_cab()
        side = draw_cargo()
    else:
        draw_cargo()
        side = draw_cab()
    _wheels(canvas, item, width, side, (0.9, length - 1.0), 0.52)
    _lamps(canvas, item, width, 0.45, 0.4)


def draw_bus(canvas: Canvas, item: Item) -> None:
    """A long warm-coloured body with a band of windows all around and a lit destination sign."""
    x, z, length, width, height = item.x, item.z, item.length, item["width"], item["height"]
    half, colour = width / 2, item["colour"]
    _shadow(canvas, item, width)
    canvas.begin(CLASS_ID["bus"], item.owner)
    side = _box(canvas, x, width, z, z + length, 0.3, height, colour)
    low, high = height * 0.46, height * 0.8
    if side is not None:
        canvas.side(side, z, z + length, 0.75, 0.95, item["trim"], detail=True)
        start = z + 0.4
        while start + 1.0 < z + length - 0.1:
            canvas.side(side, start, start + 1.0, low, high, _GLASS, detail=True)
            start += 1.25
    canvas.front(z - 0.01, x - half * 0.88, x + half * 0.88, low * 0.95, high, _GLASS, detail=True)
    canvas.front(
        z - 0.02, x - half * 0.7, x + half * 0.7, height * 0.83, height * 0.96, (28, 28, 28), detail=True
    )
    canvas.front(
        z - 0.03, x - half * 0.55, x + half * 0.55, height * 0.86, height * 0.93, (255, 190, 40), detail=True
    )
    canvas.front(z - 0.01, x - half, x + half, 0.75, 0.95, item["trim"], detail=True)
    _wheels(canvas, item, width, side, (1.5, length - 1.6), 0.5)
    _lamps(canvas, item, width, 0.45, 0.42)


def draw_train(canvas: Canvas, item: Item) -> None:
    """A tram: dark skirt in a cool colour, cream above, one long window and a pantograph on the roof."""
    camera, x, z, length, width, height = (
        canvas.camera,
        item.x,
        item.z,
        item.length,
        item["width"],
        item["height"],
    )
    half, colour = width / 2, item["colour"]
    canvas.begin(CLASS_ID["train"], item.owner)
    middle = z + length * 0.4
    if middle > camera.z + NEAR:
        k = camera.scale(middle)
        top, joint = camera.project(x, height + 1.1, middle), camera.project(x - 0.5, height + 0.55, middle)
        canvas.bar(camera.project(x, height - 0.05, middle), joint, 0.16 * k, (60, 60, 66))
        canvas.bar(joint, top, 0.16 * k, (60, 60, 66))
        canvas.bar((top[0] - 0.9 * k, top[1]), (top[0] + 0.9 * k, top[1]), 0.18 * k, (60, 60, 66))
    side = _box(canvas, x, width, z, z + length, 0.2, height, item["cream"])
    waist = height * 0.45
    if side is not None:
        canvas.side(side, z, z + length, 0.2, waist, shade(colour, 0.85), detail=True)
        canvas.side(side, z + 0.3, z + length - 0.3, waist + 0.1, height * 0.82, (34, 38, 48), detail=True)
        for offset in (0.3, 0.7):
            canvas.side(
                side,
                z + offset * length - 0.45,
                z + offset * length + 0.45,
                0.35,
                height * 0.82,
                shade(item["cream"], 0.9),
                detail=True,
            )
    canvas.front(z - 0.01, x - half, x + half, 0.2, waist, colour, detail=True)
    canvas.front(
        z - 0.01, x - half * 0.85, x + half * 0.85, waist + 0.1, height * 0.86, (34, 38, 48), detail=True
    )
    if z > camera.z + NEAR:
        k = camera.scale(z)
        canvas.ellipse(camera.project(x, waist * 0.65, z), 0.26 * k, 0.26 * k, (255, 250, 215), detail=True)


def _figure(canvas: Canvas, foot: tuple[float, float], height: float, item: Item, seated: bool) -> None:
    """A toy figure of the height in pixels with a big head, standing at ``foot`` or sitting above it."""
    x, y = foot
    h = height
    if not seated:
        swing = 0.1 * h * sin(item["phase"])
        for sign in (-1, 1):
            canvas.bar(
                (x + sign * 0.08 * h, y - 0.45 * h),
                (x + sign * (0.09 * h + swing), y),
                0.15 * h,
                item["trousers"],
            )
    wide = 0.2 * h
    canvas.polygon(
        [
            (x - wide * 0.85, y - 0.76 * h),
            (x + wide * 0.85, y - 0.76 * h),
            (x + wide, y - 0.38 * h),
            (x - wide, y - 0.38 * h),
        ],
        item["shirt"],
    )
    if not seated:
        for sign in (-1, 1):
            canvas.bar(
                (x + sign * wide * 0.95, y - 0.73 * h),
                (x + sign * wide * 1.3, y - 0.42 * h),
                0.09 * h,
                shade(item["shirt"], 0.8),
            )
    canvas.ellipse((x, y - 0.86 * h), 0.125 * h, 0.14 * h, item["skin"])


def draw_person(canvas: Canvas, item: Item) -> None:
    """A toy figure on foot: bare head with hair, plain clothes in any colour."""
    camera = canvas.camera
    foot, height = camera.project(item.x, 0, item.z), item["height"] * camera.scale(item.z)
    canvas.begin(CLASS_ID["person"], item.owner)
    _figure(canvas, foot, height, item, seated=False)
    canvas.ellipse((foot[0], foot[1] - 0.95 * height), 0.125 * height, 0.075 * height, item["hair"])


def _bicycle(canvas: Canvas, item: Item, k: float, squash: float) -> None:
    x, y = canvas.camera.project(item.x, 0, item.z)
    radius, reach, flip = 0.46 * k, 0.62 * k * squash, item["flip"]
    for sign in (-1, 1):
        at = (x + sign * reach, y - radius)
        canvas.ellipse(at, radius * squash, radius, _DARK)
        canvas.ellipse(at, radius * squash * 0.68, radius * 0.68, (206, 220, 226), detail=True)
        canvas.ellipse(at, radius * squash * 0.2, radius * 0.2, _DARK, detail=True)
    width, colour = 0.15 * k, item["colour"]
    hub_b, hub_f = (x - flip * reach, y - radius), (x + flip * reach, y - radius)
    seat, bars = (x - flip * 0.28 * k * squash, y - 1.0 * k), (x + flip * 0.45 * k * squash, y - 1.08 * k)
    pedal = (x, y - 0.42 * k)
    for a, b in ((hub_b, pedal), (pedal, seat), (seat, bars), (pedal, bars), (hub_f, bars), (hub_b, seat)):
        canvas.bar(a, b, width, colour)
    canvas.bar((seat[0] - 0.18 * k, seat[1]), (seat[0] + 0.18 * k, seat[1]), 0.14 * k, _DARK)
    canvas.bar(bars, (bars[0] + flip * 0.18 * k, bars[1] - 0.14 * k), 0.12 * k, _DARK)


def _motorcycle(canvas: Canvas, item: Item, k: float, squash: float) -> None:
    x, y = canvas.camera.project(item.x, 0, item.z)
    radius, reach, flip, colour = 0.36 * k, 0.72 * k * squash, item["flip"], item["colour"]
    for sign in (-1, 1):
        canvas.ellipse((x + sign * reach, y - radius), radius * max(squash, 0.6), radius, _DARK)
        canvas.ellipse(
            (x + sign * reach, y - radius),
            radius * 0.35 * squash,
            radius * 0.35,
            (140, 140, 146),
            detail=True,
        )

    def outline(*points: tuple[float, float]) -> list[tuple[float, float]]:
        return [(x + flip * px * k * squash, y - py * k) for px, py in points]

    canvas.polygon(
        outline(
            (-0.95, 0.62),
            (-0.85, 0.9),
            (-0.2, 0.86),
            (0.15, 1.08),
            (0.6, 1.0),
            (0.8, 0.66),
            (0.5, 0.3),
            (-0.5, 0.24),
        ),
        colour,
    )
    canvas.polygon(outline((-0.9, 0.86), (-0.85, 1.0), (-0.1, 0.98), (-0.1, 0.84)), _DARK)
    canvas.polygon(outline((-0.45, 0.3), (0.45, 0.3), (0.3, 0.62), (-0.3, 0.62)), (92, 92, 98), detail=True)
    canvas.bar(*outline((0.5, 0.9), (0.35, 1.3)), 0.14 * k, _DARK)
    canvas.ellipse(outline((0.72, 0.92))[0], 0.15 * k, 0.15 * k, (255, 244, 180))


def draw_two_wheeler(canvas: Canvas, item: Item) -> None:
    """A bicycle (thin frame, large pale wheels) or motorcycle (solid body, small dark wheels), ridden or
    parked.

    Riders wear a helmet and a high-visibility vest, and never stand on their own.
    """
    k, squash = 1.25 * canvas.camera.scale(item.z), item["squash"]
    canvas.begin(CLASS_ID[item.kind], item.owner)
    (_bicycle if item.kind == "bicycle" else _motorcycle)(canvas, item, k, squash)
    if not item["ridden"]:
        return
    rider = item["rider"]
    x, y = canvas.camera.project(item.x, 0, item.z)
    flip, h = item["flip"], 1.75 * k
    canvas.begin(CLASS_ID["rider"], item.owner + 1)
    x -= flip * 0.12 * k * squash
    base = y - 0.28 * k
    hip = (x, base - 0.4 * h)
    knee = (x + flip * 0.34 * k * squash, base - 0.26 * h)
    canvas.bar(hip, knee, 0.26 * k, rider["trousers"])
    canvas.bar(knee, (x + flip * 0.12 * k * squash, base - 0.02 * h), 0.2 * k, rider["trousers"])
    figure = replace(item, looks=rider)
    _figure(canvas, (x, base), h, figure, seated=True)
    canvas.bar(
        (x, base - 0.7 * h),
        (x + flip * 0.5 * k * squash, base - 0.5 * h),
        0.17 * k,
        shade(rider["shirt"], 0.85),
    )
    canvas.bar(
        (x - 0.19 * h, base - 0.55 * h),
        (x + 0.19 * h, base - 0.55 * h),
        0.07 * h,
        (245, 245, 240),
        detail=True,
    )
    canvas.ellipse((x, base - 0.9 * h), 0.15 * h, 0.14 * h, rider["helmet"])
    canvas.ellipse((x + flip * 0.07 * h, base - 0.86 * h), 0.07 * h, 0.06 * h, rider["skin"], detail=True)


def _post(canvas: Canvas, item: Item, height: float) -> None:
    half = item["thickness"] / 2
    canvas.begin(CLASS_ID["pole"], item.owner)
    canvas.front(item.z, item.x - half, item.x + half, 0, height, item["metal"])
    canvas.front(
        item.z, item.x - half, item.x - half * 0.3, 0, height, shade(item["metal"], 1.35), detail=True
    )
    for i in range(3):
        canvas.front(
            item.z, item.x - half, item.x + half, 0.25 + i * 0.5, 0.5 + i * 0.5, (250, 205, 30), detail=True
        )


def draw_lamp(canvas: Canvas, item: Item) -> None:
    """A thick lamp post with yellow rings at its foot and an arm with a lamp."""
    height, camera = item["height"], canvas.camera
    _post(canvas, item, height)
    k = camera.scale(item.z)
    top = camera.project(item.x, height, item.z)
    end = (top[0] + item["arm"] * k, top[1] - 0.1 * k)
    canvas.bar(top, end, 0.24 * k, item["metal"])
    canvas.ellipse(end, 0.42 * k, 0.24 * k, (255, 250, 205))


def draw_traffic_light(canvas: Canvas, item: Item) -> None:
    """A large black box with a bright rim and three lamps, one of them lit."""
    height, camera = item["height"], canvas.camera
    _post(canvas, item, height - 1.0)
    half_w, half_h = 0.5, 1.1
    canvas.begin(CLASS_ID["traffic light"], item.owner)
    x, z = item.x, item.z
    canvas.front(z, x - half_w, x + half_w, height - half_h, height + half_h, item["rim"])
    canvas.front(
        z,
        x - half_w * 0.8,
        x + half_w * 0.8,
        height - half_h * 0.91,
        height + half_h * 0.91,
        (18, 18, 20),
        detail=True,
    )
    k = camera.scale(z)
    lit = ((255, 45, 35), (255, 190, 20), (40, 240, 90))
    unlit = ((92, 26, 24), (92, 72, 20), (20, 82, 38))
    for i in range(3):
        colour = lit[i] if i == item["state"] else unlit[i]
        canvas.ellipse(
            camera.project(x, height + 0.68 - 0.68 * i, z), 0.28 * k, 0.28 * k, colour, detail=True
        )


def draw_traffic_sign(canvas: Canvas, item: Item) -> None:
    """A large red, white, blue or yellow plate in one of five shapes on a post."""
    height, camera, radius = item["height"], canvas.camera, item["radius"]
    _post(canvas, item, height - radius * 0.6)
    canvas.begin(CLASS_ID["traffic sign"], item.owner)
    k = camera.scale(item.z)
    x, y = camera.project(item.x, height, item.z)
    r = radius * k

    def ring(corners: int, start: float, size: float) -> list[tuple[float, float]]:
        return [
            (x + size * cos(start + 2 * pi * i / corners), y + size * sin(start + 2 * pi * i / corners))
            for i in range(corners)
        ]

    white, red, blue, yellow = (248, 248, 248), (215, 25, 30), (30, 80, 205), (250, 205, 30)
    shape = item["shape"]
    if shape == 0:
        canvas.ellipse((x, y), r, r, red)
        canvas.ellipse((x, y), r * 0.66, r * 0.66, white, detail=True)
    elif shape == 1:
        canvas.polygon(ring(8, pi / 8, r), red)
        canvas.bar((x - r * 0.62, y), (x + r * 0.62, y), r * 0.36, white, detail=True)
    elif shape == 2:
        canvas.polygon(ring(3, -pi / 2, r * 1.25), red)
        canvas.polygon(ring(3, -pi / 2, r * 0.72), white, detail=True)
    elif shape == 3:
        canvas.ellipse((x, y), r, r, blue)
        canvas.bar((x, y + r * 0.6), (x, y - r * 0.6), r * 0.3, white, detail=True)
    else:
        canvas.polygon(ring(4, 0, r * 1.15), white)
        canvas.polygon(ring(4, 0, r * 0.85), yellow, detail=True)


def draw_tree(canvas: Canvas, item: Item) -> None:
    """A brown trunk under a crown of mottled dark green."""
    camera = canvas.camera
    k = camera.scale(item.z)
    canvas.begin(CLASS_ID["vegetation"], item.owner)
    x, y = camera.project(item.x, 0, item.z)
    height, crown = item["height"] * k, item["crown"] * k
    canvas.polygon(
        [
            (x - 0.22 * k, y),
            (x + 0.22 * k, y),
            (x + 0.15 * k, y - 0.6 * height),
            (x - 0.15 * k, y - 0.6 * height),
        ],
        (98, 66, 40),
    )
    if item["conifer"]:
        for i in range(3):
            base, half = y - height * (0.22 + 0.22 * i), crown * (1.05 - 0.25 * i)
            canvas.polygon(
                [(x - half, base), (x + half, base), (x, base - height * 0.36)],
                shade(item["colour"], 0.8 + 0.2 * i),
            )
        return
    _foliage(canvas, item, x, y - height + crown * 0.8, crown)


def _foliage(canvas: Canvas, item: Item, x: float, y: float, size: float) -> None:
    for dx, dy, radius, tone in item["blobs"]:
        canvas.ellipse(
            (x + dx * size * 0.6, y + dy * size * 0.5),
            radius * size,
            radius * size * 0.9,
            shade(item["colour"], tone),
        )
    for dx, dy, radius, tone in item["blobs"]:
        for side in (-1, 1):
            canvas.ellipse(
                (x + dx * size * 0.6 + side * radius * size * 0.35, y + dy * size * 0.5 - side * 0.2 * size),
                radius * size * 0.22,
                radius * size * 0.18,
                shade(item["colour"], tone * 1.3),
                detail=True,
            )


def draw_hedge(canvas: Canvas, item: Item) -> None:
    """A row of bushes along the street."""
    camera = canvas.camera
    canvas.begin(CLASS_ID["vegetation"], item.owner)
    count = max(int(item.length / 0.9), 1)
    for i in reversed(range(count)):
        z = item.z + i * 0.9
        if z > camera.z + 1.6:
            k = camera.scale(z)
            x, y = camera.project(item.x, 0, z)
            size = item["height"] * k * (0.5 + 0.06 * sin(i * 2.1))
            canvas.ellipse((x, y - size * 0.8), size * 1.0, size, shade(item["colour"], 0.85 + 0.3 * (i % 2)))
            canvas.ellipse(
                (x + 0.3 * size, y - size * 1.1),
                size * 0.25,
                size * 0.2,
                shade(item["colour"], 1.4),
                detail=True,
            )


def draw_building(canvas: Canvas, item: Item) -> None:
    """A pastel house front with rows of blue windows."""
    camera, x, z0, z1, height = canvas.camera, item.x, item.z, item.z + item.length, item["height"]
    near = camera.z + NEAR
    if z1 < near + 0.3:
        return
    canvas.begin(CLASS_ID["building"], item.owner)
    outward = 1 if x > camera.x else -1
    far_x = x + outward * item["depth"]
    colour, glass = item["colour"], item["glass"]
    canvas.front(z0, min(x, far_x), max(x, far_x), 0, height, shade(colour, 0.76))
    canvas.side(x, z0, z1, 0, height, colour)
    canvas.side(x, z0, z1, height - 0.5, height, item["roof"], detail=True)
    width, gap = item["window"]
    y = 0.9
    while y + 1.4 < height - 0.6:
        z = z0 + 0.7
        while z + width < z1 - 0.3:
            if z > near:
                canvas.side(x, z, z + width, y, y + 1.4, glass, detail=True)
            z += width + gap
        offset = 0.7
        while z0 > near + 1 and offset + width < item["depth"] - 0.3:
            a, b = x + outward * offset, x + outward * (offset + width)
            canvas.front(z0, min(a, b), max(a, b), y, y + 1.4, shade(glass, 0.8), detail=True)
            offset += width + gap
        y += 2.5


def draw_wall(canvas: Canvas, item: Item) -> None:
    """A brick-red wall with pale mortar joints and a coping."""
    camera, x, z0, z1, height = canvas.camera, item.x, item.z, item.z + item.length, item["height"]
    near = camera.z + NEAR
    if z1 < near + 0.2:
        return
    canvas.begin(CLASS_ID["wall"], item.owner)
    outward = 1 if x > camera.x else -1
    canvas.front(
        z0, min(x, x + outward * 0.5), max(x, x + outward * 0.5), 0, height, shade(item["colour"], 0.7)
    )
    canvas.side(x, z0, z1, 0, height, item["colour"])
    joint = item["mortar"]
    course = 0.4
    rows = int((height - 0.2) / course)
    for row in range(rows):
        y = row * course
        canvas.side(x, z0, z1, y, y + 0.07, joint, detail=True)
        z = z0 + (0.5 if row % 2 else 0.0)
        while z < min(z1, camera.z + 22):
            if z > near:
                canvas.side(x, z, z + 0.09, y, y + course, joint, detail=True)
            z += 1.0
    canvas.side(x, z0, z1, height - 0.22, height, shade(joint, 0.9), detail=True)


def draw_fence(canvas: Canvas, item: Item) -> None:
    """Pickets and two rails in white or wood; the gaps belong to the fence too."""
    camera, x, z0, z1, height = canvas.camera, item.x, item.z, item.z + item.length, item["height"]
    near = camera.z + NEAR
    if z1 < near + 0.2:
        return
    canvas.begin(CLASS_ID["fence"], item.owner)
    start = max(z0, near)
    outline = [
        camera.project(x, 0, start),
        camera.project(x, 0, z1),
        camera.project(x, height, z1),
        camera.project(x, height, start),
    ]
    canvas.label_polygon(outline)
    for y in (0.25, 0.75):
        canvas.side(x, z0, z1, height * y - 0.09, height * y + 0.09, shade(item["colour"], 0.8), detail=True)
    z, pitch = z0, item["pitch"]
    while z < z1:
        end = min(z + pitch * 0.6, z1)
        if z > near and z < camera.z + 30:
            middle = (z + end) / 2
            canvas.face(
                [(x, 0, z), (x, 0, end), (x, height * 0.86, end), (x, height, middle), (x, height * 0.86, z)],
                item["colour"],
                detail=True,
            )
        z += pitch


DRAW: dict[str, Callable[[Canvas, Item], None]] = {
    "car": draw_car,
    "truck": draw_truck,
    "bus": draw_bus,
    "train": draw_train,
    "person": draw_person,
    "bicycle": draw_two_wheeler,
    "motorcycle": draw_two_wheeler,
    "lamp": draw_lamp,
    "traffic light": draw_traffic_light,
    "traffic sign": draw_traffic_sign,
    "tree": draw_tree,
    "hedge": draw_hedge,
    "building": draw_building,
    "wall": draw_wall,
    "fence": draw_fence,
}
