"""Soak the node: thousands of frames with vocabulary changes, calls with new classes and bad frames among them.

Memory has to stay as it is, the prompt cache below its limit, and every frame has to be accounted for.
"""

from __future__ import annotations

import random
import statistics
import time
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain, islice, permutations
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from activesam_ros.benchmarks.inputs import street_images
from activesam_ros.benchmarks.node_session import (
    NodeCounts,
    Session,
    Traffic,
    describe_machine,
    image_message,
    listed,
    milliseconds,
    node_and_client,
    verdict,
    wait_for_response,
)
from activesam_ros.errors import ActiveSamError
from activesam_ros.evaluation.report.formatting import markdown_table
from activesam_ros.prompts.cache import disk_limit, prompts_on_disk
from activesam_ros.system.memory import Memory, memory
from activesam_ros.toytown import DEMO_CLASSES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from rclpy.task import Future
    from sensor_msgs.msg import Image

CAMERAS = ("front", "rear")
MEMORY_LIMIT = 0.02
"""Allowed change of memory, as a share of that after the warm-up."""
DRIFT_LIMIT = 0.5
"""Allowed rise of the latency from the first to the last tenth; other work on a machine causes as much."""
CALL_WORDS = 20
"""Classes of each call, none of which any other has."""
LABELLED = "labelled"
_IMAGES = 40
_MAX_ACTIVE = 6
_STALLED_SECONDS = 60.0


@dataclass(frozen=True)
class SoakOptions:
    """What to run.

    Attributes:
        frames, warm_up: to send after and before memory is first measured, of both cameras together.
        size: width and height of the images in pixels.
        bad_rate: share of the frames that are bad.
        edit_rate: vocabulary changes per frame, above 1 too.
        call_rate: calls of `~/segment` with new classes per frame, above 1 too.
        words: number of classes of each vocabulary, at least 7.
        unanswered: maximum number of pending frames of a camera.
        samples: measurements of memory between start and end.
        full_resolution, preview_resolution: of the node; small ones make many frames a second.
        threads: of the node's torch; None: its choice.
    """

    frames: int = 5000
    warm_up: int = 500
    size: tuple[int, int] = (160, 120)
    seed: int = 1
    bad_rate: float = 0.05
    edit_rate: float = 0.02
    call_rate: float = 0.02
    words: int = 12
    unanswered: int = 4
    samples: int = 9
    model: str = "toytown"
    full_resolution: int = 96
    preview_resolution: int = 64
    threads: int | None = None


class Fault(StrEnum):
    """How a frame is bad; the value is the text in reports."""

    SHORT_STEP = "step shorter than a row"
    UNKNOWN_ENCODING = "unknown encoding"
    TRUNCATED = "truncated data"


@dataclass(frozen=True)
class Send:
    """A frame to send: an image of a camera by number, or a bad one if there is a fault."""

    camera: str
    image: int
    fault: Fault | None


@dataclass(frozen=True)
class Edit:
    """A vocabulary to request; the node has to refuse it unless it is valid."""

    names: tuple[str, ...]
    valid: bool


@dataclass(frozen=True)
class SegmentCall:
    """A call of `~/segment` with an image of the first camera by number and classes that the node has not met."""

    image: int
    names: tuple[str, ...]


def class_pool(classes: int) -> list[str]:
    """Return names to choose vocabularies of so many classes from: the demo's, and two or three in a row if need be."""
    names = chain.from_iterable(permutations(DEMO_CLASSES, length) for length in (1, 2, 3))
    return list(map(" ".join, islice(names, max(len(DEMO_CLASSES), classes + classes // 5))))


def plan_steps(
    seed: int,
    cameras: Sequence[str],
    images: int,
    pool: Sequence[str],
    classes: int,
    bad_rate: float,
    edit_rate: float,
    call_rate: float,
) -> Iterator[Send | Edit | SegmentCall]:
    """Yield endless steps: cameras in turn, bad frames, vocabulary changes and calls among them.

    Two bad frames of a camera never follow each other, so that of two pending frames one is labelled.

    Args:
        seed: equal seeds give equal steps.
        cameras: their names.
        images: number of images of each camera.
        pool: class names to choose from.
        classes: number of classes of every vocabulary, so that the node needs equal memory before and after.
        bad_rate: share of the frames that are bad, below one half.
        edit_rate: vocabulary changes per frame.
        call_rate: calls per frame.
    """
    chance = random.Random(seed)
    after_bad = dict.fromkeys(cameras, False)
    number = calls = 0
    edits_due = calls_due = 0.0
    while True:
        camera = cameras[number % len(cameras)]
        # Frames after a bad one are good, so the others have to be bad more often.
        bad = not after_bad[camera] and chance.random() < bad_rate / (1 - bad_rate)
        after_bad[camera] = bad
        yield Send(camera, chance.randrange(images), chance.choice(list(Fault)) if bad else None)
        number += 1
        # A mean of `edit_rate`, at random intervals.
        edits_due += 2 * chance.random() * edit_rate
        calls_due += 2 * chance.random() * call_rate
        while max(edits_due, calls_due) >= 1:
            if edits_due >= 1:
                edits_due -= 1
                chosen = chance.sample(list(pool), classes)
                valid = chance.random() < 0.8
                yield Edit(tuple(chosen if valid else [*chosen[:-1], chosen[0].upper()]), valid)
            if calls_due >= 1:
                calls_due -= 1
                names = tuple(f"{name} {calls}" for name in chance.sample(list(pool), CALL_WORDS))
                calls += 1
                yield SegmentCall(chance.randrange(images), names)


def bad_message(rgb: np.ndarray, fault: Fault) -> Image:
    """Convert uint8 [H, W, 3] to a message that the node has to refuse."""
    message = image_message(rgb)
    if fault is Fault.SHORT_STEP:
        message.step -= 1
    elif fault is Fault.UNKNOWN_ENCODING:
        message.encoding = "rgb9"
    else:
        message.data = message.data[: len(message.data) // 2]
    return message


@dataclass(frozen=True)
class MemorySample:
    """The node's memory while no frame was pending; frames, edits, calls and seconds count from the warm-up.

    `cache` is the bytes of its prompt cache on disk.
    """

    frames: int
    seconds: float
    memory: Memory
    edits: int
    calls: int
    cache: int


@dataclass(frozen=True)
class EditCounts:
    """Vocabulary requests: accepted, refused, and those of either kind that should have been the other."""

    accepted: int
    refused: int
    wrong: int


@dataclass(frozen=True)
class SoakResult:
    """The measurements.

    Attributes:
        samples: memory, the first after the warm-up and the last at the end.
        calls: of `~/segment` by how they ended, the message of those that were not labelled.
        cache_limit: most bytes that the prompt cache may take on disk.
        faults: number of bad frames by their fault.
        traffic, counts: what was sent and came back, and what the node says, by camera, with the warm-up.
        first, last: median seconds from sending an image to its labels, of the first and the last tenth.
        rate: label images per second after the warm-up.
        stalled: what did not come, so that the soak ended early; None if it did not.
    """

    machine: str
    options: SoakOptions
    samples: tuple[MemorySample, ...]
    edits: EditCounts
    calls: dict[str, int]
    cache_limit: int
    faults: dict[str, int]
    traffic: dict[str, Traffic]
    counts: dict[str, NodeCounts]
    first: float
    last: float
    rate: float
    stalled: str | None

    @property
    def resident_change(self) -> float:
        """Change of the resident memory, as a share of the first sample."""
        return self.samples[-1].memory.resident / self.samples[0].memory.resident - 1

    @property
    def anonymous_change(self) -> float:
        """Change of the anonymous memory, as a share of the first sample."""
        return self.samples[-1].memory.anonymous / self.samples[0].memory.anonymous - 1

    @property
    def unexplained(self) -> int:
        """Number of frames that are missing or one too many somewhere."""
        return sum(unexplained(self.traffic[name], self.counts[name]) for name in self.traffic)

    @property
    def drift(self) -> float:
        """Change of the latency, as a share of that of the first tenth."""
        return self.last / self.first - 1

    def complaints(self) -> list[str]:
        """Say what is not as it should be; empty if the soak is clean."""
        found = [
            f"{name} memory changed by {change:+.1%}, more than {MEMORY_LIMIT:.0%}"
            for name, change in (("resident", self.resident_change), ("anonymous", self.anonymous_change))
            if abs(change) > MEMORY_LIMIT
        ]
        if self.unexplained:
            found.append(f"{self.unexplained} frames are unexplained")
        if self.edits.wrong:
            found.append(f"{self.edits.wrong} vocabulary requests were answered the wrong way")
        failed = {how: number for how, number in self.calls.items() if how != LABELLED}
        if failed:
            found.append(f"calls failed: {listed(failed)}")
        largest = max(sample.cache for sample in self.samples)
        if largest > self.cache_limit:
            found.append(f"the prompt cache took {_mb(largest)}, more than {_mb(self.cache_limit)}")
        if self.drift > DRIFT_LIMIT:
            found.append(f"the latency rose by {self.drift:.0%}, more than {DRIFT_LIMIT:.0%}")
        if self.stalled:
            found.append(self.stalled)
        return found


def unexplained(traffic: Traffic, counts: NodeCounts) -> int:
    """Count the frames of a reliable camera that are missing between sending and labels, or are one too many.

    Good frames are labelled, and bad ones are refused; nothing is dropped for another reason.
    """
    refused = counts.dropped.get("bad image", 0)
    return sum(
        [
            abs(traffic.sent - counts.received),
            counts.unaccounted,
            abs(refused - traffic.bad),
            counts.total_dropped - refused,
            counts.pending,
            abs(counts.answered - traffic.labelled),
            traffic.strange,
        ]
    )


def measure_soak(options: SoakOptions, log_folder: Path | None = None) -> SoakResult:
    """Run the node through the steps.

    Raises:
        ActiveSamError: the node cannot be started or ended early.
    """
    on = describe_machine(options.threads)
    images = {name: street_images(seed, _IMAGES, options.size, name) for seed, name in enumerate(CAMERAS)}
    pool = class_pool(options.words)
    parameters = {
        "model": options.model,
        "queue": "all",
        # All classes at first: what is kept of their prompts is there before memory is measured.
        "vocabulary": pool,
        "full_resolution": options.full_resolution,
        "preview_resolution": options.preview_resolution,
        # Fewer than there are classes, so that the preview has something to choose.
        "max_active": _MAX_ACTIVE,
    }
    with node_and_client(parameters, CAMERAS, True, options.threads, log_folder) as session:
        soak = _Soak(session, images, pool, options)
        soak.run()
    return soak.result(on)


class _Soak:
    def __init__(
        self, session: Session, images: dict[str, list[np.ndarray]], pool: list[str], options: SoakOptions
    ) -> None:
        self._session = session
        self._client = session.client
        self._pool = pool
        self._options = options
        self._good = {name: [image_message(rgb) for rgb in some] for name, some in images.items()}
        self._bad = {fault: bad_message(images[CAMERAS[0]][0], fault) for fault in Fault}
        self._edit: tuple[Edit, Future] | None = None
        self._samples: list[MemorySample] = []
        self._edits: Counter[str] = Counter()
        self._calls: Counter[str] = Counter()
        self._faults: Counter[str] = Counter()
        self._labels_before = 0
        # Edits and calls of the warm-up.
        self._before = (0, 0)
        self._began = self._ended = 0.0
        self._stalled: str | None = None

    def run(self) -> None:
        options = self._options
        self._client.connect({name: some[0] for name, some in self._good.items()}, self._session.node.check)
        steps = plan_steps(
            options.seed,
            CAMERAS,
            _IMAGES,
            self._pool,
            options.words,
            options.bad_rate,
            options.edit_rate,
            options.call_rate,
        )
        parts = options.samples + 1
        ends = [options.frames * (part + 1) // parts for part in range(parts)]
        try:
            with tqdm(total=options.warm_up + options.frames, desc="soak", unit="frame") as bar:
                self._send(steps, options.warm_up, bar)
                self._labels_before = len(self._client.frames.latencies())
                self._began = time.monotonic()
                self._sample(0)
                for begin, end in zip([0, *ends], ends, strict=False):
                    self._send(steps, end - begin, bar)
                    self._sample(end)
                    bar.set_postfix_str(f"{self._samples[-1].memory.resident / 2**20:.1f} MiB")
        except _StalledError as stalled:
            self._session.node.check()
            self._stalled = str(stalled)
        self._ended = time.monotonic()

    def result(self, machine: str) -> SoakResult:
        if len(self._samples) < 2:
            raise ActiveSamError(f"the soak ended before it began: {self._stalled}")
        seconds = self._client.frames.latencies()[self._labels_before :]
        tenth = max(1, len(seconds) // 10)
        return SoakResult(
            machine=machine,
            options=self._options,
            samples=tuple(self._samples),
            edits=EditCounts(self._edits["accepted"], self._edits["refused"], self._edits["wrong"]),
            calls=dict(self._calls),
            cache_limit=disk_limit(),
            faults=dict(self._faults),
            traffic={name: self._client.frames.traffic(name) for name in CAMERAS},
            counts=self._session.counts,
            first=statistics.median(seconds[:tenth]),
            last=statistics.median(seconds[-tenth:]),
            rate=len(seconds) / (self._ended - self._began),
            stalled=self._stalled,
        )

    def _send(self, steps: Iterator[Send | Edit | SegmentCall], frames: int, bar: tqdm) -> None:
        """Take steps until so many frames are sent, and wait until they are labelled."""
        sent = 0
        while sent < frames:
            step = next(steps)
            if isinstance(step, Edit):
                # One at a time: a faster one may replace what has not been encoded yet.
                self._finish_edit()
                self._edit = (step, self._client.request_vocabulary(step.names))
                continue
            if isinstance(step, SegmentCall):
                self._call(step)
                continue
            self._wait(step.camera, self._options.unanswered - 1)
            if step.fault is None:
                message = self._good[step.camera][step.image]
            else:
                self._faults[step.fault] += 1
                message = self._bad[step.fault]
            self._client.send(step.camera, message, step.fault is None)
            sent += 1
            bar.update()
        for name in CAMERAS:
            # Labels of a last good frame show that those before it are done, too.
            self._wait(name, self._options.unanswered - 1)
            self._client.send(name, self._good[name][0])
            self._wait(name, 0)
        self._finish_edit()

    def _wait(self, camera: str, at_most: int) -> None:
        if not self._client.frames.wait_for(camera, at_most, _STALLED_SECONDS):
            raise _StalledError(f"no labels of camera {camera} for {_STALLED_SECONDS:.0f} s")

    def _finish_edit(self) -> None:
        if self._edit is None:
            return
        (edit, response), self._edit = self._edit, None
        accepted = bool(wait_for_response(response, "a vocabulary request").results[0].successful)
        self._edits["accepted" if accepted else "refused"] += 1
        self._edits["wrong"] += accepted != edit.valid

    def _call(self, step: SegmentCall) -> None:
        image = self._good[CAMERAS[0]][step.image]
        response = wait_for_response(self._client.request_segment(image, step.names), "a call")
        self._calls[LABELLED if response.success else response.message] += 1

    def _sample(self, frames: int) -> None:
        status = Path(f"/proc/{self._session.node.pid}/status")
        edits, calls = self._edits["accepted"] + self._edits["refused"], self._calls.total()
        if not self._samples:
            self._before = (edits, calls)
        self._samples.append(
            MemorySample(
                frames,
                time.monotonic() - self._began,
                memory(status),
                edits - self._before[0],
                calls - self._before[1],
                prompts_on_disk(self._session.prompt_cache),
            )
        )


class _StalledError(Exception):
    pass


def to_markdown(found: SoakResult) -> str:
    """Format memory, where the frames went, latency, and a verdict."""
    options, edits = found.options, found.edits
    width, height = options.size
    parts = [
        f"Model: {options.model}. Machine: {found.machine}.",
        f"{options.frames} frames of {width}x{height} after a warm-up of {options.warm_up}, from two cameras, "
        f"reliably, `queue: all`, at most {options.unanswered} of a camera on their way; seed {options.seed}.",
        f"Vocabularies of {options.words} classes out of {len(class_pool(options.words))} that are known; each call "
        f"brings {CALL_WORDS} new ones.",
        f"Memory of the node's process (MiB), while no frame was on its way; from start to end "
        f"{found.resident_change:+.2%} resident, {found.anonymous_change:+.2%} anonymous:",
        _memory_table(found),
        f"Frames, the warm-up included; bad ones: {listed(found.faults)}; "
        f"{edits.accepted + edits.refused} vocabulary requests beside them, {edits.refused} refused as they had to be, "
        f"{edits.wrong} answered the wrong way:",
        _frame_table(found),
        f"Unexplained: {found.unexplained}. Calls, the warm-up included: {listed(found.calls)}. The prompt cache may "
        f"take {_mb(found.cache_limit)}.",
        f"Latency, median from sending to labels: {milliseconds(found.first)} ms in the first tenth, "
        f"{milliseconds(found.last)} ms in the last ({found.drift:+.1%}); {found.rate:.1f} labels a second.",
        verdict(found.complaints()),
    ]
    return "\n\n".join(parts) + "\n"


def _memory_table(found: SoakResult) -> str:
    rows = [
        [
            str(sample.frames),
            f"{sample.seconds:.0f}",
            str(sample.edits),
            str(sample.calls),
            *(f"{size / 2**20:.1f}" for size in (sample.memory.resident, sample.memory.anonymous)),
            _mb(sample.cache),
        ]
        for sample in found.samples
    ]
    header = ["frames since the warm-up", "seconds", "edits", "calls", "resident", "anonymous"]
    return markdown_table([*header, "prompt cache on disk"], rows)


def _frame_table(found: SoakResult) -> str:
    rows = []
    for name, traffic in found.traffic.items():
        counts = found.counts[name]
        before = (traffic.sent, traffic.bad, counts.received, counts.answered)
        after = (traffic.labelled, counts.pending, counts.unaccounted)
        rows.append([name, *map(str, before), listed(counts.dropped), *map(str, after)])
    header = ["camera", "sent", "of them bad", "received", "answered", "dropped"]
    return markdown_table([*header, "labels that came", "pending", "off by"], rows)


def _mb(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
