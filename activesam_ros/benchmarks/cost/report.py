"""Counted work and measured speed as Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from activesam_ros.benchmarks.cost.paths import PATHS
from activesam_ros.benchmarks.cost.ways import WAYS
from activesam_ros.benchmarks.cost.work import STEPS_WORDS, Counted, Step, WorkBenchmark
from activesam_ros.benchmarks.report import table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from activesam_ros.benchmarks.cost.speed import Measured, SpeedBenchmark

TERA = 1e12
_STAGES = ("prepare", "preview", "encode", "decode", "fuse", "total")


def work_to_markdown(found: WorkBenchmark) -> str:
    """Tables with a title each."""
    inputs = found.inputs
    parts = [
        f"Model: {found.model}, 1008 pixels, preview 672. Assumed: {inputs.tokens} tokens a prompt, {inputs.kept} "
        f"masks of each that is decoded, {inputs.shown} words in view of a video; two operations for a multiply-add.",
        "\n".join(f"- `{way.name}`: {way.description}." for way in WAYS),
        "10¹² operations an image, by stage; *asked* and *decoded*: prompts in an image, on average:",
        _vocabularies(found.vocabularies),
        "10¹² operations an image, by the number of words:",
        _growth(found.growing_words, "words", lambda one: one.scale.words),
        "10¹² operations an image of 150 words, by its side in pixels:",
        _growth(found.growing_sizes, "pixels", lambda one: one.scale.image_size),
        f"Where it is saved, 10⁹ operations; *times*: in an image of {STEPS_WORDS} words:",
        _steps(found.steps),
    ]
    return "\n\n".join(parts) + "\n"


def _vocabularies(counted: Sequence[Counted]) -> str:
    published = {one.scale.words: one.total for one in counted if one.way == "as published"}
    rows = [
        [
            f"{one.scale.words}, {one.way}",
            f"{one.asked:.1f}".removesuffix(".0"),
            f"{one.active:.1f}".removesuffix(".0"),
            *(f"{value / TERA:.2f}" for value in (one.work.preview, one.work.encode, one.work.decode)),
            f"{one.total / TERA:.2f}",
            f"{one.total / published[one.scale.words]:.2f}",
        ]
        for one in counted
    ]
    return table(
        ["words, way", "asked", "decoded", "preview", "encode", "decode", "total", "ratio to `as published`"],
        rows,
    )


def _growth(counted: Sequence[Counted], label: str, where) -> str:
    names = [way.name for way in WAYS]
    totals = {(where(one), one.way): one.total for one in counted}
    rows = [
        [str(place), *(f"{totals[place, name] / TERA:.1f}" for name in names)]
        for place in dict.fromkeys(where(one) for one in counted)
    ]
    return table([label, *names], rows)


def _steps(steps: Sequence[Step]) -> str:
    rows = [
        [
            step.name,
            *(f"{value / 1e9:.1f}" if value else "" for value in (step.plain, step.lean)),
            f"{step.lean / step.plain:.2f}" if step.plain else "",
            str(step.times) if step.times else "",
            f"{step.saved / 1e9:.0f}" if step.times else "",
        ]
        for step in steps
    ]
    rows.append(["in all", "", "", "", "", f"{sum(step.saved for step in steps) / 1e9:.0f}"])
    return table(["", "plain", "lean", "ratio", "times", "saved"], rows)


def speed_to_markdown(found: SpeedBenchmark) -> str:
    """Tables with a title each."""
    options = found.options
    first = options.paths[0]
    lead = found.paths[first]
    width, height = options.size
    images = "1 image" if options.images == 1 else f"{options.images} images"
    threshold = (
        "the usual confidence threshold"
        if found.threshold is None
        else f"confidence threshold {found.threshold:.4f}"
        + (f", for {options.masks} masks a prompt on `{first}`" if options.masks else "")
    )
    parts = [
        f"Model: {options.called or options.model}, {options.classes} words, {images} of {width}x{height}, "
        f"{threshold}. Machine: {lead.loaded.machine}.",
        f"Seconds an image, medians; in brackets the median of the ratios to `{first}`, image by image:",
        _seconds(found.paths),
        "Memory in MiB: with weights and words before the first image, and the most above that while an image was "
        f"labelled ({_memory_source(lead)}):",
        _memory(found.paths, lead),
        f"What came out, against `{first}`:",
        _outcome(found.paths),
    ]
    return "\n\n".join(parts) + "\n"


def _seconds(paths) -> str:
    rows = []
    for name, one in paths.items():
        cells = []
        for stage in _STAGES:
            if stage not in one.seconds:
                cells.append("")
                continue
            ratio = f" ({one.ratio[stage]:.2f})" if stage in one.ratio else ""
            cells.append(f"{_short(one.seconds[stage])}{ratio}")
        mean = f"{_short(one.mean_seconds)}"
        rate = f"{1 / one.mean_seconds:.3g}"
        on_gpu = "" if one.gpu_seconds is None else _short(one.gpu_seconds)
        rows.append([f"`{name}`", one.loaded.device, one.loaded.dtype, *cells, mean, rate, on_gpu])
    return table(
        ["path", "device", "dtype", *_STAGES, "mean total", "images a second", "GPU"],
        rows,
    )


def _memory(paths, lead: Measured) -> str:
    rows = []
    for name, one in paths.items():
        known = one.peak is not None and lead.peak
        rows.append(
            [
                f"`{name}`",
                f"{one.loaded.weights / 2**20:.0f}",
                "" if one.peak is None else f"{one.peak / 2**20:.0f}",
                f"{one.peak / lead.peak:.2f}" if known else "",
            ]
        )
    return table(["path", "weights and words", "above them", "ratio"], rows)


def _outcome(paths) -> str:
    rows = [
        [
            f"`{name}`{_described(name)}",
            f"{one.active:.1f}",
            f"{one.masks:.1f}",
            f"{100 * one.equal_pixels:.3f} %",
            f"{100 * one.equal_sets:.0f} %",
        ]
        for name, one in paths.items()
    ]
    return table(
        ["path", "decoded prompts", "masks of each", "equal labels", "images with equal active sets"], rows
    )


def _described(name: str) -> str:
    path = PATHS[name]
    if path.plain:
        return ", as published"
    return ", a video" if path.profile == "realtime" else ""


def _memory_source(lead: Measured) -> str:
    if lead.loaded.device.startswith("cuda"):
        return "max_memory_allocated"
    if lead.peak is None:
        return "this system does not let a process forget its peak, so there is none"
    return "peak of the resident memory, VmHWM, forgotten before every image"


def _short(seconds: float) -> str:
    return f"{seconds:.3f}" if seconds < 10 else f"{seconds:.1f}"
