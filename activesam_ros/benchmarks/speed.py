"""Measure time and memory of labelling the same images in several variants, each in its own process."""

from __future__ import annotations

import statistics
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch

from activesam_ros.benchmarks.inputs import coco_stuff_names
from activesam_ros.benchmarks.subprocesses import Subprocess
from activesam_ros.errors import ModelError
from activesam_ros.evaluation.report.formatting import markdown_table, seconds
from activesam_ros.model.compiling import keep_compiled, torch_compiler
from activesam_ros.model.folder import resolve_folder
from activesam_ros.model.fused.heads import FusedPromptHeads
from activesam_ros.model.prompt_heads import PromptHeads
from activesam_ros.prompts.hypernyms import TableHypernyms
from activesam_ros.segmenter import ActiveSegmenter, StreamMemory
from activesam_ros.settings import settings_for
from activesam_ros.stages.decoding import decode_prompts
from activesam_ros.stages.timing import StageTimer
from activesam_ros.system.machine import machine
from activesam_ros.system.memory import memory, release_memory
from activesam_ros.vocabulary import Vocabulary

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

DEMO_MODEL = "toytown"
_SECONDS_BETWEEN_IMAGES = 0.25
_SEED = 900_123
_RESET_PEAK = "5"
_CLEAR_REFS = Path("/proc/self/clear_refs")
_STAGES = ("prepare", "preview", "encode", "decode", "fuse", "total", "processor")


@dataclass(frozen=True)
class Variant:
    """A way to run the model: on the reference path (transformers' own modules, as published) or on the fused one.

    Attributes:
        dtype: in place of the one that was asked for; None: that one.
        compiled: whether torch compiles its large parts.
        graphs: whether they are replayed as CUDA graphs, on a GPU.
    """

    name: str
    reference: bool = False
    profile: str = "paper"
    dtype: str | None = None
    compiled: bool = False
    graphs: bool = False


VARIANTS = {
    variant.name: variant
    for variant in (
        Variant("plain", reference=True),
        Variant("lean"),
        Variant("fast", profile="fast"),
        Variant("realtime", profile="realtime"),
        Variant("bfloat16", dtype="bfloat16"),
        Variant("compiled", compiled=True),
        Variant("graphs", graphs=True),
    )
}


@dataclass(frozen=True)
class SpeedOptions:
    """What to measure; `model`, `device` and `dtype` are as for `load_checkpoint`.

    Attributes:
        paths: names of `VARIANTS`; the others are compared with the first.
        size: width and height of the images in pixels.
        cold: whether the first image is measured, which pays for what later ones reuse; otherwise one more comes
            before it.
        threads: torch's threads; None: torch's choice.
        masks: choose the confidence threshold so that prompts of the first image keep this many instance masks each
            in the first variant, on average; None: the usual threshold.
        threshold: the confidence threshold, unless `masks` chooses it; None: the usual one.
        max_active: most decoded prompts; None: as the profile has it.
        called: what the report calls the model; None: as it was given.
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
    max_active: int | None = None
    called: str | None = None


@dataclass(frozen=True)
class Loaded:
    """A loaded variant; `weights`: bytes with weights and prompt embeddings, resident or allocated on a GPU."""

    machine: str
    device: str
    dtype: str
    full_resolution: int
    preview_resolution: int
    weights: int


@dataclass(frozen=True, eq=False)
class LabelledImage:
    """The measurement of one image.

    Attributes:
        seconds: by stage, "total", and "processor": of all threads together.
        gpu_seconds: from the first to the last operation on the GPU; None on a CPU.
        peak: maximum bytes above the weights while it was labelled; None: the system does not tell.
        labels: uint8 or uint16 [H, W].
        instance_counts: number of masks that each of the active prompts kept.
    """

    seconds: dict[str, float]
    gpu_seconds: float | None
    peak: int | None
    labels: np.ndarray
    active_prompts: tuple[int, ...]
    instance_counts: tuple[int, ...]


@dataclass(frozen=True)
class VariantSpeed:
    """The measurement of one variant.

    Attributes:
        seconds: median by stage, "total" and "processor".
        ratio: median over the images of the ratio to the first variant; None where either lacks the stage.
        mean_seconds: of an image; images of a video differ.
        gpu_seconds: median; None on a CPU.
        gpu_seconds_95: 95th percentile, likewise.
        peak: maximum memory above the weights, in bytes; None: unknown.
        active: decoded prompts of an image, on average.
        masks: instance masks of each of them, on average.
        equal_pixels: share of the pixels with the label of the first variant.
        equal_sets: share of the images with the active set of the first variant.
    """

    loaded: Loaded
    seconds: Mapping[str, float]
    ratio: Mapping[str, float]
    mean_seconds: float
    gpu_seconds: float | None
    gpu_seconds_95: float | None
    peak: int | None
    active: float
    masks: float
    equal_pixels: float
    equal_sets: float


@dataclass(frozen=True)
class SpeedResult:
    """The measurements by name of the variant, with the confidence threshold in force (None: the usual one)."""

    options: SpeedOptions
    threshold: float | None
    paths: Mapping[str, VariantSpeed]


class MeasuredSegmenter:
    """A segmenter that measures itself; its memory figures need a process of its own."""

    def __init__(
        self,
        variant: Variant,
        model: str,
        device: str,
        dtype: str,
        names: Sequence[str],
        prompt_cache: Path | None,
        max_active: int | None = None,
    ) -> None:
        """Load the model and encode the vocabulary; with all prompts in the cache the text encoder is not loaded."""
        if variant.compiled:
            keep_compiled()
        settings = settings_for(variant.profile, {} if max_active is None else {"max_active": max_active})
        self._segmenter = ActiveSegmenter.from_pretrained(
            model,
            device,
            variant.dtype or dtype,
            settings,
            TableHypernyms.shipped(),
            prompt_cache=prompt_cache,
            plain=variant.reference,
            compiler=torch_compiler() if variant.compiled else None,
            cuda_graphs=variant.graphs,
        )
        prompts = self._segmenter.encode(Vocabulary.from_names(names))
        self._segmenter.use(prompts)
        if self._segmenter.compiled:
            self._segmenter.warm_up(prompts)
        self._stream = StreamMemory() if settings.reuses_frames else None
        # Weights that are mapped from a file become resident when they are read.
        for weight in self._segmenter.checkpoint.model.parameters():
            weight.abs().max()
        release_memory()
        self._weights = self._memory_in_use()

    def loaded(self) -> Loaded:
        """Describe what was loaded, before the first image."""
        segmenter = self._segmenter
        device = segmenter.device
        if self._on_gpu:
            device += f" ({torch.cuda.get_device_name(segmenter.checkpoint.device)})"
        return Loaded(
            machine(torch.get_num_threads()),
            device,
            segmenter.dtype,
            segmenter.full_resolution,
            segmenter.preview_resolution,
            self._weights,
        )

    def threshold_for(self, rgb: np.ndarray, masks: int) -> float:
        """Return the confidence threshold at which active prompts of an image keep `masks` masks each, on average.

        Raises:
            ModelError: the prompts have fewer instances than that.
        """
        segmenter = self._segmenter
        with torch.inference_mode():
            (image,) = segmenter.encode_images([rgb])
            heads = (PromptHeads if segmenter.plain else FusedPromptHeads)(segmenter.checkpoint)
            decoded = decode_prompts(heads, image, 1, 0.0, StageTimer(segmenter.checkpoint.device))
            scores = [one.instance_scores for _, prompts in decoded for one in prompts.split()]
        wanted = masks * len(image.active)
        best = torch.cat(scores).sort(descending=True).values
        if len(best) <= wanted:
            raise ModelError(f"prompts have {len(best)} instances in all; expected more than {wanted}")
        return float((best[wanted - 1] + best[wanted]) / 2)

    def use_threshold(self, threshold: float) -> None:
        """Set the confidence threshold; a video begins anew."""
        settings = replace(self._segmenter.settings, confidence_threshold=threshold)
        self._segmenter = self._segmenter.with_settings(settings)
        self._stream = StreamMemory() if settings.reuses_frames else None

    def run(self, rgb: np.ndarray) -> LabelledImage:
        """Label uint8 [H, W, 3]; raises as `ActiveSegmenter.segment`."""
        release_memory()
        known = self._reset_peak()
        begin = end = None
        if self._on_gpu:
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
        started = time.process_time()
        result = self._segmenter.segment(rgb, self._stream, instances=False)
        processor = time.process_time() - started
        gpu_seconds = None
        if begin is not None and end is not None:
            end.record()
            end.synchronize()
            gpu_seconds = begin.elapsed_time(end) / 1000
        peak = max(0, self._memory_in_use(peak=True) - self._weights) if known else None
        return LabelledImage(
            {**result.timings, "processor": processor},
            gpu_seconds,
            peak,
            result.labels,
            result.active_prompts,
            result.instance_counts or (),
        )

    @property
    def _on_gpu(self) -> bool:
        return self._segmenter.checkpoint.device.type == "cuda"

    def _memory_in_use(self, peak: bool = False) -> int:
        if self._on_gpu:
            count = torch.cuda.max_memory_allocated if peak else torch.cuda.memory_allocated
            return count(self._segmenter.checkpoint.device)
        return memory().peak if peak else memory().resident

    def _reset_peak(self) -> bool:
        """Reset the peak; False if the system does not allow it."""
        if self._on_gpu:
            torch.cuda.reset_peak_memory_stats(self._segmenter.checkpoint.device)
            return True
        try:
            _CLEAR_REFS.write_text(_RESET_PEAK)
        except OSError:
            return False
        return True


def measure_speed(
    options: SpeedOptions,
    say: Callable[[str], None],
    start: Callable[..., AbstractContextManager[Any]] = Subprocess,
) -> SpeedResult:
    """Label the same images in every variant, in turns whose order alternates; memory figures need `Subprocess`.

    Raises:
        ActiveSamError: there is no such model, or a variant failed.
    """
    resolve_folder(options.model)
    first = options.paths[0]
    names = class_names(options.model, options.classes)
    unmeasured = 0 if options.cold else 1
    images = drive_images(options.images + unmeasured, options.size)
    threshold = options.threshold
    with ExitStack() as stack:
        # Later variants find the prompts in the cache, so that the text encoder is loaded once.
        cache = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "prompts"
        running: dict[str, Any] = {}
        loaded: dict[str, Loaded] = {}
        for name in options.paths:
            say(f"loading {name}")
            variant = VARIANTS[name]
            given = (variant, options.model, options.device, options.dtype, names, cache, options.max_active)
            running[name] = stack.enter_context(start(MeasuredSegmenter, *given, threads=options.threads))
            loaded[name] = running[name].call("loaded")
        if options.masks is not None:
            say(f"looking for the threshold at which {options.masks} masks a prompt are kept")
            threshold = running[first].call("threshold_for", images[0], options.masks)
        if threshold is not None:
            for process in running.values():
                process.call("use_threshold", threshold)
        measured: dict[str, list[LabelledImage]] = {name: [] for name in options.paths}
        for number, rgb in enumerate(images, 1 - unmeasured):
            for name in options.paths if number % 2 else options.paths[::-1]:
                one = running[name].call("run", rgb)
                what = f"image {number} of {options.images}" if number else "a first image, not measured"
                say(f"{what}: {name} {one.seconds['total']:.2f} s")
                if number:
                    measured[name].append(one)
    found = {name: _summary(loaded[name], measured[name], measured[first]) for name in options.paths}
    return SpeedResult(options, threshold, found)


def class_names(model: str, classes: int) -> list[str]:
    """Return class names: of the demo for the demo model, as far as they go, else COCO-Stuff's."""
    from activesam_ros.toytown import DEMO_CLASSES

    if model == DEMO_MODEL and classes <= len(DEMO_CLASSES):
        return list(DEMO_CLASSES[:classes])
    return coco_stuff_names(classes)


def drive_images(images: int, size: tuple[int, int]) -> list[np.ndarray]:
    """Render frames of a drive through Toy Town, uint8 [height, width, 3] each; `size` is width and height."""
    from activesam_ros.toytown.world import World

    world = World(_SEED)
    times = (0.5 + _SECONDS_BETWEEN_IMAGES * number for number in range(images))
    return [cv2.resize(world.render(time).rgb, size, interpolation=cv2.INTER_LINEAR) for time in times]


def _summary(loaded: Loaded, images: Sequence[LabelledImage], first: Sequence[LabelledImage]) -> VariantSpeed:
    on_gpu = [one.gpu_seconds for one in images if one.gpu_seconds is not None]
    peaks = [one.peak for one in images if one.peak is not None]
    pairs = list(zip(images, first, strict=True))
    common = [stage for stage in first[0].seconds if stage in images[0].seconds]
    return VariantSpeed(
        loaded=loaded,
        seconds={
            stage: statistics.median(one.seconds.get(stage, 0.0) for one in images)
            for stage in images[0].seconds
        },
        ratio={
            stage: statistics.median(
                one.seconds.get(stage, 0.0) / other.seconds[stage] for one, other in pairs
            )
            for stage in common
        },
        mean_seconds=statistics.mean(one.seconds["total"] for one in images),
        gpu_seconds=statistics.median(on_gpu) if on_gpu else None,
        gpu_seconds_95=float(np.percentile(on_gpu, 95)) if on_gpu else None,
        peak=max(peaks, default=None),
        active=statistics.mean(len(one.active_prompts) for one in images),
        masks=statistics.mean(count for one in images for count in one.instance_counts),
        equal_pixels=statistics.mean(float((one.labels == other.labels).mean()) for one, other in pairs),
        equal_sets=statistics.mean(one.active_prompts == other.active_prompts for one, other in pairs),
    )


def to_markdown(found: SpeedResult) -> str:
    """Format the result as tables with a title each."""
    options = found.options
    first = options.paths[0]
    lead = found.paths[first]
    width, height = options.size
    images = "1 image" if options.images == 1 else f"{options.images} images"
    if options.max_active is not None:
        images += f", at most {options.max_active} prompts decoded"
    threshold = "the usual confidence threshold"
    if found.threshold is not None:
        threshold = f"confidence threshold {found.threshold:.4f}"
        threshold += f", for {options.masks} masks a prompt in `{first}`" if options.masks else ""
    parts = [
        f"Model: {options.called or options.model}, {options.classes} classes, {images} of {width}x{height}, "
        f"{threshold}. Machine: {lead.loaded.machine}.",
        "Seconds an image, medians (`processor`: of all threads together, which other work on the machine hardly "
        f"changes); in brackets the median of the ratios to `{first}`, image by image:",
        _seconds_table(found.paths),
        "Memory in MiB: with weights and prompts before the first image, and the most above that while an image was "
        f"labelled ({_memory_source(lead)}):",
        _memory_table(found.paths, lead),
        f"What came out, against `{first}`:",
        _labels_table(found.paths),
    ]
    return "\n\n".join(parts) + "\n"


def _seconds_table(variants: Mapping[str, VariantSpeed]) -> str:
    rows = []
    for name, one in variants.items():
        cells = []
        for stage in _STAGES:
            ratio = f" ({one.ratio[stage]:.2f})" if stage in one.ratio else ""
            cells.append(f"{seconds(one.seconds[stage])}{ratio}" if stage in one.seconds else "")
        on_gpu = ""
        if one.gpu_seconds is not None and one.gpu_seconds_95 is not None:
            on_gpu = f"{seconds(one.gpu_seconds)} / {seconds(one.gpu_seconds_95)}"
        rate = f"{1 / one.mean_seconds:.3g}"
        rows.append(
            [
                f"`{name}`",
                one.loaded.device,
                one.loaded.dtype,
                *cells,
                seconds(one.mean_seconds),
                rate,
                on_gpu,
            ]
        )
    header = ["variant", "device", "dtype", *_STAGES, "mean total", "images a second", "GPU, p50 / p95"]
    return markdown_table(header, rows)


def _memory_table(variants: Mapping[str, VariantSpeed], lead: VariantSpeed) -> str:
    rows = []
    for name, one in variants.items():
        peak = "" if one.peak is None else f"{one.peak / 2**20:.0f}"
        ratio = f"{one.peak / lead.peak:.2f}" if one.peak is not None and lead.peak else ""
        rows.append([f"`{name}`", f"{one.loaded.weights / 2**20:.0f}", peak, ratio])
    return markdown_table(["variant", "weights and prompts", "above them", "ratio"], rows)


def _labels_table(variants: Mapping[str, VariantSpeed]) -> str:
    rows = []
    for name, one in variants.items():
        variant = VARIANTS[name]
        note = ", as published" if variant.reference else ", a video" if variant.profile == "realtime" else ""
        shares = (f"{100 * one.equal_pixels:.3f} %", f"{100 * one.equal_sets:.0f} %")
        rows.append([f"`{name}`{note}", f"{one.active:.1f}", f"{one.masks:.1f}", *shares])
    header = ["variant", "decoded prompts", "masks of each", "equal labels", "images with equal active sets"]
    return markdown_table(header, rows)


def _memory_source(lead: VariantSpeed) -> str:
    if lead.loaded.device.startswith("cuda"):
        return "max_memory_allocated"
    if lead.peak is None:
        return "this system does not let a process reset its peak, so there is none"
    return "peak of the resident memory, VmHWM, reset before every image"
