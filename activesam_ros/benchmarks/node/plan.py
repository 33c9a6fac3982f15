"""What a soak does, step by step, from a seed."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class Fault(StrEnum):
    """How a frame is bad; the value is the text for reports."""

    SHORT_STEP = "step shorter than a row"
    UNKNOWN_ENCODING = "unknown encoding"
    TRUNCATED = "truncated data"


@dataclass(frozen=True)
class Send:
    """A frame to send: picture `picture` of a camera, spoilt by `fault` unless that is None."""

    camera: str
    picture: int
    fault: Fault | None


@dataclass(frozen=True)
class Edit:
    """Words to ask for; the node has to refuse them if they are not `valid`."""

    words: tuple[str, ...]
    valid: bool


def plan(
    seed: int,
    cameras: Sequence[str],
    pictures: int,
    pool: Sequence[str],
    words: int,
    bad_rate: float,
    edit_rate: float,
) -> Iterator[Send | Edit]:
    """Steps without an end: cameras in turn, bad frames and edits strewn among them.

    Two bad frames of a camera never follow each other, so that with two frames on their way one of them is answered.

    Args:
        seed: equal seeds give equal steps.
        cameras: their names.
        pictures: that there are of each camera.
        pool: words to choose from; every edit takes as many, so that the node needs as much memory before and after.
        words: number of words of a vocabulary.
        bad_rate: share of the frames that are bad, below one half.
        edit_rate: edits per frame.
    """
    chance = random.Random(seed)
    after_bad = dict.fromkeys(cameras, False)
    number = 0
    while True:
        camera = cameras[number % len(cameras)]
        # Frames after a bad one are good, so the others have to be bad more often.
        bad = not after_bad[camera] and chance.random() < bad_rate / (1 - bad_rate)
        after_bad[camera] = bad
        yield Send(camera, chance.randrange(pictures), chance.choice(list(Fault)) if bad else None)
        number += 1
        if chance.random() < edit_rate:
            chosen = chance.sample(list(pool), words)
            valid = chance.random() < 0.8
            yield Edit(tuple(chosen if valid else [*chosen[:-1], chosen[0].upper()]), valid)
