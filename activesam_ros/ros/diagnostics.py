"""Diagnostics: looks at the parts of the node, and publishes their statuses on `/diagnostics`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from diagnostic_msgs.msg import DiagnosticArray

from activesam_ros.ros.conversions import to_stamp
from activesam_ros.ros.frame_queue import FrameCounts, RecentCounts
from activesam_ros.ros.lifecycle import Stage
from activesam_ros.ros.publishers import Demand
from activesam_ros.ros.qos import profile_text
from activesam_ros.ros.statuses import (
    CameraView,
    NodeView,
    VocabularyView,
    camera_status,
    node_status,
    status_to_msg,
    unanswered,
    vocabulary_status,
)
from activesam_ros.ros.troubleshooting import incompatible, published_images, silence
from activesam_ros.system.memory import Memory, memory

if TYPE_CHECKING:
    from activesam_ros.ros.camera import Camera
    from activesam_ros.ros.node import ActiveSamNode


class Diagnostics:
    """Looks at the parts of a node; executor's thread."""

    def __init__(self, node: ActiveSamNode) -> None:
        self._node = node
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._recent = {name: RecentCounts() for name in node.cameras}
        self._reported = {name: FrameCounts() for name in node.cameras}
        self._views: dict[str, CameraView] = {}

    def publish(self) -> None:
        """Look at every part, and publish one message with the status of each."""
        node = self._node
        self._views = {name: self._camera_view(camera) for name, camera in node.cameras.items()}
        statuses = [
            node_status(self._node_view()),
            vocabulary_status(self._vocabulary_view()),
            *(camera_status(view) for view in self._views.values()),
        ]
        owner = node.get_fully_qualified_name().lstrip("/")
        message = DiagnosticArray(status=[status_to_msg(status, owner) for status in statuses])
        message.header.stamp = to_stamp(node.get_clock().now().nanoseconds)
        self._publisher.publish(message)

    def complaints(self, camera: str) -> list[str | None]:
        """Return why its images did not arrive and why none was answered, at the last look; None if neither is so."""
        view = self._views.get(camera)
        return [view.silence, unanswered(view)] if view else []

    def news(self) -> list[str]:
        """Return one line for each camera whose frames arrived or ended since the last call."""
        lines = []
        for name, camera in self._node.cameras.items():
            counts = self._node.frames.counts(name)
            if counts != self._reported[name]:
                self._reported[name] = counts
                lines.append(camera.prefix + camera.latency.report(counts))
        return lines

    def _node_view(self) -> NodeView:
        node, worker, now = self._node, self._node.worker, time.monotonic()
        task = worker.task if worker else None
        segmenter = worker.served.segmenter if worker and worker.served else None
        error, since = node.errors.last or (None, None)
        return NodeView(
            state=node.stage,
            model=worker.choice.model if worker else node.parameters.model.model,
            task=task.name if task else None,
            task_seconds=now - task.since if task else None,
            hangs=worker is not None and worker.hangs(),
            heartbeat=node.is_well(),
            loading=worker is not None and not (worker.error or worker.served or worker.ending),
            closing=worker is not None and not worker.error and worker.ending,
            worker_error=worker.error if worker else None,
            transition_error=node.transition_error,
            last_error=error,
            faults=node.errors.faults,
            same_name=node.nodes_of_its_name - 1,
            last_error_seconds=None if since is None else now - since,
            calls=node.calls.counts(),
            device=segmenter.device if segmenter else None,
            dtype=segmenter.dtype if segmenter else None,
            bucket_size=segmenter.bucket_size if segmenter else None,
            bucket_size_set=segmenter.settings.bucket_size if segmenter else None,
            memory=_process_memory(),
            device_memory=segmenter.device_memory() if segmenter else None,
        )

    def _vocabulary_view(self) -> VocabularyView:
        parameters, worker = self._node.parameters, self._node.worker
        accepted = parameters.requested.revision
        if worker is None or worker.error:
            return VocabularyView(accepted, error=parameters.failure)
        since = worker.loader.since
        seconds = None if since is None else time.monotonic() - since
        return VocabularyView(
            accepted,
            loaded=worker.is_loaded,
            closing=worker.ending,
            served=worker.served,
            preparing_seconds=seconds,
            late=seconds is not None and seconds > parameters.policy.worker_timeout,
            error=parameters.failure,
            prompt_cache=worker.prompt_cache,
        )

    def _camera_view(self, camera: Camera) -> CameraView:
        node, worker, policy = self._node, self._node.worker, self._node.parameters.policy
        counts, publishers = node.frames.counts(camera.name), camera.image_publishers()
        silent = camera.silent_for is not None and camera.silent_for > policy.image_timeout
        demand = camera.demand
        return CameraView(
            title=camera.title,
            serving=node.stage is Stage.ACTIVE and worker is not None and worker.serves,
            wanted=demand is not Demand.NOTHING,
            topic=camera.image.topic,
            transport=camera.image.transport,
            quality=profile_text(camera.image.profile),
            preview_only=demand is Demand.PREVIEW,
            silent=silent,
            silence=silence(camera.image, publishers, published_images(node), node.transport)
            if silent
            else None,
            incompatible=incompatible(camera.image, publishers),
            max_rate=policy.max_rate,
            counts=counts,
            recent=self._recent[camera.name].look(time.monotonic(), counts),
            since_image=camera.since_image,
            since_answer=camera.latency.since_answer,
            stages=camera.latency.percentiles(),
            active=camera.latency.active,
            reuses_frames=bool(worker and worker.served and worker.served.segmenter.settings.reuses_frames),
            since_full=camera.memory.frames_since_full,
            without_pixels=camera.without_pixels,
            beyond_limit=camera.beyond_limit,
            beyond_images=camera.beyond_images,
            ids_given=camera.ids_given,
        )


def _process_memory() -> Memory | None:
    try:
        return memory()
    except (OSError, KeyError):  # a system that accounts for memory otherwise
        return None
