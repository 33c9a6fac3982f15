"""Statuses of the node, its vocabulary and its cameras: facts, and a level by the first rule that applies."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Generic, TypeVar

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

from activesam_ros.instances import MAX_INSTANCES
from activesam_ros.ros.frame_queue import Drop, FrameCounts, Recent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from activesam_ros.ros.configuration_loader import LoadedConfiguration
    from activesam_ros.ros.frame_queue import Percentiles
    from activesam_ros.ros.segment_service import CallCounts
    from activesam_ros.system.memory import DeviceMemory, Memory

V = TypeVar("V")

_MEGABYTE = 1_000_000
# If the clock runs, all but one frame of this many periods may be over the rate.
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
    """State of one part of the node: its name, level, one sentence, and further facts by name."""

    name: str
    level: Level
    message: str
    values: Mapping[str, object] = field(default_factory=dict)


def status_to_msg(status: Status, owner: str) -> DiagnosticStatus:
    """Convert the status of a part of the node `owner`; booleans become yes and no, floats get two digits."""
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
    """One rule about a part: its level, the condition as the documentation has it, and the sentence; None: not met."""

    level: Level
    when: str
    says: Callable[[V], str | None]


def judged(name: str, view: V, rules: Sequence[Rule[V]], values: Mapping[str, object]) -> Status:
    """Return the status by the first rule that applies, without values that are None; the last applies always."""
    for rule in rules:
        message = rule.says(view)
        if message is not None:
            known = {key: value for key, value in values.items() if value is not None}
            return Status(name, rule.level, message, known)
    raise ValueError(f"no rule applies to the {name}; the last one has to, always")


# The node.


@dataclass(frozen=True)
class NodeView:
    """The node at one moment; None: there is none, or it is not known.

    `task` is what the worker is doing, `bucket_size` the one in force and `bucket_size_set` that of the parameter;
    `calls` are those of `~/segment` since the start. `faults` counts callbacks that raised, `same_name` other nodes of
    the node's name.
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
    faults: int = 0
    same_name: int = 0
    calls: CallCounts | None = None
    device: str | None = None
    dtype: str | None = None
    bucket_size: int | None = None
    bucket_size_set: int | None = None
    memory: Memory | None = None
    device_memory: DeviceMemory | None = None


def node_status(view: NodeView) -> Status:
    """Return the status of the node by `NODE_RULES`."""
    memory, device, calls = view.memory, view.device_memory, view.calls
    values = {
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
        "callbacks failed": view.faults,
        "other nodes of the same name": view.same_name,
        "last error": view.last_error,
        "seconds since the last error": view.last_error_seconds,
    }
    return judged("node", view, NODE_RULES, values)


def _hangs(view: NodeView) -> str | None:
    if not view.hangs:
        return None
    return f"the worker hangs: {view.task or 'unknown work'} for {view.task_seconds or 0:.0f} s"


def _transition_failed(view: NodeView) -> str | None:
    if view.transition_error is None:
        return None
    return f"{view.state}, after a transition that failed: {view.transition_error}"


def _loading(view: NodeView) -> str | None:
    if view.closing:
        return f"the model {view.model} is being closed"
    return f"the model {view.model} is loading" if view.loading else None


def _shares_its_name(view: NodeView) -> str | None:
    if not view.same_name:
        return None
    return (
        "other nodes of the same name are running, so calls and parameters go to any of them: "
        f"{view.same_name}; start each with a name of its own, such as by -r __node:=NAME"
    )


def _reduced(view: NodeView) -> str | None:
    if view.bucket_size is None or view.bucket_size_set is None or view.bucket_size >= view.bucket_size_set:
        return None
    return (
        f"memory ran out: {view.bucket_size} prompts are decoded at once instead of bucket_size "
        f"{view.bucket_size_set}, until it has sufficed for a while"
    )


NODE_RULES: tuple[Rule[NodeView], ...] = (
    Rule(
        Level.ERROR,
        "the worker has been at a batch of frames or a call for longer than `worker_timeout`",
        _hangs,
    ),
    Rule(
        Level.ERROR,
        "the model could not be loaded, or the worker ended by a fault of its own",
        lambda view: view.worker_error,
    ),
    Rule(Level.ERROR, "the last lifecycle transition failed", _transition_failed),
    Rule(Level.WARN, "the model is loading or being closed", _loading),
    Rule(Level.WARN, "another node has the same name and namespace", _shares_its_name),
    Rule(
        Level.WARN, "memory ran out, and fewer prompts are decoded at once than `bucket_size` says", _reduced
    ),
    Rule(Level.OK, "else: unconfigured, inactive or active", lambda view: view.state),
)


# The vocabulary.


@dataclass(frozen=True)
class VocabularyView:
    """The vocabulary at one moment; None: there is none, or it is not known.

    `accepted` is the revision that was accepted last; `loaded` and `closing` are about the model; `late` says whether
    `preparing_seconds` are more than it may take; `error` is that of the last change.
    """

    accepted: int
    loaded: bool | None = None
    closing: bool = False
    served: LoadedConfiguration | None = None
    preparing_seconds: float | None = None
    late: bool = False
    error: str | None = None
    prompt_cache: str | None = None


def vocabulary_status(view: VocabularyView) -> Status:
    """Return the status of the vocabulary by `VOCABULARY_RULES`."""
    served = view.served
    values = {
        "revision": served and served.revision,
        "revision accepted": view.accepted,
        "prompt cache": view.prompt_cache,
        "preparing seconds": view.preparing_seconds,
        "last error": view.error,
        "classes": served and len(served.vocabulary),
        "prompts": served and len(served.vocabulary.prompts),
        "phrases from the cache": served and served.report.hits,
        "phrases encoded": served and served.report.misses,
        "encoding seconds": served and float(served.report.seconds),
        "text encoder loaded": served and bool(served.segmenter.text_encoder_loaded),
    }
    return judged("vocabulary", view, VOCABULARY_RULES, values)


def _change_failed(view: VocabularyView) -> str | None:
    if view.error is None or view.served is None or view.closing:
        return None
    return f"the last change failed, revision {view.served.revision} is in force: {view.error}"


def _late(view: VocabularyView) -> str | None:
    if not view.late or view.closing:
        return None
    revision = f"revision {view.served.revision} stays" if view.served else "no vocabulary is"
    return (
        f"a change has been in preparation for {view.preparing_seconds or 0:.0f} s, and later changes wait for it; "
        f"{revision} in force{'' if view.served else ' yet'}"
    )


def _coming(view: VocabularyView) -> str | None:
    if view.closing:
        return "the model is being closed"
    if view.loaded is None or view.served is not None:
        return None
    return "the first vocabulary is being encoded" if view.loaded else "the model is loading"


def _in_force(view: VocabularyView) -> str:
    if view.served is None:
        return "no model is loaded, so none is in force"
    coming = f", revision {view.accepted} is coming" if view.accepted != view.served.revision else ""
    return f"revision {view.served.revision} is in force{coming}"


VOCABULARY_RULES: tuple[Rule[VocabularyView], ...] = (
    Rule(Level.ERROR, "the last change failed; the vocabulary before it stays in force", _change_failed),
    Rule(
        Level.WARN,
        "a change of the vocabulary or settings has been in preparation for longer than `worker_timeout`; later "
        "changes wait for it",
        _late,
    ),
    Rule(
        Level.WARN, "the model is loading or being closed, or its first vocabulary is being encoded", _coming
    ),
    Rule(Level.OK, "else, also without a model", _in_force),
)


# A camera; frames are those of the last 10 seconds.


@dataclass(frozen=True)
class CameraView:
    """A camera at one moment; None: there is none, or it is not known.

    `serving` says whether the node is active with a vocabulary in force, `wanted` whether anybody subscribes to the
    results, `silent` whether no image has arrived for too long. `silence` and `incompatible` are sentences, `counts`
    are frames since the start and `recent` those of the last seconds, `stages` take seconds, `active` are active and
    all classes of the last answer, `since_full` frames since the last full preview. `without_pixels` and `beyond_limit`
    are instances that were left out since the start, `beyond_images` those whose ids no id image can hold; `ids_given`
    is the number of ids that instances were given in this activation.
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
    counts: FrameCounts = field(default_factory=FrameCounts)
    recent: Recent = field(default_factory=Recent)
    since_image: float | None = None
    since_answer: float | None = None
    stages: Mapping[str, Percentiles] = field(default_factory=dict)
    active: tuple[int, int] | None = None
    reuses_frames: bool = False
    since_full: int | None = None
    without_pixels: int = 0
    beyond_limit: int = 0
    beyond_images: int = 0
    ids_given: int = 0

    @property
    def failures(self) -> int:
        """Frames that were refused or failed lately."""
        return self.recent.lost(Drop.BAD_IMAGE, Drop.FAILED)


def camera_status(view: CameraView) -> Status:
    """Return the status of a camera by `CAMERA_RULES`."""
    counts, recent = view.counts, view.recent
    dropped = dict(counts.dropped)
    active, classes = view.active or (None, None)
    milliseconds = {
        f"ms {which} {stage}": 1000 * getattr(both, which)
        for stage, both in view.stages.items()
        for which in ("p50", "p95")
    }
    values = {
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
        "instances without pixels": view.without_pixels,
        "instances beyond the ids": view.beyond_limit,
        "instances beyond the id images": view.beyond_images,
        "instance ids given": view.ids_given,
        "preview": "rolling" if view.reuses_frames else None,
        "frames since the last full preview": view.since_full,
        **milliseconds,
    }
    return judged(view.title, view, CAMERA_RULES, values)


def _silent(view: CameraView) -> str | None:
    if not (view.serving and view.wanted and view.silent):
        return None
    return view.silence or f"no image comes on {view.topic}"


def _overflowed(view: CameraView) -> str | None:
    lost = view.recent.lost(Drop.QUEUE_FULL)
    faster = "since they come faster than they are labelled"
    return f"frames lost to a full queue: {lost}, {faster}" if lost else None


def _out_of_memory(view: CameraView) -> str | None:
    lost = view.recent.lost(Drop.OUT_OF_MEMORY)
    return f"frames lost for want of memory: {lost}, even with the smallest bucket" if lost else None


def _every_one_failed(view: CameraView) -> str | None:
    if not view.failures or view.recent.answered:
        return None
    return f"every frame fails, lately {view.failures}; the log says why"


def _some_failed(view: CameraView) -> str | None:
    return f"frames refused or failed lately: {view.failures}; the log says why" if view.failures else None


def unanswered(view: CameraView) -> str | None:
    """Explain why none of the frames that arrive is answered, if a limit or the clock is to blame, else None.

    A frame is held against `max_rate` when it arrives and against `max_age` when its turn comes, so where frames are
    too old, those over the rate are not the reason.
    """
    recent = view.recent
    if recent.answered or view.failures or not (view.serving and view.wanted):
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


def _ids_used_up(view: CameraView) -> str | None:
    if view.ids_given <= MAX_INSTANCES or not (view.serving and view.wanted):
        return None
    return (
        f"the {MAX_INSTANCES} ids that an id image can hold are used up, so new things are 0 in the id images; "
        "deactivate and activate the node to begin with 1 again, or use the ids of the detections, which go on"
    )


def _well(view: CameraView) -> str:
    if not view.serving:
        return "not active: no images are taken"
    if not view.wanted:
        return "idle: nobody subscribes"
    if view.since_image is None:
        return "waiting for the first image"
    made = "previewed" if view.preview_only else "labelled"
    return f"{view.recent.rate(view.recent.answered):.1f} frames a second are {made}"


CAMERA_RULES: tuple[Rule[CameraView], ...] = (
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
        lambda view: unanswered(view) or _busy(view),
    ),
    Rule(
        Level.WARN,
        "the 65535 ids that an id image can hold are used up in this activation; `~/detections` goes on",
        _ids_used_up,
    ),
    Rule(Level.OK, "else, also while nobody subscribes or the node is not active", _well),
)
