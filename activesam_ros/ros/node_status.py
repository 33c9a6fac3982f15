"""How the node as a whole is: its lifecycle, its model, its worker, and the memory it takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from activesam_ros.ros.diagnostics import Level, Status
from activesam_ros.ros.rules import Rule, judged, known

if TYPE_CHECKING:
    from activesam_ros.ros.calls import CallCounts
    from activesam_ros.system.memory import DeviceMemory, Memory

NAME = "node"

_MEGABYTE = 1_000_000


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
        engine_error: why the worker ended or the model cannot be loaded; None if neither is so.
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
    engine_error: str | None = None
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
    """The status of the node; its level follows from `RULES`."""
    return judged(NAME, view, RULES, _values(view))


def _values(view: NodeView) -> dict[str, object]:
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


def _hangs(view: NodeView) -> str | None:
    if not view.hangs:
        return None
    return f"the worker hangs: {view.task or 'unknown work'} for {view.task_seconds or 0:.0f} s"


def _transition_failed(view: NodeView) -> str | None:
    if view.transition_error is None:
        return None
    return f"{view.state}, after a transition that failed: {view.transition_error}"


def _between(view: NodeView) -> str | None:
    if view.closing:
        return f"the model {view.model} is being closed"
    return f"the model {view.model} is loading" if view.loading else None


def _reduced(view: NodeView) -> str | None:
    if view.bucket_size is None or view.bucket_size_set is None or view.bucket_size >= view.bucket_size_set:
        return None
    return (
        f"memory ran out: {view.bucket_size} prompts are decoded at once instead of bucket_size "
        f"{view.bucket_size_set}, until it has sufficed for a while"
    )


RULES: tuple[Rule[NodeView], ...] = (
    Rule(Level.ERROR, "the worker has been at one batch of frames for longer than `worker_timeout`", _hangs),
    Rule(
        Level.ERROR,
        "the model could not be loaded, or the worker ended by a fault of its own",
        lambda view: view.engine_error,
    ),
    Rule(Level.ERROR, "the last lifecycle transition failed", _transition_failed),
    Rule(Level.WARN, "the model is loading or being closed", _between),
    Rule(
        Level.WARN, "memory ran out, and fewer prompts are decoded at once than `bucket_size` says", _reduced
    ),
    Rule(Level.OK, "else: unconfigured, inactive or active", lambda view: view.state),
)
"""In this order."""
