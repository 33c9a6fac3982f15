"""The figures of the vocabulary benchmark as Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from activesam_ros.benchmarks.edits import Encoding
    from activesam_ros.benchmarks.start import Start
    from activesam_ros.benchmarks.vocabulary import VocabularyBenchmark


def to_markdown(found: VocabularyBenchmark) -> str:
    """Tables with a title each."""
    options = found.options
    size = f"{options.stream_resolution} pixels" if options.stream_resolution else "its own resolution"
    parts = [
        f"Model: {options.model}. Machine: {found.machine}.",
        "Changes of words (seconds; ratio: how many times faster than encoding everything each time):",
        _edits(found),
        "From start to the first vocabulary in force (seconds, libraries already imported):",
        _starts(found),
        "Resident memory (MiB):",
        _memory(found),
        f"Seconds between outputs, {options.stream_classes} classes at {size}, while words are encoded:",
        _gaps(found),
    ]
    return "\n\n".join(parts) + "\n"


def _edits(found: VocabularyBenchmark) -> str:
    rows = [
        [
            edit.name,
            str(edit.phrases),
            str(edit.release.encoded),
            _seconds(edit.everything.seconds),
            *_against(edit.release, edit.everything),
            *_against(edit.keep, edit.everything),
        ]
        for edit in found.edits
    ]
    header = ["change", "phrases", "encoded", "everything each time", "`release`", "ratio", "`keep`", "ratio"]
    return table(header, rows)


def _against(cached: Encoding, everything: Encoding) -> tuple[str, str]:
    return _seconds(cached.seconds), f"{everything.seconds / cached.seconds:.3g}"


def _starts(found: VocabularyBenchmark) -> str:
    rows = [
        [name, str(start.encoded), *map(_seconds, (start.model_seconds, start.prompt_seconds, _total(start)))]
        for name, start in (("warm cache", found.warm), ("no cache, everything encoded", found.cold))
    ]
    prompts = found.cold.prompt_seconds / found.warm.prompt_seconds
    total = _total(found.cold) / _total(found.warm)
    rows.append(["ratio", "", "", f"{prompts:.3g}", f"{total:.3g}"])
    filled = found.filling
    note = f"Filling the cache ahead: {filled.misses} phrases in {_seconds(filled.seconds)} s."
    return table(["start", "encoded", "image path", "prompts", "in all"], rows) + "\n\n" + note


def _total(start: Start) -> float:
    return start.model_seconds + start.prompt_seconds


def _memory(found: VocabularyBenchmark) -> str:
    rows = [
        [
            name,
            "yes" if start.text_encoder_loaded else "no",
            _mebibytes(start.before.resident),
            _mebibytes(start.after.resident),
            _mebibytes(start.after.resident - start.before.resident),
            _mebibytes(start.after.peak),
        ]
        for name, start in (
            ("with the text encoder (`keep`)", found.cold),
            ("without: every phrase was cached", found.warm),
            ("after an unknown word (`release`)", found.met),
        )
    ]
    header = ["state", "text encoder loaded", "libraries", "resident", "of which the model", "peak"]
    return table(header, rows)


def _gaps(found: VocabularyBenchmark) -> str:
    rows = [
        [
            f"`{residence}`",
            _seconds(gaps.median),
            _seconds(gaps.largest_quiet),
            _seconds(gaps.largest),
            f"{gaps.largest / gaps.median:.2f}",
            _seconds(gaps.encoding),
            f"{gaps.edits} / {gaps.frames}",
        ]
        for residence, gaps in found.gaps.items()
    ]
    header = [
        "text_encoder",
        "median",
        "largest, nothing encoded",
        "largest, a word encoded",
        "largest / median",
        "a word takes",
        "words / images",
    ]
    return table(header, rows)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; all columns but the first are aligned to the right."""
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, rule, *rows])


def _seconds(value: float) -> str:
    return f"{value:.3f}" if value < 10 else f"{value:.1f}"


def _mebibytes(value: int) -> str:
    return f"{value / 2**20:.0f}"
