"""How a camera is: whether its images come, what became of them, and how long that took."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from activesam_ros.ros.diagnostics import Level, Status
from activesam_ros.ros.inbox import Drop, FrameCounts
from activesam_ros.ros.recent_counts import Recent
from activesam_ros.ros.rules import Rule, judged, known

if TYPE_CHECKING:
    from collections.abc import Mapping

    from activesam_ros.ros.latency import Percentiles

# Over the rate are all but one of so many periods, if the clock runs.
_PERIODS = 2
# Shorter work for one frame, such as the first one, is nothing to warn of.
_BUSY_SECONDS = 5.0


@dataclass(frozen=True)
class CameraView:
    """What is known of a camera at one moment.

    Attributes:
        title: "camera", or "camera front".
        serving: whether the node is active and has words in force.
        wanted: whether anybody subscribes to what is made of its images.
        preview_only: whether nobody wants more than the active classes.
        topic, transport, quality: of the images, as texts.
        silent: whether no image has come for longer than it may take.
        silence: why, as far as that is known; None while images come.
        incompatible: a sentence on publishers whose images cannot be received; None if there are none.
        max_rate: frames a second that are let through; 0: all.
        counts: of the frames since the start.
        recent: the same of the last seconds.
        since_image, since_answer: seconds since the last one; None before the first.
        stages: percentiles in seconds of every stage.
        active: active classes and all classes of the last answer; None before the first.
        rolling: whether a frame is asked only for a part of the prompts (`preview_period` above 1).
        since_full: frames since all were asked together; None before, or if every frame is for itself.
    """

    title: str
    serving: bool
    wanted: bool
    topic: str
    transport: str
    quality: str
    preview_only: bool = False
    silent: bool = False
    silence: str | None = None
    incompatible: str | None = None
    max_rate: float = 0.0
    counts: FrameCounts = FrameCounts()
    recent: Recent = Recent()
    since_image: float | None = None
    since_answer: float | None = None
    stages: Mapping[str, Percentiles] = field(default_factory=dict)
    active: tuple[int, int] | None = None
    rolling: bool = False
    since_full: int | None = None


def camera_status(view: CameraView) -> Status:
    """The status of a camera; its level follows from `RULES`."""
    return judged(view.title, view, RULES, _values(view))


def _values(view: CameraView) -> dict[str, object]:
    counts, recent = view.counts, view.recent
    dropped = dict(counts.dropped)
    active, classes = view.active or (None, None)
    milliseconds = {
        f"ms {which} {stage}": 1000 * getattr(both, which)
        for stage, both in view.stages.items()
        for which in ("p50", "p95")
    }
    return known(
        {
            "image topic": view.topic,
            "transport": view.transport,
            "quality of service": view.quality,
            "received": counts.received,
            "answered": counts.answered,
            "waiting": counts.waiting,
            "in work": counts.in_work,
            **{f"dropped: {reason}": dropped.get(reason, 0) for reason in Drop},
            "received a second": recent.rate(recent.received),
            "answered a second": recent.rate(recent.answered),
            "seconds since the last image": view.since_image,
            "seconds since the last answer": view.since_answer,
            "active classes": active,
            "classes": classes,
            "preview": "rolling" if view.rolling else None,
            "frames since the last full preview": view.since_full,
            **milliseconds,
        }
    )


def _silent(view: CameraView) -> str | None:
    if not (view.serving and view.wanted and view.silent):
        return None
    return view.silence or f"no image comes on {view.topic}"


def _overflowed(view: CameraView) -> str | None:
    lost = view.recent.lost(Drop.QUEUE_FULL)
    return (
        f"frames lost to a full queue: {lost}, since they come faster than they are labelled"
        if lost
        else None
    )


def _out_of_memory(view: CameraView) -> str | None:
    lost = view.recent.lost(Drop.OUT_OF_MEMORY)
    return f"frames lost for want of memory: {lost}, even with the smallest bucket" if lost else None


def _every_one_failed(view: CameraView) -> str | None:
    if not _failures(view) or view.recent.answered:
        return None
    return f"every frame fails, lately {_failures(view)}; the log says why"


def _some_failed(view: CameraView) -> str | None:
    if not _failures(view):
        return None
    return f"frames refused or failed lately: {_failures(view)}; the log says why"


def unanswered(view: CameraView) -> str | None:
    """Why none of the frames that come is answered, if a limit or the clock is to blame.

    A frame is held against `max_rate` when it comes and against `max_age` when its turn comes, so where frames are
    too old, those over the rate are not the reason.

    Returns:
        one sentence, the same every time for the same cause; None if frames are answered, or for another reason not.
    """
    recent = view.recent
    if recent.answered or _failures(view) or not (view.serving and view.wanted):
        return None
    if recent.lost(Drop.TOO_OLD):
        return (
            "images come, none is answered: every frame is older than max_age when its turn comes; compare the clocks "
            "of the camera and of this node, or raise max_age"
        )
    # Of some rates, no frame is admitted for a while.
    admitted = recent.received - recent.lost(Drop.OVER_RATE)
    if recent.lost(Drop.OVER_RATE) and not admitted and recent.seconds * view.max_rate >= _PERIODS:
        return (
            "images come, none is answered: all come sooner than max_rate allows by the clock of this node, which "
            "seems to stand still; see that /clock is published, or set use_sim_time to false"
        )
    return None


def _unanswered(view: CameraView) -> str | None:
    return unanswered(view) or _busy(view)


def _busy(view: CameraView) -> str | None:
    recent = view.recent
    if recent.answered or not recent.lost(Drop.SUPERSEDED) or recent.seconds < _BUSY_SECONDS:
        return None
    if not (view.serving and view.wanted):
        return None
    return (
        f"images come, none was answered in the last {recent.seconds:.0f} s: the worker is busy, and newer ones "
        "supersede those that wait"
    )


def _failures(view: CameraView) -> int:
    return view.recent.lost(Drop.BAD_IMAGE, Drop.FAILED)


def _well(view: CameraView) -> str:
    if not view.serving:
        return "not active: no images are taken"
    if not view.wanted:
        return "idle: nobody subscribes"
    if view.since_image is None:
        return "waiting for the first image"
    made = "previewed" if view.preview_only else "labelled"
    return f"{view.recent.rate(view.recent.answered):.1f} frames a second are {made}"


RULES: tuple[Rule[CameraView], ...] = (
    Rule(Level.STALE, "results are wanted, and no image has come for `image_timeout` seconds", _silent),
    Rule(Level.ERROR, "frames were lost to a full queue (`queue: all`)", _overflowed),
    Rule(Level.ERROR, "frames were lost for want of memory", _out_of_memory),
    Rule(Level.ERROR, "frames were refused or failed, and none was answered", _every_one_failed),
    Rule(
        Level.WARN,
        "a publisher's quality of service does not fit, so its images cannot be received",
        lambda view: view.incompatible,
    ),
    Rule(Level.WARN, "frames were refused or failed, others were answered", _some_failed),
    Rule(
        Level.WARN,
        "frames came and none was answered: they were older than `max_age`, or over `max_rate` by a clock that "
        "stands still, or superseded while the worker was busy",
        _unanswered,
    ),
    Rule(Level.OK, "else, also while nobody subscribes or the node is not active", _well),
)
"""In this order; frames are those of the last 10 seconds."""
