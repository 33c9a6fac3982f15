"""Counted work of each way to label an image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from activesam_ros.bench.cost.ways import WAYS, Inputs, Scale
from activesam_ros.model.lean.work import LeanWork
from activesam_ros.model.work import FrameWork, ModelWork

VOCABULARIES = (19, 59, 80, 150, 171)
"""Classes of Cityscapes, Pascal Context, COCO's objects, ADE20K and COCO-Stuff."""
GROWING_WORDS = (10, 20, 40, 60, 100, 150, 250, 400, 600, 1000)
GROWING_SIZES = (672, 840, 1008, 1176, 1344)


@dataclass(frozen=True)
class Counted:
    """The work of one way at one scale.

    Attributes:
        way: its name.
        scale: of the vocabulary and the image.
        preview_resolution: in pixels.
        asked: prompts that are asked for their presence alone in an image, on average.
        active: prompts that are decoded in an image, on average.
        work: of an image, on average.
        total: of its stages.
    """

    way: str
    scale: Scale
    preview_resolution: int
    asked: float
    active: float
    work: FrameWork
    total: int


@dataclass(frozen=True)
class Step:
    """One piece of work on both paths, in floating-point operations.

    Attributes:
        name: what it is.
        plain, lean: how much; 0 where a path has no such piece.
    """

    name: str
    plain: int
    lean: int


@dataclass(frozen=True)
class WorkBenchmark:
    """What was counted.

    Attributes:
        model: whose architecture it is.
        inputs: what was assumed.
        vocabularies: of the usual benchmarks, every way.
        growing_words: with more and more words, every way.
        growing_sizes: with larger and larger images, every way.
        steps: the pieces of an image's work.
    """

    model: str
    inputs: Inputs
    vocabularies: tuple[Counted, ...]
    growing_words: tuple[Counted, ...]
    growing_sizes: tuple[Counted, ...]
    steps: tuple[Step, ...]


class Counter:
    """Counts ways on one architecture."""

    def __init__(self, config: object) -> None:
        """
        Args:
            config: a `Sam3Config`.
        """
        self._works: dict[bool, ModelWork] = {True: ModelWork(config), False: LeanWork(config)}

    def count(self, scale: Scale, inputs: Inputs) -> list[Counted]:
        """Every way at one scale."""
        found = []
        for way in WAYS:
            frames = way.frames(scale, inputs)
            works = [self._works[way.plain].frame(asked) for asked in frames]
            mean = FrameWork(
                *(
                    round(sum(getattr(work, stage) for work in works) / len(works))
                    for stage in ("preview", "encode", "decode")
                )
            )
            asked = sum(one.previewed + one.looked for one in frames) / len(frames)
            active = sum(len(one.decoded) for one in frames) / len(frames)
            found.append(
                Counted(way.name, scale, frames[0].preview_resolution, asked, active, mean, mean.total)
            )
        return found

    def steps(self, full: int, preview: int, inputs: Inputs) -> list[Step]:
        """The pieces of work of an image and of a prompt, at two resolutions in pixels."""
        plain, lean = self._works[True], self._works[False]
        tokens, kept = inputs.tokens, inputs.kept
        return [
            Step(f"image at {full}: vision encoder", plain.vision(full), lean.vision(full)),
            Step(f"image at {full}: class token", plain.class_token(full), lean.class_token(full)),
            Step(f"image at {full}: shared by all prompts, encoder", 0, lean.shared_encoder(full)),
            Step(f"image at {full}: shared by all prompts, mask head", 0, lean.shared_masks(full)),
            Step(
                f"each decoded prompt at {full}: encoder",
                plain.encoder(full, tokens),
                lean.encoder(full, tokens),
            ),
            Step(
                f"each decoded prompt at {full}: decoder and scores",
                plain.decoder(full, tokens) + plain.scoring(tokens),
                lean.decoder(full, tokens) + lean.scoring(tokens),
            ),
            Step(
                f"each decoded prompt at {full}: {kept} masks",
                plain.masks(full, tokens, kept),
                lean.masks(full, tokens, kept),
            ),
            Step(
                f"each prompt at {full}, presence alone",
                plain.presence(full, tokens),
                lean.presence(full, tokens),
            ),
            Step(f"image at {preview}: vision encoder", plain.vision(preview), lean.coarse_vision(preview)),
            Step(f"image at {preview}: class token", plain.class_token(preview), lean.class_token(preview)),
            Step(f"image at {preview}: shared by all prompts, encoder", 0, lean.shared_encoder(preview)),
            Step(
                f"each prompt at {preview}, presence alone: encoder",
                plain.encoder(preview, tokens),
                lean.encoder(preview, tokens),
            ),
            Step(
                f"each prompt at {preview}, presence alone: decoder",
                plain.decoder(preview, tokens),
                lean.presence_decoder(preview, tokens),
            ),
        ]


def count_work(
    inputs: Inputs,
    say: Callable[[str], None],
    words: Sequence[int] = GROWING_WORDS,
    sizes: Sequence[int] = GROWING_SIZES,
) -> WorkBenchmark:
    """Counts everything on the published architecture.

    Args:
        inputs: what to assume.
        say: told which part begins.
        words: sizes of the vocabulary that it grows through.
        sizes: sides of the image in pixels that it grows through.
    """
    from transformers import Sam3Config

    say("building the published architecture without weights")
    counter = Counter(Sam3Config())
    say("counting the usual vocabularies")
    vocabularies = [found for count in VOCABULARIES for found in counter.count(Scale(count), inputs)]
    say(f"counting {words[0]} to {words[-1]} words")
    growing_words = [found for count in words for found in counter.count(Scale(count), inputs)]
    growing_sizes = []
    for size in sizes:
        say(f"counting images of {size} pixels")
        growing_sizes += counter.count(Scale(150, size), inputs)
    steps = counter.steps(1008, 672, inputs)
    return WorkBenchmark(
        "Sam3Config() of transformers",
        inputs,
        tuple(vocabularies),
        tuple(growing_words),
        tuple(growing_sizes),
        tuple(steps),
    )
