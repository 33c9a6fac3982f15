"""Measure what a vocabulary change and a start cost in time and memory, and the latency of a stream meanwhile."""

from __future__ import annotations

import shutil
import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import torch

from activesam_ros.benchmarks.inputs import coco_stuff_names
from activesam_ros.benchmarks.subprocesses import run_in_subprocess
from activesam_ros.evaluation.report.formatting import markdown_table, seconds
from activesam_ros.model.checkpoint import open_text_checkpoint
from activesam_ros.model.folder import resolve_folder
from activesam_ros.prompts.hypernyms import TableHypernyms
from activesam_ros.prompts.prompt_set import encode_vocabulary, needed_prompts
from activesam_ros.prompts.text_encoder import TextEncoder, fill_prompt_cache
from activesam_ros.segmenter import ActiveSegmenter
from activesam_ros.settings import SegmenterSettings
from activesam_ros.system.machine import machine
from activesam_ros.system.memory import Memory, memory
from activesam_ros.vocabulary import Vocabulary
from activesam_ros.vocabulary.canonical import canonical_name, match_key
from activesam_ros.vocabulary.files import load_vocabulary_file, preset_names

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np

    from activesam_ros.model.checkpoint import TextCheckpoint
    from activesam_ros.prompts.text_encoder import EncodingReport, Residence

NEW_CLASSES = (
    *("hydraulic excavator", "garden gnome", "paper lantern", "snow globe", "wind turbine", "bagpipe"),
    *("accordion", "watering can", "rubber duck", "sundial", "anvil", "hammock"),
)
"""Classes of no preset, so that no cache has them."""

_WARM_UP = "to load the text encoder"
_STREAM_SEED = 900_123


@dataclass(frozen=True)
class VocabularyOptions:
    """What to measure; `model`, `dtype` and `threads` are as in `SpeedOptions`.

    Attributes:
        classes: number of classes of the vocabulary, at least three; None: all 171.
        repeats: measurements of each change.
        stream_classes, stream_resolution: of the stream whose latency is measured; None: the model's resolution.
        stream_frames, stream_edits: vocabulary changes during that stream, and images before and after each.
    """

    model: str = "toytown"
    dtype: str = "auto"
    classes: int | None = None
    repeats: int = 3
    threads: int | None = None
    stream_classes: int = 19
    stream_resolution: int | None = None
    stream_frames: int = 10
    stream_edits: int = 5


@dataclass(frozen=True)
class Encoding:
    """Seconds to encode a vocabulary (median of the repeats), and how many phrases the text encoder read (maximum)."""

    seconds: float
    encoded: int


@dataclass(frozen=True)
class ChangeCost:
    """The cost of one vocabulary change.

    Attributes:
        phrases: distinct prompts and hypernyms of the vocabulary after it.
        release: with the cache; the text encoder is loaded if needed, and dropped.
        keep: with the cache and a text encoder that stays in memory.
        everything: without a cache and with a text encoder that stays in memory.
    """

    name: str
    phrases: int
    release: Encoding
    keep: Encoding
    everything: Encoding


@dataclass(frozen=True)
class StartCost:
    """The cost of one start, and the memory before the model was loaded and with the vocabulary in force.

    Attributes:
        prompt_seconds: to encode the vocabulary, with the loading of the text encoder.
        encoded: phrases that the text encoder read.
        text_encoder_loaded: at the end.
    """

    model_seconds: float
    prompt_seconds: float
    encoded: int
    text_encoder_loaded: bool
    before: Memory
    after: Memory

    @property
    def seconds(self) -> float:
        """Seconds in all."""
        return self.model_seconds + self.prompt_seconds


@dataclass(frozen=True)
class StreamLatency:
    """Seconds between the ends of consecutive images.

    Attributes:
        median, largest_quiet: while nothing is encoded.
        largest: while a vocabulary is encoded, or just after.
        encoding: median seconds to encode a vocabulary.
    """

    median: float
    largest_quiet: float
    largest: float
    encoding: float
    frames: int
    edits: int


@dataclass(frozen=True)
class VocabularyResult:
    """The measurements.

    Attributes:
        filling: filling the prompt cache with the vocabulary.
        warm: a start with every phrase in the cache.
        cold: a start without a cache and with a text encoder that stays.
        met: a start like `warm` that then meets an unknown class and releases the text encoder.
        gaps: latency of a stream, by what happens to the text encoder after use.
    """

    machine: str
    options: VocabularyOptions
    filling: EncodingReport
    edits: list[ChangeCost]
    warm: StartCost
    cold: StartCost
    met: StartCost
    gaps: dict[str, StreamLatency]


def measure_vocabulary(
    options: VocabularyOptions, say: Callable[[str], None], run: Callable[..., Any] = run_in_subprocess
) -> VocabularyResult:
    """Run the parts of the benchmark one after the other; memory figures need `run_in_subprocess`.

    Raises:
        ActiveSamError: there is no such model, or a part failed.
    """
    resolve_folder(options.model)
    names = coco_stuff_names(options.classes)
    with TemporaryDirectory() as scratch:
        cache = Path(scratch) / "prompts"
        run_part = partial(run, threads=options.threads)
        start = partial(run_part, measure_start, options.model, names)
        on = run_part(_describe_machine)
        say(f"filling a prompt cache with {len(names)} classes")
        filling = run_part(_fill_cache, options.model, names, cache)
        say("starting with a warm cache")
        warm = start(cache, "release", options.dtype)
        say("starting without a cache")
        cold = start(None, "keep", options.dtype)
        say("changing the vocabulary")
        edits = run_part(measure_changes, options.model, cache, names, options.repeats)
        say("starting with a warm cache and meeting an unknown class")
        met = start(cache, "release", options.dtype, NEW_CLASSES[-1])
        gaps = {}
        for residence in ("release", "keep"):
            say(f"encoding a vocabulary beside a stream, text_encoder {residence}")
            gaps[residence] = run_part(_measure_demo_stream, options, residence)
    return VocabularyResult(on, options, filling, edits, warm, cold, met, gaps)


def _describe_machine() -> str:
    return machine(torch.get_num_threads())


def _fill_cache(model: str, names: list[str], cache: Path) -> EncodingReport:
    phrases = needed_prompts([Vocabulary.from_names(names)], [TableHypernyms.shipped()])
    return fill_prompt_cache(open_text_checkpoint(model), cache, phrases, torch.device("cpu"))


def with_one_changed(names: list[str], name: str) -> Vocabulary:
    """Return the vocabulary of `names` with `name` in the place of the one in the middle."""
    middle = len(names) // 2
    return Vocabulary.from_names([*names[:middle], name, *names[middle + 1 :]])


def other_names(names: list[str]) -> list[str]:
    """Return as many prompts of other presets, none of which is in `names`."""
    taken = {match_key(canonical_name(name)) for name in names}
    found: list[str] = []
    for preset in preset_names():
        for prompt in load_vocabulary_file(preset).vocabulary().prompts:
            key = match_key(canonical_name(prompt))
            if key not in taken:
                taken.add(key)
                found.append(prompt)
    return found[: len(names)]


def measure_changes(model: str, warm: Path, names: list[str], repeats: int) -> list[ChangeCost]:
    """Measure a change of one class, of all classes, and back, from `names` with their prompts in the cache `warm`.

    Raises:
        ValueError: there are more repeats than half of `NEW_CLASSES`, or none.
    """
    if not 1 <= repeats <= len(NEW_CLASSES) // 2:
        raise ValueError(f"repeats is {repeats}; expected 1 to {len(NEW_CLASSES) // 2}")
    measured = _MeasuredEncoder(open_text_checkpoint(model), warm, names)
    one = [with_one_changed(names, name) for name in NEW_CLASSES[: 2 * repeats]]
    every = [Vocabulary.from_names(other_names(names))] * repeats
    one_release, _ = measured.change("release", one[:repeats])
    one_keep, _ = measured.change("keep", one[repeats:])
    every_release, back_release = measured.change("release", every)
    every_keep, back_keep = measured.change("keep", every)
    rows = [
        (f"one class of {len(names)}, new", one_release, one_keep, measured.everything(one[:repeats])),
        (f"all {len(names)}, new", every_release, every_keep, measured.everything(every)),
        (f"all {len(names)}, seen before", back_release, back_keep, measured.everything([measured.base] * repeats)),
    ]  # fmt: skip
    return [
        ChangeCost(name, everything.encoded, release, keep, everything)
        for name, release, keep, everything in rows
    ]


class _MeasuredEncoder:
    def __init__(self, text: TextCheckpoint, warm: Path, names: list[str]) -> None:
        self._text = text
        self._projection = text.load_text_projection()
        self._warm = warm
        self.base = Vocabulary.from_names(names)
        self._hypernyms = TableHypernyms.shipped()

    def change(self, residence: Residence, targets: list[Vocabulary]) -> tuple[Encoding, Encoding]:
        """Measure the changes from the base to each vocabulary, and back."""
        there, back = [], []
        for target in targets:
            with TemporaryDirectory() as scratch:
                encoder = self._text_encoder(
                    residence, shutil.copytree(self._warm, Path(scratch) / "prompts")
                )
                self._encode(encoder, self.base)
                if residence == "keep":
                    encoder.embed([_WARM_UP])
                there.append(self._encode(encoder, target))
                back.append(self._encode(encoder, self.base))
        return _median(there), _median(back)

    def everything(self, targets: list[Vocabulary]) -> Encoding:
        """Encode each vocabulary without a cache."""
        found = []
        for target in targets:
            encoder = self._text_encoder("keep", None)
            encoder.embed([_WARM_UP])
            found.append(self._encode(encoder, target))
        return _median(found)

    def _text_encoder(self, residence: Residence, folder: Path | None) -> TextEncoder:
        return TextEncoder(self._text, self._projection, torch.device("cpu"), residence, folder)

    def _encode(self, encoder: TextEncoder, vocabulary: Vocabulary) -> Encoding:
        settings = SegmenterSettings()
        started = time.perf_counter()
        prompts = encode_vocabulary(
            vocabulary, encoder, self._hypernyms, settings.neighbor_tokens, settings.hypernym_tokens
        )
        return Encoding(time.perf_counter() - started, prompts.report.misses)


def _median(found: list[Encoding]) -> Encoding:
    return Encoding(statistics.median(one.seconds for one in found), max(one.encoded for one in found))


def measure_start(
    model: str,
    names: list[str],
    prompt_cache: Path | None,
    text_encoder: Residence,
    dtype: str = "auto",
    then: str | None = None,
) -> StartCost:
    """Start a segmenter, and add the unknown class `then`; its memory figures need a process of its own."""
    hypernyms = TableHypernyms.shipped()
    before = memory()
    started = time.perf_counter()
    segmenter = ActiveSegmenter.from_pretrained(
        model, "cpu", dtype, hypernyms=hypernyms, text_encoder=text_encoder, prompt_cache=prompt_cache
    )
    loaded = time.perf_counter()
    prompts = segmenter.encode(Vocabulary.from_names(names))
    segmenter.use(prompts)
    ready = time.perf_counter()
    encoded = prompts.report.misses
    if then is not None:
        prompts = segmenter.encode(Vocabulary.from_names([*names, then]))
        segmenter.use(prompts)
        encoded += prompts.report.misses
    return StartCost(
        loaded - started, ready - loaded, encoded, segmenter.text_encoder_loaded, before, memory()
    )


def _measure_demo_stream(options: VocabularyOptions, residence: Residence) -> StreamLatency:
    from activesam_ros.toytown import CLASSES
    from activesam_ros.toytown.world import World

    names = CLASSES[: options.stream_classes]
    segmenter = ActiveSegmenter.from_pretrained(
        options.model,
        "cpu",
        options.dtype,
        SegmenterSettings(full_resolution=options.stream_resolution),
        TableHypernyms.shipped(),
        residence,
        prompt_cache=None,
    )
    segmenter.set_vocabulary(Vocabulary.from_names(names))
    edits = [Vocabulary.from_names([*names[:-1], name]) for name in NEW_CLASSES[: options.stream_edits]]
    return measure_stream(segmenter, World(_STREAM_SEED).render(0.5).rgb, edits, options.stream_frames)


def measure_stream(
    segmenter: ActiveSegmenter, rgb: np.ndarray, edits: Sequence[Vocabulary], frames: int
) -> StreamLatency:
    """Segment one image over and over in a thread, while this one encodes and sets vocabularies.

    Args:
        segmenter: has a vocabulary.
        rgb: uint8 [H, W, 3].
        edits: vocabularies, each with new classes.
        frames: images before the first and after each edit, at least 2.
    """
    # The first image pays for memory and buffers that later ones reuse.
    segmenter.segment(rgb, instances=False)
    ends = [time.perf_counter()]
    stopping = threading.Event()

    def stream() -> None:
        while not stopping.is_set():
            segmenter.segment(rgb, instances=False)
            ends.append(time.perf_counter())

    def wait_for_frames() -> None:
        wanted = len(ends) + frames
        while len(ends) < wanted and not running.done():
            time.sleep(0.001)

    spans = []
    with ThreadPoolExecutor(1, "stream") as pool:
        running = pool.submit(stream)
        try:
            wait_for_frames()
            for vocabulary in edits:
                begin = time.perf_counter()
                prompts = segmenter.encode(vocabulary)
                spans.append((begin, time.perf_counter()))
                segmenter.use(prompts)
                wait_for_frames()
        finally:
            stopping.set()
        running.result()
    quiet: list[float] = []
    during: list[float] = []
    for start, end in pairwise(ends):
        encoding = any(start < stop and begin < end for begin, stop in spans)
        (during if encoding else quiet).append(end - start)
    encoding_seconds = statistics.median(stop - begin for begin, stop in spans)
    return StreamLatency(
        statistics.median(quiet), max(quiet), max(during), encoding_seconds, len(ends), len(spans)
    )


def to_markdown(found: VocabularyResult) -> str:
    """Format the result as tables with a title each."""
    options = found.options
    size = f"{options.stream_resolution} pixels" if options.stream_resolution else "its own resolution"
    parts = [
        f"Model: {options.model}. Machine: {found.machine}.",
        "Vocabulary changes (seconds; ratio: how many times faster than encoding everything each time):",
        _change_table(found),
        "From start to the first vocabulary in force (seconds, libraries already imported):",
        _start_table(found),
        f"Filling the cache ahead: {found.filling.misses} phrases in {seconds(found.filling.seconds)} s.",
        "Resident memory (MiB):",
        _memory_table(found),
        f"Seconds between outputs, {options.stream_classes} classes at {size}, while a vocabulary is encoded:",
        _stream_table(found),
    ]
    return "\n\n".join(parts) + "\n"


def _change_table(found: VocabularyResult) -> str:
    rows = []
    for one in found.edits:
        cells = [seconds(one.everything.seconds)]
        for cached in (one.release, one.keep):
            cells += [seconds(cached.seconds), f"{one.everything.seconds / cached.seconds:.3g}"]
        rows.append([one.name, str(one.phrases), str(one.release.encoded), *cells])
    header = ["change", "phrases", "encoded", "everything each time", "`release`", "ratio", "`keep`", "ratio"]
    return markdown_table(header, rows)


def _start_table(found: VocabularyResult) -> str:
    rows = [
        [name, str(one.encoded), *map(seconds, (one.model_seconds, one.prompt_seconds, one.seconds))]
        for name, one in (("warm cache", found.warm), ("no cache, everything encoded", found.cold))
    ]
    prompts = found.cold.prompt_seconds / found.warm.prompt_seconds
    rows.append(["ratio", "", "", f"{prompts:.3g}", f"{found.cold.seconds / found.warm.seconds:.3g}"])
    return markdown_table(["start", "encoded", "image path", "prompts", "in all"], rows)


def _memory_table(found: VocabularyResult) -> str:
    rows = []
    for name, one in (
        ("with the text encoder (`keep`)", found.cold),
        ("without: every phrase was cached", found.warm),
        ("after an unknown class (`release`)", found.met),
    ):
        before, after = one.before.resident, one.after.resident
        sizes = (f"{size / 2**20:.0f}" for size in (before, after, after - before, one.after.peak))
        rows.append([name, "yes" if one.text_encoder_loaded else "no", *sizes])
    header = ["state", "text encoder loaded", "libraries", "resident", "of which the model", "peak"]
    return markdown_table(header, rows)


def _stream_table(found: VocabularyResult) -> str:
    rows = [
        [
            f"`{residence}`",
            *map(seconds, (one.median, one.largest_quiet, one.largest)),
            f"{one.largest / one.median:.2f}",
            seconds(one.encoding),
            f"{one.edits} / {one.frames}",
        ]
        for residence, one in found.gaps.items()
    ]
    header = ["text_encoder", "median", "largest, nothing encoded", "largest, a vocabulary encoded"]
    return markdown_table([*header, "largest / median", "encoding takes", "changes / images"], rows)
