"""Road users of Toy Town: vehicles, riders and pedestrians, how they vary and how they look.

Shapes are chunky on purpose: the world is for a very small model at 192 pixels, so each class has a shape and a
family of colours of its own.
"""

from dataclasses import replace
from math import cos, pi, sin
from typing import Any

from activesam_ros.toytown import CLASS_ID
from activesam_ros.toytown.canvas import Canvas, Colour, Item, Pixel, Rng, hsv, shade, tone

LENGTHS = {"car": 3.6, "truck": 5.6, "bus": 7.0, "train": 8.0, "bicycle": 1.0, "motorcycle": 1.0}
"""Length of each vehicle in metres."""
_DARK: Colour = (26, 26, 30)
_GLASS: Colour = (58, 74, 96)
_TRAM_GLASS: Colour = (34, 38, 48)
_STEEL: Colour = (60, 60, 66)


# ---------------------------------------------------------------------- how they vary


def make_person(r: Rng, owner: int, x: float, z: float, speed: float) -> Item:
    """Draw a pedestrian."""
    hue = r.choice([r.uniform(0, 30), r.uniform(190, 360)])
    looks = {
        "height": r.uniform(1.95, 2.25) if r.random() < 0.85 else r.uniform(1.6, 1.8),
        "phase": r.uniform(-1.5, 1.5),
        "shirt": tone(r, hue, (0.55, 0.95), (0.5, 0.9)),
        "trousers": _trousers(r),
        "skin": _skin(r),
        "hair": tone(r, (15, 40), (0.3, 0.7), (0.1, 0.4)),
    }
    return Item("person", owner, x, z, speed, looks=looks)


def make_two_wheeler(r: Rng, kind: str, owner: int, x: float, z: float, ridden: bool, speed: float) -> Item:
    """Draw a bicycle or motorcycle, ridden or parked; a rider is the object ``owner + 1``."""
    if kind == "bicycle":
        colour = tone(r, [(0, 12), (170, 215), (290, 330)], (0.7, 1), (0.7, 0.95))
    else:
        colour = tone(r, [(0, 20), (215, 250)], (0.6, 0.95), (0.35, 0.7))
    vest = tone(r, (62, 80), (0.75, 0.95), (0.88, 1))
    if r.random() < 0.3:
        vest = tone(r, (22, 32), (0.85, 1), 1)
    rider = {
        "shirt": vest,
        "trousers": _trousers(r),
        "skin": _skin(r),
        "helmet": hsv(r.choice([0, 210]), r.choice([0.0, 0.85]), r.uniform(0.85, 1)),
        "phase": 0.0,
    }
    looks = {
        "colour": colour,
        "squash": r.uniform(0.6, 0.95) if ridden else r.uniform(0.75, 1.0),
        "flip": int(r.choice([-1, 1])),
        "ridden": ridden,
        "rider": rider,
    }
    return Item(kind, owner, x, z, speed, looks=looks)


def make_vehicle(r: Rng, kind: str, owner: int, x: float, z: float, away: bool, speed: float) -> Item:
    """Draw a vehicle on the road; ``away``: seen from behind."""
    if kind in ("bicycle", "motorcycle"):
        return make_two_wheeler(r, kind, owner, x + r.uniform(-0.5, 0.5), z, True, speed)
    looks: dict[str, Any] = {"away": away, "width": 2.35}
    if kind == "car":
        hue, grey = r.choice([r.uniform(0, 15), r.uniform(95, 250), r.uniform(280, 360)]), r.random() < 0.35
        looks |= {"width": r.uniform(1.75, 1.95), "height": r.uniform(1.4, 1.6), "cabin": (0.18, 0.84)}
        if grey:
            looks["colour"] = hsv(0, 0, r.choice([0.12, 0.5, 0.7, 0.92]))
        else:
            looks["colour"] = tone(r, hue, (0.6, 0.95), (0.45, 0.9))
    elif kind == "truck":
        looks |= {
            "height": r.uniform(3.0, 3.4),
            "cargo": tone(r, (0, 360), (0, 0.12), (0.82, 0.96)),
            "stripe": tone(r, [(345, 365), (210, 235)], (0.7, 0.95), (0.55, 0.85)),
            "colour": tone(r, [(345, 370), (205, 240)], (0.7, 0.95), (0.5, 0.85)),
        }
    elif kind == "bus":
        looks |= {
            "height": r.uniform(2.8, 3.1),
            "colour": tone(r, (32, 52), (0.75, 0.95), (0.85, 1)),
            "trim": tone(r, (0, 15), (0.7, 0.9), (0.6, 0.85)),
        }
    else:
        looks |= {
            "height": r.uniform(3.1, 3.4),
            "colour": tone(r, (155, 200), (0.6, 0.9), (0.28, 0.5)),
            "cream": tone(r, (42, 55), (0.15, 0.3), (0.88, 0.98)),
        }
    return Item(kind, owner, x, z, speed, LENGTHS[kind], looks)


def _skin(r: Rng) -> Colour:
    return tone(r, (18, 30), (0.3, 0.6), (0.45, 0.95))


def _trousers(r: Rng) -> Colour:
    return tone(r, (200, 260), (0.2, 0.5), (0.15, 0.35))


# ---------------------------------------------------------------------- how they look


def _begin_vehicle(canvas: Canvas, item: Item, shadow: bool = True) -> None:
    reach = item["width"] / 2
    if shadow:
        left, right = item.x - reach - 0.2, item.x + reach + 0.2
        canvas.darken_ground(left, right, item.z - 0.25, item.z + item.length + 0.2, 0.6)
    canvas.begin(CLASS_ID[item.kind], item.owner)


def _panel(
    canvas: Canvas, item: Item, reach: float, y0: float, y1: float, colour: Colour, layer: int = 1
) -> None:
    """Decorate the near face with a centred rectangle of half width ``reach``; higher layers lie in front."""
    canvas.front(item.z - 0.01 * layer, item.x - reach, item.x + reach, y0, y1, colour, detail=True)


def _wheels(
    canvas: Canvas, item: Item, side: float | None, offsets: tuple[float, ...], radius: float
) -> None:
    for offset in offsets:
        z = item.z + offset
        if side is not None and z - radius > canvas.camera.near:
            for size, corners, colour in ((1.0, 12, _DARK), (0.45, 8, (165, 165, 170))):
                angles = [i * pi / (corners / 2) for i in range(corners)]
                ring = [(side, radius * (1 + size * sin(a)), z + size * radius * cos(a)) for a in angles]
                canvas.face(ring, colour, detail=size < 1)
    for sign in (-1, 1):
        outer = item.x + sign * item["width"] / 2
        canvas.front(item.z - 0.01, outer, outer - sign * 0.3, 0, radius * 1.2, _DARK)


def _lamps(canvas: Canvas, item: Item, y: float, size: float) -> None:
    colour = (235, 30, 30) if item["away"] else (255, 248, 200)
    for sign in (-1, 1):
        outer = item.x + sign * (item["width"] / 2 - 0.08)
        canvas.front(item.z - 0.02, outer, outer - sign * size, y, y + size * 0.6, colour, detail=True)


def draw_car(canvas: Canvas, item: Item) -> None:
    """Draw a low body in any colour with a glazed cabin on top."""
    z, length, waist = item.z, item.length, 0.56 * item["height"]
    _begin_vehicle(canvas, item)
    side = canvas.box(item.x, item["width"], z, z + length, 0.22, waist, item["colour"])
    _cabin(canvas, item, side, waist)
    _wheels(canvas, item, side, (0.2 * length, 0.8 * length), 0.36)
    _lamps(canvas, item, waist * 0.62, 0.36)
    _panel(canvas, item, 0.3, 0.34, 0.5, (240, 240, 225), layer=2)


def _cabin(canvas: Canvas, item: Item, side: float | None, waist: float) -> None:
    x, height, colour, near = item.x, item["height"], item["colour"], canvas.camera.near
    back, front = item.z + item["cabin"][0] * item.length, item.z + item["cabin"][1] * item.length
    if front <= near + 0.4:
        return
    half, roof = item["width"] / 2, item["width"] / 2 * 0.8
    foot0, roof0, roof1 = max(back, near), max(back + 0.35, near + 0.05), max(front - 0.35, near + 0.1)
    if side is not None:
        s = -1 if side < x else 1
        foot, top, glass = x + s * half, x + s * roof, x + s * half * 0.98
        canvas.face(
            [(foot, waist, foot0), (foot, waist, front), (top, height, roof1), (top, height, roof0)],
            shade(colour, 0.75),
        )
        low, high = waist + 0.04, height - 0.1
        canvas.face(
            [
                (glass, low, foot0 + 0.25),
                (glass, low, front - 0.25),
                (top, high, roof1 - 0.1),
                (top, high, roof0 + 0.1),
            ],
            _GLASS,
            detail=True,
        )
    if back > near:
        canvas.trapezoid(x, (half, waist, back), (roof, height, roof0), colour)
        canvas.trapezoid(
            x, (half * 0.85, waist + 0.05, back), (roof * 0.88, height - 0.1, roof0), _GLASS, detail=True
        )
    if height < canvas.camera.y:
        canvas.trapezoid(x, (roof, height, roof0), (roof, height, roof1), shade(colour, 1.15))


def draw_truck(canvas: Canvas, item: Item) -> None:
    """Draw a pale cargo box with a diagonal stripe and hazard chevrons, and a cab of another colour."""
    _begin_vehicle(canvas, item)
    if item["away"]:
        _cab(canvas, item)
        side = _cargo(canvas, item)
    else:
        _cargo(canvas, item)
        side = _cab(canvas, item)
    _wheels(canvas, item, side, (0.9, item.length - 1.0), 0.52)
    _lamps(canvas, item, 0.45, 0.4)


_CAB = 1.7
"""Length of a truck's cab in metres."""


def _cargo(canvas: Canvas, item: Item) -> float | None:
    x, z, length, width, height = item.x, item.z, item.length, item["width"], item["height"]
    half, near = width / 2, canvas.camera.near
    a, b = (z, z + length - _CAB - 0.15) if item["away"] else (z + _CAB + 0.15, z + length)
    canvas.box(x, width * 0.9, z, z + length, 0.35, 0.8, (50, 50, 54))
    side = canvas.box(x, width, a, b, 0.75, height, item["cargo"])
    if side is not None and a > near:
        low, high = 0.8, height - 0.05
        for shift in (0.15, 0.55):
            stripe = [
                (side, low, a + shift * (b - a)),
                (side, low, a + (shift + 0.2) * (b - a)),
                (side, high, a + (shift + 0.3) * (b - a)),
                (side, high, a + (shift + 0.1) * (b - a)),
            ]
            canvas.face(stripe, item["stripe"], detail=True)
    if item["away"]:
        _panel(canvas, item, half, 0.75, 1.25, (225, 40, 35))
        for i in range(4):
            left = x - half + i * width / 4
            if z > near:
                ends = (
                    (left, 0.75),
                    (left + width / 8, 0.75),
                    (left + width / 4, 1.25),
                    (left + width / 8, 1.25),
                )
                canvas.face([(u, v, z) for u, v in ends], (250, 250, 245), detail=True)
        _panel(canvas, item, 0.06, 1.3, height - 0.1, shade(item["cargo"], 0.55))
        for sign in (-1, 1):
            middle, reach = x + sign * half * 0.5, half * 0.28
            canvas.front(
                z - 0.01, middle - reach, middle + reach, 1.55, height - 0.35, item["stripe"], detail=True
            )
    return side


def _cab(canvas: Canvas, item: Item) -> float | None:
    start, half = item.z + item.length - _CAB if item["away"] else item.z, item["width"] / 2
    side = canvas.box(item.x, item["width"] * 0.94, start, start + _CAB, 0.35, 2.3, item["colour"])
    if side is not None:
        canvas.side(side, start + 0.25, start + _CAB - 0.4, 1.3, 2.05, _GLASS, detail=True)
    if not item["away"]:
        _panel(canvas, item, half * 0.82, 1.35, 2.1, _GLASS)
        _panel(canvas, item, half * 0.6, 0.55, 0.95, (70, 70, 74))
    return side


def draw_bus(canvas: Canvas, item: Item) -> None:
    """Draw a long warm-coloured body with a band of windows all around and a lit destination sign."""
    z, end, half, height = item.z, item.z + item.length, item["width"] / 2, item["height"]
    _begin_vehicle(canvas, item)
    side = canvas.box(item.x, item["width"], z, end, 0.3, height, item["colour"])
    low, high = height * 0.46, height * 0.8
    if side is not None:
        canvas.side(side, z, end, 0.75, 0.95, item["trim"], detail=True)
        start = z + 0.4
        while start + 1.0 < end - 0.1:
            canvas.side(side, start, start + 1.0, low, high, _GLASS, detail=True)
            start += 1.25
    _panel(canvas, item, half * 0.88, low * 0.95, high, _GLASS)
    _panel(canvas, item, half * 0.7, height * 0.83, height * 0.96, (28, 28, 28), layer=2)
    _panel(canvas, item, half * 0.55, height * 0.86, height * 0.93, (255, 190, 40), layer=3)
    _panel(canvas, item, half, 0.75, 0.95, item["trim"])
    _wheels(canvas, item, side, (1.5, item.length - 1.6), 0.5)
    _lamps(canvas, item, 0.45, 0.42)


def draw_train(canvas: Canvas, item: Item) -> None:
    """Draw a tram: dark skirt in a cool colour, cream above, one long window and a pantograph on the roof."""
    camera, x, z, length, height = canvas.camera, item.x, item.z, item.length, item["height"]
    half, colour, waist = item["width"] / 2, item["colour"], height * 0.45
    _begin_vehicle(canvas, item, shadow=False)
    middle = z + length * 0.4
    if middle > camera.near:
        canvas.stand(middle)
        k = camera.scale(middle)
        top, joint = camera.project(x, height + 1.1, middle), camera.project(x - 0.5, height + 0.55, middle)
        canvas.bar(camera.project(x, height - 0.05, middle), joint, 0.16 * k, _STEEL)
        canvas.bar(joint, top, 0.16 * k, _STEEL)
        canvas.bar((top[0] - 0.9 * k, top[1]), (top[0] + 0.9 * k, top[1]), 0.18 * k, _STEEL)
    side = canvas.box(x, item["width"], z, z + length, 0.2, height, item["cream"])
    if side is not None:
        canvas.side(side, z, z + length, 0.2, waist, shade(colour, 0.85), detail=True)
        canvas.side(side, z + 0.3, z + length - 0.3, waist + 0.1, height * 0.82, _TRAM_GLASS, detail=True)
        for offset in (0.3, 0.7):
            door, cream = z + offset * length, shade(item["cream"], 0.9)
            canvas.side(side, door - 0.45, door + 0.45, 0.35, height * 0.82, cream, detail=True)
    _panel(canvas, item, half, 0.2, waist, colour)
    _panel(canvas, item, half * 0.85, waist + 0.1, height * 0.86, _TRAM_GLASS)
    if z > camera.near:
        k = camera.scale(z)
        canvas.ellipse(camera.project(x, waist * 0.65, z), 0.26 * k, 0.26 * k, (255, 250, 215), detail=True)


def _figure(canvas: Canvas, foot: Pixel, h: float, item: Item, seated: bool) -> None:
    """Draw a toy figure of ``h`` pixels with a big head, standing at ``foot`` or sitting above it."""
    x, y = foot
    wide = 0.2 * h
    if not seated:
        swing = 0.1 * h * sin(item["phase"])
        for sign in (-1, 1):
            hip, shoe = (x + sign * 0.08 * h, y - 0.45 * h), (x + sign * (0.09 * h + swing), y)
            canvas.bar(hip, shoe, 0.15 * h, item["trousers"])
    shoulder, hem = y - 0.76 * h, y - 0.38 * h
    canvas.polygon(
        [(x - wide * 0.85, shoulder), (x + wide * 0.85, shoulder), (x + wide, hem), (x - wide, hem)],
        item["shirt"],
    )
    if not seated:
        for sign in (-1, 1):
            arm, hand = (x + sign * wide * 0.95, y - 0.73 * h), (x + sign * wide * 1.3, y - 0.42 * h)
            canvas.bar(arm, hand, 0.09 * h, shade(item["shirt"], 0.8))
    canvas.ellipse((x, y - 0.86 * h), 0.125 * h, 0.14 * h, item["skin"])


def draw_person(canvas: Canvas, item: Item) -> None:
    """Draw a toy figure on foot: bare head with hair, plain clothes in any colour."""
    camera = canvas.camera
    foot, height = camera.project(item.x, 0, item.z), item["height"] * camera.scale(item.z)
    canvas.begin(CLASS_ID["person"], item.owner)
    _figure(canvas, foot, height, item, seated=False)
    canvas.ellipse((foot[0], foot[1] - 0.95 * height), 0.125 * height, 0.075 * height, item["hair"])


def _bicycle(canvas: Canvas, item: Item, k: float) -> None:
    x, y = canvas.camera.project(item.x, 0, item.z)
    squash, flip, colour = item["squash"], item["flip"], item["colour"]
    radius, reach = 0.46 * k, 0.62 * k * squash
    for sign in (-1, 1):
        at = (x + sign * reach, y - radius)
        canvas.ellipse(at, radius * squash, radius, _DARK)
        canvas.ellipse(at, radius * squash * 0.68, radius * 0.68, (206, 220, 226), detail=True)
        canvas.ellipse(at, radius * squash * 0.2, radius * 0.2, _DARK, detail=True)
    hub_b, hub_f = (x - flip * reach, y - radius), (x + flip * reach, y - radius)
    seat, bars = (x - flip * 0.28 * k * squash, y - 1.0 * k), (x + flip * 0.45 * k * squash, y - 1.08 * k)
    pedal = (x, y - 0.42 * k)
    for a, b in ((hub_b, pedal), (pedal, seat), (seat, bars), (pedal, bars), (hub_f, bars), (hub_b, seat)):
        canvas.bar(a, b, 0.15 * k, colour)
    canvas.bar((seat[0] - 0.18 * k, seat[1]), (seat[0] + 0.18 * k, seat[1]), 0.14 * k, _DARK)
    canvas.bar(bars, (bars[0] + flip * 0.18 * k, bars[1] - 0.14 * k), 0.12 * k, _DARK)


_TANK = (
    (-0.95, 0.62),
    (-0.85, 0.9),
    (-0.2, 0.86),
    (0.15, 1.08),
    (0.6, 1.0),
    (0.8, 0.66),
    (0.5, 0.3),
    (-0.5, 0.24),
)
"""Outline of a motorcycle's body: forward and up, in units of its scale."""


def _motorcycle(canvas: Canvas, item: Item, k: float) -> None:
    x, y = canvas.camera.project(item.x, 0, item.z)
    squash, flip = item["squash"], item["flip"]
    radius, reach = 0.36 * k, 0.72 * k * squash
    for sign in (-1, 1):
        at = (x + sign * reach, y - radius)
        canvas.ellipse(at, radius * max(squash, 0.6), radius, _DARK)
        canvas.ellipse(at, radius * 0.35 * squash, radius * 0.35, (140, 140, 146), detail=True)

    def outline(*points: Pixel) -> list[Pixel]:
        return [(x + flip * px * k * squash, y - py * k) for px, py in points]

    canvas.polygon(outline(*_TANK), item["colour"])
    canvas.polygon(outline((-0.9, 0.86), (-0.85, 1.0), (-0.1, 0.98), (-0.1, 0.84)), _DARK)
    canvas.polygon(outline((-0.45, 0.3), (0.45, 0.3), (0.3, 0.62), (-0.3, 0.62)), (92, 92, 98), detail=True)
    fork, grip = outline((0.5, 0.9), (0.35, 1.3))
    canvas.bar(fork, grip, 0.14 * k, _DARK)
    canvas.ellipse(outline((0.72, 0.92))[0], 0.15 * k, 0.15 * k, (255, 244, 180))


def draw_two_wheeler(canvas: Canvas, item: Item) -> None:
    """Draw a bicycle (thin frame, large pale wheels) or motorcycle (solid body, small dark wheels).

    Riders wear a helmet and a high-visibility vest, and never stand on their own.
    """
    k = 1.25 * canvas.camera.scale(item.z)
    canvas.begin(CLASS_ID[item.kind], item.owner)
    (_bicycle if item.kind == "bicycle" else _motorcycle)(canvas, item, k)
    if item["ridden"]:
        _rider(canvas, item, k)


def _rider(canvas: Canvas, item: Item, k: float) -> None:
    rider, squash, flip, h = item["rider"], item["squash"], item["flip"], 1.75 * k
    x, y = canvas.camera.project(item.x, 0, item.z)
    canvas.begin(CLASS_ID["rider"], item.owner + 1)
    x -= flip * 0.12 * k * squash
    base = y - 0.28 * k
    hip, knee = (x, base - 0.4 * h), (x + flip * 0.34 * k * squash, base - 0.26 * h)
    canvas.bar(hip, knee, 0.26 * k, rider["trousers"])
    canvas.bar(knee, (x + flip * 0.12 * k * squash, base - 0.02 * h), 0.2 * k, rider["trousers"])
    _figure(canvas, (x, base), h, replace(item, looks=rider), seated=True)
    hand = (x + flip * 0.5 * k * squash, base - 0.5 * h)
    canvas.bar((x, base - 0.7 * h), hand, 0.17 * k, shade(rider["shirt"], 0.85))
    belt = base - 0.55 * h
    canvas.bar((x - 0.19 * h, belt), (x + 0.19 * h, belt), 0.07 * h, (245, 245, 240), detail=True)
    canvas.ellipse((x, base - 0.9 * h), 0.15 * h, 0.14 * h, rider["helmet"])
    canvas.ellipse((x + flip * 0.07 * h, base - 0.86 * h), 0.07 * h, 0.06 * h, rider["skin"], detail=True)
