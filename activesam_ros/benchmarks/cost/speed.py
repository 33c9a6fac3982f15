"""Measured time and memory of the paths, image by image in turns."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import cv2

from activesam_ros.benchmarks.apart import OwnProcess
from activesam_ros.benchmarks.cost.paths import PATHS, Loaded, MeasuredPath, Run
from activesam_ros.benchmarks.words import base_names
from activesam_ros.model.folder import resolve_folder

if TYPE_CHECKING:
    import numpy as np

DEMO_MODEL = "toytown"
_SECONDS_A_FRAME = 0.25
_SEED = 900_123


@dataclass(frozen=True)
class SpeedOptions:
    """How to measure.

    Attributes:
        paths: names of `PATHS`; the others are compared with the first.
        model, device, dtype: as for `load_checkpoint`.
        classes: of the vocabulary.
        size: width and height of the images in pixels.
        images: that each path labels and that are measured.
        cold: whether they begin with the first one, which pays for what later ones reuse; otherwise one more comes
            before them.
        threads: torch's threads; None: torch's choice.
        masks: has the confidence threshold such that prompts of the first image keep so many instance masks each on
            the first path, on average; None: the usual threshold.
        threshold: the confidence threshold, where `masks` does not choose it; None: the usual one.
        called: what reports call the model; None: as it was given.
    """

    paths: tuple[str, ...] = ("plain", "lean")
    model: str = DEMO_MODEL
    device: str = "auto"
    dtype: str = "auto"
    classes: int = 60
    size: tuple[int, int] = (640, 480)
    images: int = 5
    cold: bool = False
    threads: int | None = None
    masks: int | None = None
    threshold: float | None = None
    called: str | None = None


@dataclass(frozen=True)
class Measured:
    """One path.

    Attributes:
        loaded: what it is.
        seconds: median by stage, and "total".
        ratio: the same, the median over the images of this path's seconds by the first path's; None where either has
            no such stage.
        mean_seconds: of an image in all: a video's images differ.
        gpu_seconds: median; None on a CPU.
        peak: largest memory above the weights, in bytes; None: not known.
        active: prompts that were decoded in an image, on average.
        masks: instance masks that each of them kept, on average.
        equal_pixels: share of the pixels with the label of the first path, over all images.
        equal_sets: share of the images in which the same prompts were decoded as on the first path.
    """

    loaded: Loaded
    seconds: Mapping[str, float]
    ratio: Mapping[str, float]
    mean_seconds: float
    gpu_seconds: float | None
    peak: int | None
    active: float
    masks: float
    equal_pixels: float
    equal_sets: float


@dataclass(frozen=True)
class SpeedBenchmark:
    """What was measured.

    Attributes:
        options: how.
        threshold: the confidence threshold in force; None: the usual one.
        paths: by name.
    """

    options: SpeedOptions
    threshold: float | None
    paths: Mapping[str, Measured]


class Caller(Protocol):
    """What `OwnProcess` is."""

    def call(self, name: str, *arguments: object) -> Any:
        """Calls a method of the object."""


Apart = Callable[..., AbstractContextManager[Caller]]


def measure_speed(
    options: SpeedOptions, say: Callable[[str], None], apart: Apart = OwnProcess
) -> SpeedBenchmark:
    """Labels the same images on every path, each in a process of its own, in turns, and the order is turned about.

    Args:
        options: how.
        say: told which part begins.
        apart: makes the processes; anything but `OwnProcess` makes the figures of memory worthless.

    Raises:
        ModelError: there is no such model.
        ActiveSamError: a path failed.
    """
    resolve_folder(options.model)
    first = options.paths[0]
    names = vocabulary_names(options.model, options.classes)
    unmeasured = 0 if options.cold else 1
    pictures = drive(options.images + unmeasured, options.size)
    threshold = options.threshold
    with ExitStack() as stack:
        # Whoever comes second finds the words encoded, so that the text encoder is loaded once.
        cache = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "prompts"
        running: dict[str, Caller] = {}
        loaded: dict[str, Loaded] = {}
        for name in options.paths:
            say(f"loading {name}")
            running[name] = stack.enter_context(
                apart(
                    MeasuredPath,
                    PATHS[name],
                    options.model,
                    options.device,
                    options.dtype,
                    names,
                    cache,
                    threads=options.threads,
                )
            )
            loaded[name] = running[name].call("loaded")
        if options.masks is not None:
            say(f"looking for the threshold at which {options.masks} masks a prompt are kept")
            threshold = running[first].call("threshold_for", pictures[0], options.masks)
        if threshold is not None:
            for path in running.values():
                path.call("use_threshold", threshold)
        runs: dict[str, list[Run]] = {name: [] for name in options.paths}
        for number, rgb in enumerate(pictures, 1 - unmeasured):
            turn = options.paths if number % 2 else options.paths[::-1]
            for name in turn:
                run = running[name].call("run", rgb)
                what = f"image {number} of {options.images}" if number else "a first image, not measured"
                say(f"{what}: {name} {run.seconds['total']:.2f} s")
                if number:
                    runs[name].append(run)
    found = {name: _summary(loaded[name], runs[name], runs[first]) for name in options.paths}
    return SpeedBenchmark(options, threshold, found)


def vocabulary_names(model: str, classes: int) -> list[str]:
    """The words: those of the demonstration for the demo model, as far as they go, else COCO-Stuff's."""
    from activesam_ros.toytown import DEMO_CLASSES

    if model == DEMO_MODEL and classes <= len(DEMO_CLASSES):
        return list(DEMO_CLASSES[:classes])
    return base_names(classes)


def drive(images: int, size: tuple[int, int]) -> list[np.ndarray]:
    """Frames of a drive through Toy Town, uint8 [height, width, 3] each.

    Args:
        images: how many.
        size: width and height in pixels.
    """
    from activesam_ros.toytown.world import World

    world = World(_SEED)
    return [
        cv2.resize(world.render(0.5 + _SECONDS_A_FRAME * number).rgb, size, interpolation=cv2.INTER_LINEAR)
        for number in range(images)
    ]


def _summary(loaded: Loaded, runs: Sequence[Run], first: Sequence[Run]) -> Measured:
    stages = [stage for stage in first[0].seconds if stage in runs[0].seconds]
    totals = [run.seconds["total"] for run in runs]
    on_gpu = [run.gpu_seconds for run in runs if run.gpu_seconds is not None]
    peaks = [run.peak for run in runs if run.peak is not None]
    instances = [count for run in runs for count in run.instances]
    pairs = list(zip(runs, first, strict=True))
    return Measured(
        loaded,
        {stage: statistics.median(run.seconds.get(stage, 0.0) for run in runs) for stage in runs[0].seconds},
        {
            stage: statistics.median(
                one.seconds.get(stage, 0.0) / other.seconds[stage] for one, other in pairs
            )
            for stage in stages
        },
        statistics.mean(totals),
        statistics.median(on_gpu) if on_gpu else None,
        max(peaks, default=None),
        statistics.mean(len(run.active_prompts) for run in runs),
        statistics.mean(instances),
        statistics.mean(float((one.labels == other.labels).mean()) for one, other in pairs),
        statistics.mean(one.active_prompts == other.active_prompts for one, other in pairs),
    )
