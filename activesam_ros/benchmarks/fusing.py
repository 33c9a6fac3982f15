"""Measure fusing and labelling in tiles against resizing every mask to the whole image."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional as F

from activesam_ros.benchmarks.inputs import street_images
from activesam_ros.benchmarks.preview import vocabulary_of
from activesam_ros.evaluation.report.formatting import markdown_table
from activesam_ros.model.checkpoint import load_checkpoint
from activesam_ros.model.fused.heads import FusedPromptHeads
from activesam_ros.segmenter import ActiveSegmenter
from activesam_ros.settings import SegmenterSettings
from activesam_ros.stages.calibration import label_pixels
from activesam_ros.stages.decoding import decode_prompts
from activesam_ros.stages.fusion import ClassFusion
from activesam_ros.stages.tiled_fusion import TiledFusion
from activesam_ros.stages.timing import StageTimer
from activesam_ros.system.machine import machine

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from activesam_ros.model.prompt_heads import DecodedPrompts
    from activesam_ros.vocabulary import Vocabulary

    Prompts = Sequence[tuple[Sequence[int], DecodedPrompts]]
    Labels = tuple[np.ndarray, np.ndarray]
    Way = Callable[[Prompts, tuple[int, int], Vocabulary, SegmenterSettings], Labels]


@dataclass(frozen=True)
class FusingOptions:
    """What to measure, in every combination.

    Attributes:
        sizes: width and height of the images in pixels.
        classes: sizes of the vocabulary.
        thresholds: values of `background_threshold`.
        images: number of images of each size.
        repeats: of each image and way.
        threads: of torch.
    """

    sizes: tuple[tuple[int, int], ...] = ((640, 480), (1920, 1080))
    classes: tuple[int, ...] = (19, 60)
    thresholds: tuple[float, ...] = (0.0, 0.4)
    images: int = 4
    repeats: int = 5
    threads: int = 1


@dataclass(frozen=True)
class FusingCost:
    """One combination.

    Attributes:
        masks: mean number of an image, those of the semantic head included.
        seconds: median of an image, mask by mask.
        whole, tiles: median ratio to that, of taking all masks of a prompt at once, and of tiles.
        whole_work, tiles_work: the same of processor time.
        equal: share of the pixels with equal labels, mask by mask and in tiles.
        difference: greatest difference of confidence where labels are equal.
    """

    size: tuple[int, int]
    classes: int
    threshold: float
    masks: float
    seconds: float
    whole: float
    tiles: float
    whole_work: float
    tiles_work: float
    equal: float
    difference: float


@dataclass(frozen=True)
class Fusing:
    """The measurements."""

    machine: str
    options: FusingOptions
    costs: tuple[FusingCost, ...]


def measure_fusing(options: FusingOptions, say: Callable[[str], None]) -> Fusing:
    """Decode images with the demo model, and fuse what was decoded each way, by turns, in an order that reverses."""
    torch.set_num_threads(options.threads)
    costs = []
    checkpoint = load_checkpoint("toytown", "cpu")
    segmenter, heads = ActiveSegmenter(checkpoint), FusedPromptHeads(checkpoint)
    for size in options.sizes:
        images = street_images(0, options.images, size, "a street")
        for classes in options.classes:
            vocabulary = vocabulary_of(classes)
            segmenter.set_vocabulary(vocabulary)
            with torch.inference_mode():
                decoded = [_decode(segmenter, heads, rgb) for rgb in images]
            for threshold in options.thresholds:
                say(f"{size[0]}x{size[1]}, {classes} classes, background_threshold {threshold:g}")
                costs.append(_cost(decoded, size, vocabulary, threshold, options.repeats))
    return Fusing(machine(options.threads), options, tuple(costs))


def _decode(segmenter: ActiveSegmenter, heads: FusedPromptHeads, rgb: np.ndarray) -> Prompts:
    """Decode an image's active prompts, with the index of the class of each."""
    (encoded,) = segmenter.encode_images([rgb])
    owner, settings = encoded.prompts.vocabulary.prompt_classes, segmenter.settings
    timer = StageTimer(torch.device("cpu"))
    prompts = decode_prompts(heads, encoded, settings.bucket_size, settings.confidence_threshold, timer)
    return [([owner[index] for index in indices], some) for indices, some in prompts]


def mask_by_mask(
    prompts: Prompts, size: tuple[int, int], vocabulary: Vocabulary, settings: SegmenterSettings
) -> Labels:
    """Resize every mask to the image by itself, as the formula says: what the other ways are compared with."""
    fusion = ClassFusion(size, torch.device("cpu"), second=settings.background_threshold > 0)
    for owners, some in prompts:
        for owner, prompt in zip(owners, some.split(), strict=True):
            scores = _resized(prompt.semantic_logits, size)
            for logits, score in zip(prompt.instance_logits, prompt.instance_scores, strict=True):
                torch.maximum(scores, _resized(logits, size).mul_(score), out=scores)
            fusion.add_scores(owner, scores.mul_(prompt.presence))
    return label_pixels(fusion.finish(), vocabulary, settings)


def _resized(logits: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    return F.interpolate(logits[None, None].float(), size, mode="bilinear", align_corners=False)[
        0, 0
    ].sigmoid_()


def prompt_by_prompt(
    prompts: Prompts, size: tuple[int, int], vocabulary: Vocabulary, settings: SegmenterSettings
) -> Labels:
    """Resize the masks of several prompts together, as on a GPU and for small images."""
    fusion = ClassFusion(size, torch.device("cpu"), second=settings.background_threshold > 0)
    for owners, some in prompts:
        fusion.add(owners, some)
    return label_pixels(fusion.finish(), vocabulary, settings)


def in_tiles(
    prompts: Prompts, size: tuple[int, int], vocabulary: Vocabulary, settings: SegmenterSettings
) -> Labels:
    """Fuse as large images are on a CPU."""
    fusion = TiledFusion(size, settings)
    for owners, some in prompts:
        fusion.add(owners, some)
    return label_pixels(fusion.finish(), vocabulary, settings)


WAYS: tuple[Way, ...] = (mask_by_mask, prompt_by_prompt, in_tiles)


def _cost(
    decoded: Sequence[Prompts],
    size: tuple[int, int],
    vocabulary: Vocabulary,
    threshold: float,
    repeats: int,
) -> FusingCost:
    width, height = size
    settings = SegmenterSettings(background_threshold=threshold)
    # Of each repeat: seconds, and of processor time, by way.
    times: list[dict[Way, tuple[float, float]]] = []
    equal, pixels, difference = 0, 0, 0.0
    with torch.inference_mode():
        for prompts in decoded:
            labels: dict[Way, Labels] = {}
            for repeat in range(repeats):
                taken = {}
                for way in WAYS if repeat % 2 else WAYS[::-1]:
                    began, work = time.perf_counter(), time.process_time()
                    labels[way] = way(prompts, (height, width), vocabulary, settings)
                    taken[way] = time.perf_counter() - began, time.process_time() - work
                times.append(taken)
            (expected, confidence), (found, other) = labels[mask_by_mask], labels[in_tiles]
            same = expected == found
            equal, pixels = equal + int(same.sum()), pixels + same.size
            difference = max(difference, float(np.abs(confidence - other)[same].max(initial=0)))

    def ratio(way: Way, clock: int) -> float:
        return statistics.median(one[way][clock] / one[mask_by_mask][clock] for one in times)

    return FusingCost(
        size=size,
        classes=len(vocabulary),
        threshold=threshold,
        masks=statistics.mean(sum(len(some.weights) for _, some in prompts) for prompts in decoded),
        seconds=statistics.median(one[mask_by_mask][0] for one in times),
        whole=ratio(prompt_by_prompt, 0),
        tiles=ratio(in_tiles, 0),
        whole_work=ratio(prompt_by_prompt, 1),
        tiles_work=ratio(in_tiles, 1),
        equal=equal / pixels,
        difference=difference,
    )


def to_markdown(found: Fusing) -> str:
    """Format the machine and a table."""
    options = found.options
    rows = [
        [
            f"{one.size[0]}x{one.size[1]}",
            str(one.classes),
            f"{one.threshold:g}",
            f"{one.masks:.0f}",
            f"{1000 * one.seconds:.0f}",
            *(f"{ratio:.2f}" for ratio in (one.whole, one.whole_work, one.tiles, one.tiles_work)),
            f"{one.equal:.4%}",
            f"{one.difference:.1e}",
        ]
        for one in found.costs
    ]
    header = ["size", "classes", "`background_threshold`", "masks", "mask by mask, ms", "prompt by prompt /"]
    header += ["processor time", "in tiles /", "processor time", "equal labels", "difference of confidence"]
    return (
        f"Machine: {found.machine}.\n\n{options.images} images of each size, {options.repeats} times each way, by "
        "turns; medians, and of each turn the ratio to mask by mask:\n\n"
        + markdown_table(header, rows)
        + "\n"
    )
