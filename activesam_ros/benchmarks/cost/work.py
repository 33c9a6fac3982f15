"""Counted work of each way to label an image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from activesam_ros.benchmarks.cost.ways import PAPER, WAYS, Inputs, Scale
from activesam_ros.model.flops import FrameFlops, FusedModelFlops, ModelFlops

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

VOCABULARIES = (19, 59, 80, 150, 171)
"""Classes of Cityscapes, Pascal Context, COCO's objects, ADE20K and COCO-Stuff."""
STEPS_WORDS = 150
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
    work: FrameFlops
    total: int


@dataclass(frozen=True)
class Step:
    """One piece of work on both paths, in floating-point operations.

    Attributes:
        name: what it is.
        plain, lean: how much; 0 where a path has no such piece.
        times: how often an image of 150 words needs it with the profile `paper`.
    """

    name: str
    plain: int
    lean: int
    times: int

    @property
    def saved(self) -> int:
        """Of an image of 150 words; negative where the lean path does more."""
        return self.times * (self.plain - self.lean)


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
        """Args:
        config: a `Sam3Config`.
        """
        self._works: dict[bool, ModelFlops] = {True: ModelFlops(config), False: FusedModelFlops(config)}

    def count(self, scale: Scale, inputs: Inputs) -> list[Counted]:
        """Every way at one scale."""
        found = []
        for way in WAYS:
            frames = way.frames(scale, inputs)
            works = [self._works[way.plain].frame(asked) for asked in frames]
            mean = FrameFlops(
                *(
                    round(sum(getattr(work, stage) for work in works) / len(works))
                    for stage in ("preview", "encode", "decode")
                )
            )
            asked = sum(one.previewed + one.presence_only for one in frames) / len(frames)
            active = sum(len(one.decoded) for one in frames) / len(frames)
            found.append(
                Counted(way.name, scale, frames[0].preview_resolution, asked, active, mean, mean.total)
            )
        return found

    def steps(self, inputs: Inputs) -> list[Step]:
        """The pieces of work of an image of 150 words."""
        plain, lean = self._works[True], self._works[False]
        (asked,) = PAPER.frames(Scale(STEPS_WORDS), inputs)
        full, small = asked.full_resolution, asked.preview_resolution
        tokens, kept = inputs.tokens, inputs.kept
        decoded, previewed = len(asked.decoded), asked.previewed
        image, prompt = f"image at {full}", f"each decoded prompt at {full}"
        preview, question = f"image at {small}", f"each prompt at {small}, presence alone"
        return [
            Step(f"{image}: vision encoder", plain.vision(full), lean.vision(full), 1),
            Step(f"{image}: class token", plain.class_token(full), lean.class_token(full), 1),
            Step(f"{image}: shared by all prompts, encoder", 0, lean.shared_encoder(full), 1),
            Step(f"{image}: shared by all prompts, mask head", 0, lean.shared_masks(full), 1),
            Step(f"{prompt}: encoder", plain.encoder(full, tokens), lean.encoder(full, tokens), decoded),
            Step(
                f"{prompt}: decoder and scores",
                plain.decoder(full, tokens) + plain.scoring(tokens),
                lean.decoder(full, tokens) + lean.scoring(tokens),
                decoded,
            ),
            Step(
                f"{prompt}: {kept} masks",
                plain.masks(full, tokens, kept),
                lean.masks(full, tokens, kept),
                decoded,
            ),
            Step(f"{preview}: vision encoder", plain.vision(small), lean.coarse_vision(small), 1),
            Step(f"{preview}: class token", plain.class_token(small), lean.class_token(small), 1),
            Step(f"{preview}: shared by all prompts, encoder", 0, lean.shared_encoder(small), 1),
            Step(
                f"{question}: encoder", plain.encoder(small, tokens), lean.encoder(small, tokens), previewed
            ),
            Step(
                f"{question}: decoder",
                plain.decoder(small, tokens),
                lean.presence_decoder(small, tokens),
                previewed,
            ),
            Step(
                f"each prompt at {full}, presence alone, on a video",
                plain.presence(full, tokens),
                lean.presence(full, tokens),
                0,
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
        growing_sizes += counter.count(Scale(STEPS_WORDS, size), inputs)
    steps = counter.steps(inputs)
    return WorkBenchmark(
        "Sam3Config() of transformers",
        inputs,
        tuple(vocabularies),
        tuple(growing_words),
        tuple(growing_sizes),
        tuple(steps),
    )
