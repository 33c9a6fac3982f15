"""The figures of the node's benchmarks as Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from activesam_ros.benchmarks.node.overhead import LIGHT, LIGHT_REPEATS, Comparison, Overheads
from activesam_ros.benchmarks.report import table

if TYPE_CHECKING:
    from collections.abc import Iterable

    from activesam_ros.benchmarks.node.cameras import Cameras
    from activesam_ros.benchmarks.node.soak import Soak


def soak_to_markdown(found: Soak) -> str:
    """Memory, where the frames went, latency, and a verdict."""
    options, edits = found.options, found.edits
    asked = edits.accepted + edits.refused
    parts = [
        f"Model: {options.model}. Machine: {found.machine}.",
        f"{options.frames} frames of {_size(options.size)} after a warm-up of {options.warm_up}, from two cameras, "
        f"reliably, `queue: all`, at most {options.unanswered} of a camera on their way; seed {options.seed}.",
        f"Memory of the node's process (MiB), while no frame was on its way; from start to end "
        f"{found.resident_change:+.2%} resident, {found.anonymous_change:+.2%} anonymous:",
        _memory(found),
        f"Frames, the warm-up included; bad ones: {_listed(found.faults.items())}; "
        f"{asked} requests for words beside them, {edits.refused} refused as they had to be, "
        f"{edits.wrong} answered the wrong way:",
        _frames(found),
        f"Latency, median from sending to labels: {_ms(found.first)} ms in the first tenth, {_ms(found.last)} ms in "
        f"the last ({found.drift:+.1%}); {found.rate:.1f} labels a second.",
        _verdict(found.complaints()),
    ]
    return "\n\n".join(parts) + "\n"


def cameras_to_markdown(found: Cameras) -> str:
    """Where the frames of each camera went, rates and latency, and a verdict."""
    options = found.options
    parts = [
        f"Model: {options.model}, {options.words} classes. Machine: {found.machine}.",
        f"Two cameras, {_size(options.size)} at {options.rate:g} Hz each for {found.seconds:.0f} s, best effort, "
        "the node's own settings:",
        _cameras(found),
        f"Fairness: {found.fairness:.2f} (answered frames of the one with fewer, per answered frame of the other).",
        _verdict(found.complaints()),
    ]
    return "\n\n".join(parts) + "\n"


def overhead_to_markdown(found: Overheads) -> str:
    """What the node adds for each size, from outside and by its own clock."""
    options = found.options
    parts = [
        f"Model: {options.model}, {options.words} classes. Machine: {found.machine}.",
        "From outside: publishing an image until its labels are there, in another process, less the bare segmenter on "
        f"the same image; {options.frames} images of each size, by turns (ms, medians). Light: one class at "
        f"{LIGHT['full_resolution']} pixels, {LIGHT_REPEATS} times as many images, and the quickest of each picture's "
        "repeats, so that neither the noise of a long computation nor other work buries the overhead. Transport: of "
        "that overhead, what images and labels take without a node, from Python to Python:",
        _outside(found),
        "By the node's own clock (ms, medians); the overhead is wait, convert and publish, without the transport:",
        _inside(found),
    ]
    return "\n\n".join(parts) + "\n"


def _memory(found: Soak) -> str:
    rows = [
        [
            str(sample.frames),
            f"{sample.seconds:.0f}",
            _mebibytes(sample.memory.resident),
            _mebibytes(sample.memory.anonymous),
        ]
        for sample in found.samples
    ]
    return table(["frames since the warm-up", "seconds", "resident", "anonymous"], rows)


def _frames(found: Soak) -> str:
    rows = []
    for name, traffic in found.traffic.items():
        counts = found.counts[name]
        sent_and_got = (traffic.sent, traffic.bad, counts.received, counts.answered)
        came = (traffic.labelled, counts.pending, counts.unaccounted)
        rows.append([name, *map(str, sent_and_got), _listed(counts.dropped.items()), *map(str, came)])
    header = [
        "camera",
        "sent",
        "of them bad",
        "received",
        "answered",
        "dropped",
        "labels that came",
        "pending",
    ]
    return table([*header, "off by"], rows) + f"\n\nUnexplained: {found.unexplained}."


def _cameras(found: Cameras) -> str:
    rows = []
    for name, traffic in found.traffic.items():
        counts, latency = found.counts[name], found.latency[name]
        in_all = f"{counts.answered} + {counts.total_dropped} + {counts.pending}"
        rows.append(
            [
                name,
                str(traffic.sent),
                str(counts.received),
                str(counts.answered),
                _listed(counts.dropped.items()),
                str(counts.pending),
                f"{in_all} = {counts.received}" if not counts.unaccounted else f"off by {counts.unaccounted}",
                f"{traffic.labelled / found.seconds:.2f}",
                _ms(latency.p50),
                _ms(latency.p95),
            ]
        )
    header = ["camera", "sent", "received", "answered", "dropped", "pending", "answered + dropped + pending"]
    return table([*header, "answers/s", "latency ms p50", "p95"], rows)


def _outside(found: Overheads) -> str:
    rows = [
        [
            _size(one.size),
            *_compared(one.whole),
            *_compared(one.light),
            _ms(one.transport),
            f"{one.light.added / one.whole.bare:.1%}",
        ]
        for one in found.sizes
    ]
    one_load = ["bare segmenter", "through the node", "overhead"]
    light = [f"light: {name}" for name in one_load]
    header = ["size", *one_load, *light, "transport", "light overhead / bare segmenter"]
    return table(header, rows)


def _compared(found: Comparison) -> list[str]:
    return [_ms(found.bare), _ms(found.outside), _ms(found.added)]


def _inside(found: Overheads) -> str:
    rows = []
    for one in found.sizes:
        stages = one.whole.stages
        times = [_ms(stages[name]) for name in ("wait", "convert", "publish")]
        whole = [_ms(stages["segment"]), _ms(stages["latency"]), _ms(one.whole.handling)]
        rows.append([_size(one.size), *times, *whole, f"{one.whole.handling / stages['segment']:.1%}"])
    header = [
        "size",
        "wait",
        "convert",
        "publish",
        "segment",
        "latency",
        "overhead",
        "of the segmenter's time",
    ]
    return table(header, rows)


def _verdict(complaints: list[str]) -> str:
    return "Verdict: clean." if not complaints else f"Verdict: NOT clean: {'; '.join(complaints)}."


def _listed(entries: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{name} {number}" for name, number in entries) or "none"


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.1f}"


def _mebibytes(value: int) -> str:
    return f"{value / 2**20:.1f}"
