"""The status of the node `labelled_points`: what became of label images, and why there are no points."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from activesam_ros.ros.point_matcher import Lack
from activesam_ros.ros.statuses import Level, Rule, Status, judged

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from activesam_ros.ros.frame_queue import Percentiles
    from activesam_ros.ros.point_matcher import PointMatcher

_REMEDIES = {
    "labels": "start the node activesam, or remap activesam/labels to its labels",
    "depth": "start the depth camera, or remap depth to a depth image that is registered to the labelled image",
    "camera_info": "remap camera_info to that of the labelled image",
}
"""What to do about an input that nobody publishes, for those that there have to be."""


@dataclass(frozen=True)
class Input:
    """A subscription: its topic and type, the types that are published there, and how many messages have come."""

    topic: str
    type: str
    published: Collection[str]
    arrived: int


def why_none(inputs: Mapping[str, Input], matcher: PointMatcher) -> str:
    """Explain why no points came for too long.

    Args:
        inputs: by name, at least `labels`, `depth` and `camera_info`.
        matcher: which knows what was lacking last.
    """
    for name, remedy in _REMEDIES.items():
        one = inputs[name]
        if not one.published:
            return f"nobody publishes {one.topic}: {remedy}"
        if one.type not in one.published:
            return f"{one.topic} carries {', '.join(sorted(one.published))}, but {one.type} is expected: {remedy}"
    for name in _REMEDIES:
        one = inputs[name]
        if not one.arrived:
            return (
                f"nothing comes on {one.topic}, although it has a publisher: that one may be paused, or its messages "
                "are lost on the way; its own log and diagnostics say more"
            )
    lack = matcher.last_lack
    if lack is Lack.DEPTH and matcher.late:
        return (
            f"labels come more than {matcher.queue_size} depth images after theirs: raise queue_size, or lower the "
            "rate of the depth"
        )
    if lack is Lack.DEPTH and matcher.apart is not None:
        return (
            f"no depth has the stamp of the labels, the nearest is {matcher.apart / 1e6:.1f} ms apart: set slop to "
            "more than that if they show the same moment"
        )
    if lack is Lack.CONFIDENCE or lack is Lack.INSTANCES:
        name = "confidence" if lack is Lack.CONFIDENCE else "instances"
        return f"labels come without {name}: see {inputs[name].topic}, or set the parameter {name} to false"
    return "labels come, but none with depth of their stamp yet"


@dataclass(frozen=True)
class PointsView:
    """The node at one moment; None: there is none, or it is not known.

    `wanted` says whether anybody subscribes to the points, `silence` why none came for too long. `received`,
    `published`, `dropped` and `refused_others` (depth, camera infos and vocabularies) count since the start;
    `recent_published` and `recent_refused` during the last `recent_seconds`. `duration` is that of making a cloud.
    """

    wanted: bool
    silence: str | None = None
    received: int = 0
    published: int = 0
    waiting: int = 0
    dropped: Mapping[Lack, int] = field(default_factory=dict)
    refused_others: int = 0
    depths: int = 0
    faults: int = 0
    recent_published: int = 0
    recent_refused: int = 0
    recent_seconds: float = 0.0
    since_cloud: float | None = None
    duration: Percentiles | None = None
    last_error: str | None = None


def points_status(view: PointsView) -> Status:
    """Return the status by `POINTS_RULES`."""
    rate = view.recent_published / view.recent_seconds if view.recent_seconds else 0.0
    values = {
        "labels received": view.received,
        "clouds published": view.published,
        "labels waiting": view.waiting,
        **{f"dropped: {lack}": view.dropped.get(lack, 0) for lack in Lack},
        "other messages refused": view.refused_others,
        "depth images kept": view.depths,
        "clouds a second": rate,
        "seconds since the last cloud": view.since_cloud,
        "ms p50 cloud": view.duration and 1000 * view.duration.p50,
        "ms p95 cloud": view.duration and 1000 * view.duration.p95,
        "callbacks failed": view.faults,
        "last error": view.last_error,
    }
    return judged("points", view, POINTS_RULES, values)


def _all_refused(view: PointsView) -> str | None:
    if not view.recent_refused or view.recent_published:
        return None
    return f"no points, since messages are refused, lately {view.recent_refused}: {view.last_error}"


def _some_refused(view: PointsView) -> str | None:
    if not view.recent_refused:
        return None
    return f"messages refused lately: {view.recent_refused}, the last one because {view.last_error}"


def _well(view: PointsView) -> str:
    if not view.wanted:
        return "idle: nobody subscribes"
    if view.since_cloud is None:
        return "waiting for the first labels"
    rate = view.recent_published / view.recent_seconds if view.recent_seconds else 0.0
    return f"{rate:.1f} clouds a second"


POINTS_RULES: tuple[Rule[PointsView], ...] = (
    Rule(Level.ERROR, "messages were refused, and no cloud was made", _all_refused),
    Rule(
        Level.STALE,
        "points are wanted, and none have come for 5 seconds; the message says what is lacking",
        lambda view: view.silence,
    ),
    Rule(Level.WARN, "messages were refused, and clouds were made of others", _some_refused),
    Rule(Level.OK, "else, also while nobody subscribes", _well),
)
