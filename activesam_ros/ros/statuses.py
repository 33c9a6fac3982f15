"""Statuses of the node, its vocabulary and its cameras: facts, and a level by stated rules; the first that applies wins."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Generic, TypeVar

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

from activesam_ros.ros.frame_queue import Drop, FrameCounts, Recent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from activesam_ros.ros.frame_queue import Percentiles
    from activesam_ros.ros.segment_service import CallCounts
    from activesam_ros.ros.vocabulary_loader import LoadedVocabulary
    from activesam_ros.system.memory import DeviceMemory, Memory

V = TypeVar("V")

_MEGABYTE = 1_000_000
# Over the rate are all but one of so many periods, if the clock runs.
_PERIODS = 2
# Shorter work for one frame, such as the first one, is nothing to warn of.
_BUSY_SECONDS = 5.0


class Level(IntEnum):
    """The levels of diagnostic_msgs/DiagnosticStatus."""

    OK = 0
    WARN = 1
    ERROR = 2
    STALE = 3


@dataclass(frozen=True)
class Status:
    """How one part of the node is.

    Attributes:
        name: of the part, one word.
        level: see `Level`.
        message: one sentence.
        values: further facts by name.
    """

    name: str
    level: Level
    message: str
    values: Mapping[str, object] = field(default_factory=dict)


def status_message(status: Status, owner: str) -> DiagnosticStatus:
    """`status` of a part of the node `owner`; True and False become yes and no, floats get two digits."""
    return DiagnosticStatus(
        level=bytes([status.level]),
        name=f"{owner}: {status.name}",
        message=status.message,
        hardware_id=owner,
        values=[KeyValue(key=key, value=_text(value)) for key, value in status.values.items()],
    )


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.2f}" if isinstance(value, float) else str(value)


@dataclass(frozen=True)
class Rule(Generic[V]):
    """One rule about what is known of a part.

    Attributes:
        level: of the status if the rule applies.
        when: the rule in words, as the documentation has it.
        says: the sentence of the status; None if the rule does not apply.
    """

    level: Level
    when: str
    says: Callable[[V], str | None]


def judged(name: str, view: V, rules: Sequence[Rule[V]], values: Mapping[str, object]) -> Status:
    """The status of a part by the first rule that applies to `view`; the last rule applies always."""
    for rule in rules:
        message = rule.says(view)
        if message is not None:
            return Status(name, rule.level, message, values)
    raise ValueError(f"no rule applies to the {name}; the last one has to, always")


def known(values: Mapping[str, object]) -> dict[str, object]:
    """Without the values that are None."""
    return {key: value for key, value in values.items() if value is not None}


@dataclass(frozen=True)
class NodeView:
    """What is known of the node at one moment.

    Attributes:
        state: of the lifecycle, such as "active".
        model: as the parameter has it.
        task: what the worker is doing, in a few words; None while it waits.
        task_seconds: since when; None while it waits.
        hangs: whether that takes longer than it may.
        heartbeat: whether it is published.
        loading, closing: whether the model is on its way, or on its way out.
        worker_error: why the worker ended or the model cannot be loaded; None if neither is so.
        transition_error: why the last transition failed; None if it did not.
        last_error, last_error_seconds: what was logged as an error last, and how many seconds ago.
        calls: of `~/segment` since the start; None: nothing is said of them.
        device, dtype: that the model runs on and with; None without a model.
        bucket_size, bucket_size_set: prompts decoded at once, in force and as the parameter has it; None without.
        memory: of the process; None where the system does not tell.
        device_memory: None without a model or on the CPU.
    """

    state: str
    model: str
    task: str | None = None
    task_seconds: float | None = None
    hangs: bool = False
    heartbeat: bool = True
    loading: bool = False
    closing: bool = False
    worker_error: str | None = None
    transition_error: str | None = None
    last_error: str | None = None
    last_error_seconds: float | None = None
    calls: CallCounts | None = None
    device: str | None = None
    dtype: str | None = None
    bucket_size: int | None = None
    bucket_size_set: int | None = None
    memory: Memory | None = None
    device_memory: DeviceMemory | None = None


def node_status(view: NodeView) -> Status:
    """The status of the node; its level follows from `NODE_RULES`."""
    return judged("node", view, NODE_RULES, _node_values(view))


def _node_values(view: NodeView) -> dict[str, object]:
    memory, device, calls = view.memory, view.device_memory, view.calls
    return known(
        {
            "lifecycle state": view.state,
            "model": view.model,
            "device": view.device,
            "dtype": view.dtype,
            "worker": view.task or "waiting",
            "worker seconds": view.task_seconds,
            "heartbeat": view.heartbeat,
            "bucket size": view.bucket_size,
            "bucket size set": view.bucket_size_set,
            "memory MB": memory and memory.resident // _MEGABYTE,
            "memory peak MB": memory and memory.peak // _MEGABYTE,
            "device memory MB": device and device.allocated // _MEGABYTE,
            "device memory reserved MB": device and device.reserved // _MEGABYTE,
            "device memory total MB": device and device.total // _MEGABYTE,
            "calls received": calls and calls.received,
            "calls answered": calls and calls.answered,
            "calls refused": calls and calls.refused,
            "calls failed": calls and calls.failed,
            "calls waiting": calls and calls.waiting,
            "calls in work": calls and calls.in_work,
            "last error": view.last_error,
            "seconds since the last error": view.last_error_seconds,
        }
    )


def _node_hangs(view: NodeView) -> str | None:
    if not view.hangs:
        return None
    return f"the worker hangs: {view.task or 'unknown work'} for {view.task_seconds or 0:.0f} s"


def _node_transition_failed(view: NodeView) -> str | None:
    if view.transition_error is None:
        return None
    return f"{view.state}, after a transition that failed: {view.transition_error}"


def _node_between(view: NodeView) -> str | None:
    if view.closing:
        return f"the model {view.model} is being closed"
    return f"the model {view.model} is loading" if view.loading else None


def _node_reduced(view: NodeView) -> str | None:
    if view.bucket_size is None or view.bucket_size_set is None or view.bucket_size >= view.bucket_size_set:
        return None
    return (
        f"memory ran out: {view.bucket_size} prompts are decoded at once instead of bucket_size "
        f"{view.bucket_size_set}, until it has sufficed for a while"
    )


NODE_RULES: tuple[Rule[NodeView], ...] = (
    Rule(
        Level.ERROR,
        "the worker has been at one batch of frames for longer than `worker_timeout`",
        _node_hangs,
    ),
    Rule(
        Level.ERROR,
        "the model could not be loaded, or the worker ended by a fault of its own",
        lambda view: view.worker_error,
    ),
    Rule(Level.ERROR, "the last lifecycle transition failed", _node_transition_failed),
    Rule(Level.WARN, "the model is loading or being closed", _node_between),
    Rule(
        Level.WARN,
        "memory ran out, and fewer prompts are decoded at once than `bucket_size` says",
        _node_reduced,
    ),
    Rule(Level.OK, "else: unconfigured, inactive or active", lambda view: view.state),
)
"""In this order."""


@dataclass(frozen=True)
class VocabularyView:
    """What is known of the vocabulary at one moment.

    Attributes:
        accepted: revision of the vocabulary that was accepted last.
        loaded: whether the model is there; None if none is on its way either.
        closing: whether the model is being closed.
        served: what frames are labelled with; None before the first.
        preparing_seconds: how long words or settings have been in preparation; None if none are.
        late: whether that is longer than it may take.
        error: why the last change failed; None if it did not.
        prompt_cache: where known prompts are kept; None if that is not known yet.
    """

    accepted: int
    loaded: bool | None = None
    closing: bool = False
    served: LoadedVocabulary | None = None
    preparing_seconds: float | None = None
    late: bool = False
    error: str | None = None
    prompt_cache: str | None = None


def vocabulary_status(view: VocabularyView) -> Status:
    """The status of the vocabulary; its level follows from `VOCABULARY_RULES`."""
    return judged("vocabulary", view, VOCABULARY_RULES, _vocabulary_values(view))


def _vocabulary_values(view: VocabularyView) -> dict[str, object]:
    values = {
        "revision accepted": view.accepted,
        "prompt cache": view.prompt_cache,
        "preparing seconds": view.preparing_seconds,
        "last error": view.error,
    }
    served = view.served
    if served is not None:
        values = {
            "revision": served.revision,
            **values,
            "classes": len(served.vocabulary),
            "prompts": len(served.vocabulary.prompts),
            "phrases from the cache": served.report.hits,
            "phrases encoded": served.report.misses,
            "encoding seconds": float(served.report.seconds),
            "text encoder loaded": bool(served.segmenter.text_encoder_loaded),
        }
    return known(values)


def _vocabulary_failed(view: VocabularyView) -> str | None:
    if view.error is None or view.served is None or view.closing:
        return None
    return f"the last change failed, revision {view.served.revision} is in force: {view.error}"


def _vocabulary_late(view: VocabularyView) -> str | None:
    if not view.late or view.closing:
        return None
    revision = (
        f"revision {view.served.revision} stays in force" if view.served else "no vocabulary is in force yet"
    )
    return (
        f"words have been in preparation for {view.preparing_seconds or 0:.0f} s, and later changes wait for them; "
        f"{revision}"
    )


def _vocabulary_coming(view: VocabularyView) -> str | None:
    if view.closing:
        return "the model is being closed"
    if view.loaded is None or view.served is not None:
        return None
    return "the first vocabulary is being encoded" if view.loaded else "the model is loading"


def _vocabulary_well(view: VocabularyView) -> str:
    if view.served is None:
        return "no model is loaded, so none is in force"
    coming = f", revision {view.accepted} is coming" if view.accepted != view.served.revision else ""
    return f"revision {view.served.revision} is in force{coming}"


VOCABULARY_RULES: tuple[Rule[VocabularyView], ...] = (
    Rule(Level.ERROR, "the last change failed; the words before it stay in force", _vocabulary_failed),
    Rule(
        Level.WARN,
        "words or settings have been in preparation for longer than `worker_timeout`; later changes wait for them",
        _vocabulary_late,
    ),
    Rule(
        Level.WARN,
        "the model is loading or being closed, or its first vocabulary is being encoded",
        _vocabulary_coming,
    ),
    Rule(Level.OK, "else, also without a model", _vocabulary_well),
)
"""In this order."""


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
        reuses_frames: whether a frame is asked only for a part of the prompts (`preview_period` above 1).
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
    reuses_frames: bool = False
    since_full: int | None = None


def camera_status(view: CameraView) -> Status:
    """The status of a camera; its level follows from `CAMERA_RULES`."""
    return judged(view.title, view, CAMERA_RULES, _camera_values(view))


def _camera_values(view: CameraView) -> dict[str, object]:
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
            "preview": "rolling" if view.reuses_frames else None,
            "frames since the last full preview": view.since_full,
            **milliseconds,
        }
    )


def _camera_silent(view: CameraView) -> str | None:
    if not (view.serving and view.wanted and view.silent):
        return None
    return view.silence or f"no image comes on {view.topic}"


def _camera_overflowed(view: CameraView) -> str | None:
    lost = view.recent.lost(Drop.QUEUE_FULL)
    return (
        f"frames lost to a full queue: {lost}, since they come faster than they are labelled"
        if lost
        else None
    )


def _camera_out_of_memory(view: CameraView) -> str | None:
    lost = view.recent.lost(Drop.OUT_OF_MEMORY)
    return f"frames lost for want of memory: {lost}, even with the smallest bucket" if lost else None


def _camera_every_one_failed(view: CameraView) -> str | None:
    if not _camera_failures(view) or view.recent.answered:
        return None
    return f"every frame fails, lately {_camera_failures(view)}; the log says why"


def _camera_some_failed(view: CameraView) -> str | None:
    if not _camera_failures(view):
        return None
    return f"frames refused or failed lately: {_camera_failures(view)}; the log says why"


def unanswered(view: CameraView) -> str | None:
    """Why none of the frames that come is answered, if a limit or the clock is to blame.

    A frame is held against `max_rate` when it comes and against `max_age` when its turn comes, so where frames are
    too old, those over the rate are not the reason.

    Returns:
        one sentence, the same every time for the same cause; None if frames are answered, or for another reason not.
    """
    recent = view.recent
    if recent.answered or _camera_failures(view) or not (view.serving and view.wanted):
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


def _camera_unanswered(view: CameraView) -> str | None:
    return unanswered(view) or _camera_busy(view)


def _camera_busy(view: CameraView) -> str | None:
    recent = view.recent
    if recent.answered or not recent.lost(Drop.SUPERSEDED) or recent.seconds < _BUSY_SECONDS:
        return None
    if not (view.serving and view.wanted):
        return None
    return (
        f"images come, none was answered in the last {recent.seconds:.0f} s: the worker is busy, and newer ones "
        "supersede those that wait"
    )


def _camera_failures(view: CameraView) -> int:
    return view.recent.lost(Drop.BAD_IMAGE, Drop.FAILED)


def _camera_well(view: CameraView) -> str:
    if not view.serving:
        return "not active: no images are taken"
    if not view.wanted:
        return "idle: nobody subscribes"
    if view.since_image is None:
        return "waiting for the first image"
    made = "previewed" if view.preview_only else "labelled"
    return f"{view.recent.rate(view.recent.answered):.1f} frames a second are {made}"


CAMERA_RULES: tuple[Rule[CameraView], ...] = (
    Rule(
        Level.STALE, "results are wanted, and no image has come for `image_timeout` seconds", _camera_silent
    ),
    Rule(Level.ERROR, "frames were lost to a full queue (`queue: all`)", _camera_overflowed),
    Rule(Level.ERROR, "frames were lost for want of memory", _camera_out_of_memory),
    Rule(Level.ERROR, "frames were refused or failed, and none was answered", _camera_every_one_failed),
    Rule(
        Level.WARN,
        "a publisher's quality of service does not fit, so its images cannot be received",
        lambda view: view.incompatible,
    ),
    Rule(Level.WARN, "frames were refused or failed, others were answered", _camera_some_failed),
    Rule(
        Level.WARN,
        "frames came and none was answered: they were older than `max_age`, or over `max_rate` by a clock that "
        "stands still, or superseded while the worker was busy",
        _camera_unanswered,
    ),
    Rule(Level.OK, "else, also while nobody subscribes or the node is not active", _camera_well),
)
"""In this order; frames are those of the last 10 seconds."""
