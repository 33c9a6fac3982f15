"""Thousands of frames, with edits and bad frames among them: does memory stay, and is every frame accounted for?"""

from __future__ import annotations

import statistics
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from activesam_ros.benchmarks.node.counts import NodeCounts, unexplained
from activesam_ros.benchmarks.node.pictures import drive
from activesam_ros.benchmarks.node.plan import Edit, Fault, Send, plan
from activesam_ros.benchmarks.node.session import Session, describe_machine, greet, node_and_client
from activesam_ros.errors import ActiveSamError
from activesam_ros.system.memory import Memory, memory
from activesam_ros.toytown import DEMO_CLASSES

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

    from activesam_ros.benchmarks.node.ledger import Traffic

CAMERAS = ("front", "rear")
POOL = DEMO_CLASSES
MEMORY_LIMIT = 0.02
"""Of the memory after the warm-up: so much may it change."""
DRIFT_LIMIT = 0.5
"""Of the latency of the first tenth: so much may that of the last differ; other work on a machine does as much."""
_PICTURES = 40
_STALLED_SECONDS = 60.0


@dataclass(frozen=True)
class SoakOptions:
    """How to soak.

    Attributes:
        frames: to send after the warm-up, of both cameras together.
        warm_up: frames to send before memory is looked at.
        size: of the images, width and height in pixels.
        seed: of the order of things.
        bad_rate: share of the frames that are bad.
        edit_rate: edits of the vocabulary per frame.
        words: of each vocabulary.
        unanswered: frames of a camera that are on their way at most.
        samples: how often memory is looked at between start and end.
        model: as for the node.
        full_resolution, preview_resolution: of the node; small ones make many frames a second.
        threads: of the node's torch; None: its choice.
    """

    frames: int = 5000
    warm_up: int = 500
    size: tuple[int, int] = (160, 120)
    seed: int = 1
    bad_rate: float = 0.05
    edit_rate: float = 0.02
    words: int = 12
    unanswered: int = 4
    samples: int = 9
    model: str = "toytown"
    full_resolution: int = 96
    preview_resolution: int = 64
    threads: int | None = None


@dataclass(frozen=True)
class Sample:
    """The node's memory while no frame was on its way.

    Attributes:
        frames: sent since the warm-up.
        seconds: since the warm-up.
        memory: of the process.
    """

    frames: int
    seconds: float
    memory: Memory


@dataclass(frozen=True)
class Edits:
    """Requests for other words: accepted ones, refused ones, and those that were answered the wrong way."""

    accepted: int
    refused: int
    wrong: int


@dataclass(frozen=True)
class Soak:
    """What came of it.

    Attributes:
        machine: on what.
        options: how.
        samples: memory, the first one after the warm-up and the last one at the end.
        edits: requests for other words.
        faults: bad frames by their fault.
        traffic: what was sent and came back, by camera, the warm-up included.
        counts: what the node says, by camera.
        first, last: median seconds from sending an image to its labels, of the first and the last tenth.
        rate: labels a second after the warm-up.
        stalled: what did not come, so that the soak ended early; None if it did not.
    """

    machine: str
    options: SoakOptions
    samples: tuple[Sample, ...]
    edits: Edits
    faults: dict[str, int]
    traffic: dict[str, Traffic]
    counts: dict[str, NodeCounts]
    first: float
    last: float
    rate: float
    stalled: str | None

    @property
    def resident_change(self) -> float:
        """Change of the resident memory from the first to the last sample, as a share of the first."""
        return self.samples[-1].memory.resident / self.samples[0].memory.resident - 1

    @property
    def anonymous_change(self) -> float:
        """The same of anonymous memory."""
        return self.samples[-1].memory.anonymous / self.samples[0].memory.anonymous - 1

    @property
    def unexplained(self) -> int:
        """Frames that are missing or one too many somewhere."""
        return sum(unexplained(self.traffic[name], self.counts[name]) for name in self.traffic)

    @property
    def drift(self) -> float:
        """Change of the latency, as a share of that of the first tenth."""
        return self.last / self.first - 1

    def complaints(self) -> list[str]:
        """What is not as it should be; empty if the soak is clean."""
        found = [
            f"{name} memory changed by {change:+.1%}, more than {MEMORY_LIMIT:.0%}"
            for name, change in (("resident", self.resident_change), ("anonymous", self.anonymous_change))
            if abs(change) > MEMORY_LIMIT
        ]
        if self.unexplained:
            found.append(f"{self.unexplained} frames are unexplained")
        if self.edits.wrong:
            found.append(f"{self.edits.wrong} requests for words were answered the wrong way")
        if self.drift > DRIFT_LIMIT:
            found.append(f"the latency rose by {self.drift:.0%}, more than {DRIFT_LIMIT:.0%}")
        if self.stalled:
            found.append(self.stalled)
        return found


def measure_soak(options: SoakOptions, log_folder: Path | None = None) -> Soak:
    """Runs the node through it.

    Args:
        options: how.
        log_folder: where the node's log goes; None: nowhere that stays.

    Raises:
        ActiveSamError: the node cannot be started or ended early.
    """
    on = describe_machine(options.threads)
    pictures = {name: drive(seed, _PICTURES, options.size, name) for seed, name in enumerate(CAMERAS)}
    parameters = {
        "model": options.model,
        "queue": "all",
        # The whole pool at first: what is remembered of its words is there before memory is looked at.
        "vocabulary": list(POOL),
        "full_resolution": options.full_resolution,
        "preview_resolution": options.preview_resolution,
        # Fewer than there are words, so that the preview has something to choose.
        "max_active": options.words // 2,
    }
    with node_and_client(parameters, CAMERAS, True, options.threads, log_folder) as session:
        soaking = _Soaking(session, pictures, options)
        soaking.run()
    return soaking.result(on, options)


class _Soaking:
    def __init__(self, session: Session, pictures: dict[str, list[np.ndarray]], options: SoakOptions) -> None:
        from activesam_ros.benchmarks.node.client import image_message

        self._session = session
        self._client = session.client
        self._options = options
        self._unanswered = options.unanswered
        self._good = {name: [image_message(rgb) for rgb in some] for name, some in pictures.items()}
        self._bad = {fault: image_message(pictures[CAMERAS[0]][0], fault) for fault in Fault}
        self._change = None
        self._samples: list[Sample] = []
        self._edits: Counter[str] = Counter()
        self._faults: Counter[str] = Counter()
        self._labels_before = 0
        self._began = self._ended = 0.0
        self._stalled: str | None = None

    def run(self) -> None:
        options = self._options
        greet(self._session, {name: messages[0] for name, messages in self._good.items()})
        steps = plan(
            options.seed, CAMERAS, _PICTURES, POOL, options.words, options.bad_rate, options.edit_rate
        )
        parts = options.samples + 1
        sizes = [
            options.frames * (part + 1) // parts - options.frames * part // parts for part in range(parts)
        ]
        try:
            with tqdm(total=options.warm_up + options.frames, desc="soak", unit="frame") as bar:
                self._send(steps, options.warm_up, bar)
                self._labels_before = len(self._client.ledger.latencies())
                self._began = time.monotonic()
                self._sample(0)
                for part, size in enumerate(sizes):
                    self._send(steps, size, bar)
                    self._sample(sum(sizes[: part + 1]))
                    bar.set_postfix_str(f"{self._samples[-1].memory.resident / 2**20:.1f} MiB")
        except _Stalled as stalled:
            self._session.node.check()
            self._stalled = str(stalled)
        self._ended = time.monotonic()

    def result(self, machine: str, options: SoakOptions) -> Soak:
        if len(self._samples) < 2:
            raise ActiveSamError(f"the soak ended before it began: {self._stalled}")
        seconds = self._client.ledger.latencies()[self._labels_before :]
        tenth = max(1, len(seconds) // 10)
        return Soak(
            machine=machine,
            options=options,
            samples=tuple(self._samples),
            edits=Edits(self._edits["accepted"], self._edits["refused"], self._edits["wrong"]),
            faults=dict(self._faults),
            traffic={name: self._client.ledger.traffic(name) for name in CAMERAS},
            counts=self._session.counts,
            first=statistics.median(seconds[:tenth]),
            last=statistics.median(seconds[-tenth:]),
            rate=len(seconds) / (self._ended - self._began),
            stalled=self._stalled,
        )

    def _send(self, steps: Iterator[Send | Edit], frames: int, bar: tqdm) -> None:
        """Take steps until so many frames are sent, and wait until they are answered."""
        sent = 0
        while sent < frames:
            step = next(steps)
            if isinstance(step, Edit):
                self._edit(step)
                continue
            self._wait(step.camera, self._unanswered - 1)
            self._client.send(step.camera, self._message(step), step.fault is None)
            sent += 1
            bar.update()
        for name in CAMERAS:
            # The last good one tells that those before it are done, too.
            self._wait(name, self._unanswered - 1)
            self._client.send(name, self._good[name][0])
            self._wait(name, 0)
        self._finish_edit()

    def _message(self, step: Send):
        if step.fault is None:
            return self._good[step.camera][step.picture]
        self._faults[step.fault] += 1
        return self._bad[step.fault]

    def _wait(self, camera: str, at_most: int) -> None:
        if not self._client.ledger.wait_for(camera, at_most, _STALLED_SECONDS):
            raise _Stalled(f"no labels of camera {camera} for {_STALLED_SECONDS:.0f} s")

    def _edit(self, edit: Edit) -> None:
        # One at a time: what comes faster may replace what has not been prepared yet.
        self._finish_edit()
        self._change = (edit, self._client.ask_for_words(edit.words))

    def _finish_edit(self) -> None:
        from activesam_ros.benchmarks.node.client import was_accepted

        if self._change is None:
            return
        (edit, change), self._change = self._change, None
        accepted = was_accepted(change)
        self._edits["accepted" if accepted else "refused"] += 1
        self._edits["wrong"] += accepted != edit.valid

    def _sample(self, frames: int) -> None:
        status = Path(f"/proc/{self._session.node.pid}/status")
        self._samples.append(Sample(frames, time.monotonic() - self._began, memory(status)))


class _Stalled(Exception):
    pass
