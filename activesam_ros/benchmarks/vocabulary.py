"""The vocabulary benchmark: what words cost in time and in memory."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from activesam_ros.benchmarks.apart import in_own_process
from activesam_ros.benchmarks.edits import Edit, measure_edits
from activesam_ros.benchmarks.gaps import Gaps, measure_gaps
from activesam_ros.benchmarks.start import Start, measure_start
from activesam_ros.benchmarks.words import NEW_WORDS, base_names
from activesam_ros.model.folder import resolve_folder
from activesam_ros.system.machine import machine

if TYPE_CHECKING:
    from collections.abc import Callable

    from activesam_ros.prompts.text_encoder import EncodingReport, Residence


@dataclass(frozen=True)
class Options:
    """How to measure.

    Attributes:
        model: as for `load_checkpoint`.
        dtype: as for `load_checkpoint`.
        classes: of the vocabulary, at least three; None: all 171.
        repeats: measurements of each change of words.
        threads: torch's threads; None: torch's choice.
        stream_classes: of the vocabulary of the stream whose gaps are measured.
        stream_resolution: full resolution of that stream; None: the model's.
        stream_frames: images before and after each edit of that stream.
        stream_edits: words that are encoded beside it.
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
class VocabularyBenchmark:
    """What was measured.

    Attributes:
        machine: on what.
        options: how.
        filling: what it took to fill the prompt cache with the vocabulary.
        edits: changes of words.
        warm: a start with every phrase in the cache.
        cold: a start that encodes everything with a text encoder that stays.
        met: a start like `warm` that then meets an unknown word and releases the text encoder.
        gaps: gaps between outputs, by what happens to the text encoder after use.
    """

    machine: str
    options: Options
    filling: EncodingReport
    edits: list[Edit]
    warm: Start
    cold: Start
    met: Start
    gaps: dict[str, Gaps]


def measure_vocabulary(
    options: Options, say: Callable[[str], None], apart: Callable[..., object] = in_own_process
) -> VocabularyBenchmark:
    """Runs the whole benchmark, one part after the other.

    Args:
        options: how.
        say: told which part begins.
        apart: runs a part; anything but `in_own_process` makes the figures of memory worthless.

    Raises:
        ModelError: there is no such model.
        ActiveSamError: a part failed.
    """
    resolve_folder(options.model)
    names = base_names(options.classes)
    start = partial(measure_start, options.model, names, dtype=options.dtype)
    with TemporaryDirectory() as scratch:
        cache = Path(scratch) / "prompts"
        run = partial(apart, threads=options.threads)
        on = run(_describe)
        say(f"filling a prompt cache with {len(names)} classes")
        filling = run(_fill, options.model, names, cache)
        say("starting with a warm cache")
        warm = run(start, cache, "release")
        say("starting without a cache")
        cold = run(start, None, "keep")
        say("changing words")
        edits = run(_edits, options.model, cache, names, options.repeats)
        say("starting with a warm cache and meeting an unknown word")
        met = run(start, cache, "release", then=NEW_WORDS[-1])
        gaps = {}
        for residence in ("release", "keep"):
            say(f"encoding words beside a stream, text_encoder {residence}")
            gaps[residence] = run(_gaps, options, residence)
    return VocabularyBenchmark(on, options, filling, edits, warm, cold, met, gaps)


def _describe() -> str:
    import torch

    return machine(torch.get_num_threads())


def _fill(model: str, names: list[str], cache: Path) -> EncodingReport:
    import torch

    from activesam_ros.model.checkpoint import open_text_checkpoint
    from activesam_ros.prompts.hypernyms import TableHypernyms
    from activesam_ros.prompts.prompt_set import needed_prompts
    from activesam_ros.prompts.text_encoder import fill_prompt_cache
    from activesam_ros.vocabulary import Vocabulary

    phrases = needed_prompts([Vocabulary.from_names(names)], [TableHypernyms.shipped()])
    return fill_prompt_cache(open_text_checkpoint(model), cache, phrases, torch.device("cpu"))


def _edits(model: str, cache: Path, names: list[str], repeats: int) -> list[Edit]:
    from activesam_ros.model.checkpoint import open_text_checkpoint

    return measure_edits(open_text_checkpoint(model), cache, names, repeats)


def _gaps(options: Options, residence: Residence) -> Gaps:
    from activesam_ros.prompts.hypernyms import TableHypernyms
    from activesam_ros.segmenter import ActiveSegmenter
    from activesam_ros.settings import SegmenterSettings
    from activesam_ros.toytown import CLASSES
    from activesam_ros.toytown.world import World
    from activesam_ros.vocabulary import Vocabulary

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
    edits = [Vocabulary.from_names([*names[:-1], word]) for word in NEW_WORDS[: options.stream_edits]]
    return measure_gaps(segmenter, World(900_123).render(0.5).rgb, edits, options.stream_frames)
