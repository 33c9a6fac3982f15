"""Scenery of Toy Town: street furniture, trees, hedges, buildings, walls and fences, how they vary and look."""

from collections.abc import Callable
from math import cos, pi, sin
from typing import Any

import numpy as np

from activesam_ros.toytown import CLASS_ID
from activesam_ros.toytown.canvas import Canvas, Colour, Item, Pixel, Rng, shade, tone

# ---------------------------------------------------------------------- how it varies


def make_furniture(r: Rng, kind: str, owner: int, x: float, z: float, inward: int) -> Item:
    """Draw a lamp, traffic light or traffic sign; ``inward`` (1 or -1) is the direction of the road."""
    looks: dict[str, Any] = {
        "thickness": r.uniform(0.34, 0.44),
        "metal": tone(r, (160, 220), (0.05, 0.3), (0.32, 0.6)),
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


def make_tree(r: Rng, owner: int, x: float, z: float) -> Item:
    """Draw a conifer or a broad-leaved tree."""
    bounds = ((-1, 1), (-1, 1), (0.5, 0.75), (0.8, 1.2))
    blobs = np.stack([r.uniform(low, high, 6) for low, high in bounds], 1).tolist()
    looks = {
        "height": r.uniform(4.0, 6.5),
        "crown": r.uniform(1.2, 1.9),
        "colour": _leaf(r),
        "conifer": r.random() < 0.25,
        "blobs": blobs,
    }
    return Item("tree", owner, x, z, looks=looks)


def make_hedge(r: Rng, owner: int, x: float, z: float, length: float) -> Item:
    """Draw a row of bushes along the street."""
    return Item("hedge", owner, x, z, 0, length, {"height": r.uniform(1.0, 1.6), "colour": _leaf(r)})


def make_buildings(r: Rng, next_owner: Callable[[], int], x: float, z: float, length: float) -> list[Item]:
    """Draw the houses that fill a stretch of the street."""
    items, end = [], z + length
    while z < end - 3:
        part, owner = min(r.uniform(7, 11), end - z), next_owner()
        gap = 1.0 if r.random() < 0.3 else 0.0
        looks = {
            "height": r.uniform(5, 13),
            "depth": r.uniform(6, 10),
            "window": (r.uniform(0.9, 1.3), r.uniform(0.8, 1.3)),
            "colour": tone(r, [(20, 60), (180, 230), (310, 350)], (0.08, 0.38), (0.68, 0.95)),
            "glass": tone(r, (205, 235), (0.35, 0.65), (0.3, 0.55)),
            "roof": tone(r, (0, 30), (0.2, 0.5), (0.35, 0.5)),
        }
        items.append(Item("building", owner, x, z, 0, part - gap, looks))
        z += part
    return items


def make_barrier(r: Rng, kind: str, owner: int, x: float, z: float, length: float) -> Item:
    """Draw a wall or a fence; some begin later in their stretch of the street."""
    start = z + (r.uniform(0, 4) if r.random() < 0.4 else 0)
    looks: dict[str, Any]
    if kind == "wall":
        looks = {
            "height": r.uniform(2.6, 3.4),
            "colour": tone(r, (2, 22), (0.5, 0.72), (0.42, 0.64)),
            "mortar": tone(r, 35, (0.05, 0.2), (0.75, 0.92)),
        }
    else:
        white = r.random() < 0.6
        looks = {"height": r.uniform(1.9, 2.4), "pitch": r.uniform(0.42, 0.6)}
        looks["colour"] = (
            tone(r, 45, (0, 0.1), (0.9, 1)) if white else tone(r, (28, 40), (0.4, 0.6), (0.7, 0.85))
        )
    return Item(kind, owner, x, start, 0, z + length - start, looks)


def _leaf(r: Rng) -> Colour:
    return tone(r, (110, 155), (0.5, 0.85), (0.26, 0.5))


# ---------------------------------------------------------------------- how it looks


def _post(canvas: Canvas, item: Item, height: float) -> None:
    x, z, half, metal = item.x, item.z, item["thickness"] / 2, item["metal"]
    canvas.begin(CLASS_ID["pole"], item.owner)
    canvas.front(z, x - half, x + half, 0, height, metal)
    canvas.front(z, x - half, x - half * 0.3, 0, height, shade(metal, 1.35), detail=True)
    for i in range(3):
        canvas.front(z, x - half, x + half, 0.25 + i * 0.5, 0.5 + i * 0.5, (250, 205, 30), detail=True)


def draw_lamp(canvas: Canvas, item: Item) -> None:
    """Draw a thick lamp post with yellow rings at its foot and an arm with a lamp."""
    _post(canvas, item, item["height"])
    k = canvas.camera.scale(item.z)
    top = canvas.camera.project(item.x, item["height"], item.z)
    end = (top[0] + item["arm"] * k, top[1] - 0.1 * k)
    canvas.bar(top, end, 0.24 * k, item["metal"])
    canvas.ellipse(end, 0.42 * k, 0.24 * k, (255, 250, 205))


def draw_traffic_light(canvas: Canvas, item: Item) -> None:
    """Draw a large black box with a bright rim and three lamps, one of them lit."""
    x, z, height, half_w, half_h = item.x, item.z, item["height"], 0.5, 1.1
    _post(canvas, item, height - 1.0)
    canvas.begin(CLASS_ID["traffic light"], item.owner)
    canvas.front(z, x - half_w, x + half_w, height - half_h, height + half_h, item["rim"])
    left, right = x - half_w * 0.8, x + half_w * 0.8
    canvas.front(z, left, right, height - half_h * 0.91, height + half_h * 0.91, (18, 18, 20), detail=True)
    k = canvas.camera.scale(z)
    lit = ((255, 45, 35), (255, 190, 20), (40, 240, 90))
    unlit = ((92, 26, 24), (92, 72, 20), (20, 82, 38))
    for i in range(3):
        colour = lit[i] if i == item["state"] else unlit[i]
        lamp = canvas.camera.project(x, height + 0.68 - 0.68 * i, z)
        canvas.ellipse(lamp, 0.28 * k, 0.28 * k, colour, detail=True)


def draw_traffic_sign(canvas: Canvas, item: Item) -> None:
    """Draw a large red, white, blue or yellow plate in one of five shapes on a post."""
    _post(canvas, item, item["height"] - item["radius"] * 0.6)
    canvas.begin(CLASS_ID["traffic sign"], item.owner)
    x, y = canvas.camera.project(item.x, item["height"], item.z)
    r = item["radius"] * canvas.camera.scale(item.z)

    def ring(corners: int, start: float, size: float) -> list[Pixel]:
        angles = [start + 2 * pi * i / corners for i in range(corners)]
        return [(x + size * cos(angle), y + size * sin(angle)) for angle in angles]

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
    """Draw a brown trunk under a crown of mottled dark green."""
    k = canvas.camera.scale(item.z)
    canvas.begin(CLASS_ID["vegetation"], item.owner)
    x, y = canvas.camera.project(item.x, 0, item.z)
    height, crown = item["height"] * k, item["crown"] * k
    foot, fork, top = 0.22 * k, 0.15 * k, y - 0.6 * height
    canvas.polygon([(x - foot, y), (x + foot, y), (x + fork, top), (x - fork, top)], (98, 66, 40))
    if item["conifer"]:
        for i in range(3):
            base, half = y - height * (0.22 + 0.22 * i), crown * (1.05 - 0.25 * i)
            triangle = [(x - half, base), (x + half, base), (x, base - height * 0.36)]
            canvas.polygon(triangle, shade(item["colour"], 0.8 + 0.2 * i))
        return
    y = y - height + crown * 0.8
    blobs = [
        (x + dx * crown * 0.6, y + dy * crown * 0.5, radius * crown, brightness)
        for dx, dy, radius, brightness in item["blobs"]
    ]
    for bx, by, radius, brightness in blobs:
        canvas.ellipse((bx, by), radius, radius * 0.9, shade(item["colour"], brightness))
    for bx, by, radius, brightness in blobs:
        for side in (-1, 1):
            at = (bx + side * radius * 0.35, by - side * 0.2 * crown)
            light = shade(item["colour"], brightness * 1.3)
            canvas.ellipse(at, radius * 0.22, radius * 0.18, light, detail=True)


def draw_hedge(canvas: Canvas, item: Item) -> None:
    """Draw a row of bushes along the street."""
    camera = canvas.camera
    canvas.begin(CLASS_ID["vegetation"], item.owner)
    for i in reversed(range(max(int(item.length / 0.9), 1))):
        z = item.z + i * 0.9
        if z > camera.z + 1.6:
            canvas.stand(z)
            x, y = camera.project(item.x, 0, z)
            size = item["height"] * camera.scale(z) * (0.5 + 0.06 * sin(i * 2.1))
            canvas.ellipse((x, y - size * 0.8), size * 1.0, size, shade(item["colour"], 0.85 + 0.3 * (i % 2)))
            light, at = shade(item["colour"], 1.4), (x + 0.3 * size, y - size * 1.1)
            canvas.ellipse(at, size * 0.25, size * 0.2, light, detail=True)


def draw_building(canvas: Canvas, item: Item) -> None:
    """Draw a pastel house front with rows of blue windows."""
    camera, x, z0, z1, height = canvas.camera, item.x, item.z, item.z + item.length, item["height"]
    near = camera.near
    if z1 < near + 0.3:
        return
    canvas.begin(CLASS_ID["building"], item.owner)
    outward = 1 if x > camera.x else -1
    colour, glass = item["colour"], item["glass"]
    canvas.front(z0, x, x + outward * item["depth"], 0, height, shade(colour, 0.76))
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
            canvas.front(z0, a, b, y, y + 1.4, shade(glass, 0.8), detail=True)
            offset += width + gap
        y += 2.5


def draw_wall(canvas: Canvas, item: Item) -> None:
    """Draw a brick-red wall with pale mortar joints and a coping."""
    camera, x, z0, z1, height = canvas.camera, item.x, item.z, item.z + item.length, item["height"]
    if z1 < camera.near + 0.2:
        return
    canvas.begin(CLASS_ID["wall"], item.owner)
    outward = 1 if x > camera.x else -1
    canvas.front(z0, x, x + outward * 0.5, 0, height, shade(item["colour"], 0.7))
    canvas.side(x, z0, z1, 0, height, item["colour"])
    joint, course = item["mortar"], 0.4
    for row in range(int((height - 0.2) / course)):
        y = row * course
        canvas.side(x, z0, z1, y, y + 0.07, joint, detail=True)
        z = z0 + (0.5 if row % 2 else 0.0)
        while z < min(z1, camera.z + 22):
            if z > camera.near:
                canvas.side(x, z, z + 0.09, y, y + course, joint, detail=True)
            z += 1.0
    canvas.side(x, z0, z1, height - 0.22, height, shade(joint, 0.9), detail=True)


def draw_fence(canvas: Canvas, item: Item) -> None:
    """Draw pickets and two rails in white or wood; the gaps belong to the fence too."""
    camera, x, z0, z1, height = canvas.camera, item.x, item.z, item.z + item.length, item["height"]
    near = camera.near
    if z1 < near + 0.2:
        return
    canvas.begin(CLASS_ID["fence"], item.owner)
    start = max(z0, near)
    canvas.label_face([(x, 0, start), (x, 0, z1), (x, height, z1), (x, height, start)])
    for y in (0.25, 0.75):
        canvas.side(x, z0, z1, height * y - 0.09, height * y + 0.09, shade(item["colour"], 0.8), detail=True)
    z, pitch = z0, item["pitch"]
    while z < z1:
        end = min(z + pitch * 0.6, z1)
        if near < z < camera.z + 30:
            low = height * 0.86
            picket = [(x, 0, z), (x, 0, end), (x, low, end), (x, height, (z + end) / 2), (x, low, z)]
            canvas.face(picket, item["colour"], detail=True)
        z += pitch
