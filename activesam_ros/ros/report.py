"""How the node is, put together for diagnostics and logs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from activesam_ros.ros.camera_outputs import Demand
from activesam_ros.ros.camera_status import CameraView, camera_status, unanswered
from activesam_ros.ros.diagnostics import Diagnostics
from activesam_ros.ros.heartbeat import hangs
from activesam_ros.ros.inbox import FrameCounts, Inbox
from activesam_ros.ros.input_watch import incompatible, published_images, silence
from activesam_ros.ros.lifecycle import ManagedNode, Stage
from activesam_ros.ros.node_status import NodeView, node_status
from activesam_ros.ros.qos import profile_text
from activesam_ros.ros.recent_counts import RecentCounts
from activesam_ros.ros.vocabulary_status import VocabularyView, vocabulary_status
from activesam_ros.system.memory import Memory, memory

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from activesam_ros.ros.calls import CallQueue
    from activesam_ros.ros.camera import Camera
    from activesam_ros.ros.engine import Engine
    from activesam_ros.ros.frame import Frame
    from activesam_ros.ros.live_parameters import LiveParameters


class NodeReport:
    """Looks at the parts of the node; executor's thread, except `failed`."""

    def __init__(
        self,
        node: ManagedNode,
        parameters: LiveParameters,
        inbox: Inbox[Frame],
        calls: CallQueue,
        cameras: Collection[Camera],
        engine: Callable[[], Engine | None],
        well: Callable[[], bool],
    ) -> None:
        """Args:
        node, parameters, inbox, calls, cameras: what is looked at.
        engine: gives the one there is now.
        well: whether the heartbeat is published.
        """
        self._node = node
        self._parameters = parameters
        self._inbox = inbox
        self._calls = calls
        self._cameras = tuple(cameras)
        self._engine = engine
        self._well = well
        self._recent = {camera.name: RecentCounts() for camera in self._cameras}
        self._told = {camera.name: FrameCounts() for camera in self._cameras}
        self._views: dict[str, CameraView] = {}
        self._last_error: tuple[str, float] | None = None
        self._diagnostics = Diagnostics(node)

    def publish(self) -> None:
        """Look at every part, and publish their statuses on `/diagnostics`."""
        engine = self._engine()
        self._views = {camera.name: self._camera_view(camera, engine) for camera in self._cameras}
        self._diagnostics.publish(
            [
                node_status(self._node_view(engine)),
                vocabulary_status(self._vocabulary_view(engine)),
                *(camera_status(view) for view in self._views.values()),
            ]
        )

    def silence(self, camera: Camera) -> str | None:
        """Why its images did not come, at the last look; None if they did, or are not wanted."""
        view = self._views.get(camera.name)
        return view.silence if view else None

    def complaint(self, camera: Camera) -> str | None:
        """Why images came and none was answered, at the last look; see `unanswered`."""
        view = self._views.get(camera.name)
        return unanswered(view) if view else None

    def failed(self, sentence: str) -> None:
        """Remember what went wrong last: of frames, changes, transitions and the worker; for any thread."""
        self._last_error = (sentence, time.monotonic())

    def unfit_publisher(self, camera: Camera) -> str | None:
        """One sentence if a publisher's quality of service does not fit the subscription; None if all do."""
        return incompatible(camera.input.listener, self._publishers(camera))

    def news(self) -> list[str]:
        """One line for each camera whose frames came or came to an end since the last call, answered or not."""
        lines = []
        for camera in self._cameras:
            counts = self._inbox.counts(camera.name)
            if counts != self._told[camera.name]:
                self._told[camera.name] = counts
                lines.append(_named(camera, camera.latency.report(counts)))
        return lines

    def summaries(self) -> list[str]:
        """One line for each camera, about all frames since the start."""
        return [
            _named(camera, camera.latency.summary(self._inbox.counts(camera.name)))
            for camera in self._cameras
        ]

    def _publishers(self, camera: Camera) -> list:
        return self._node.get_publishers_info_by_topic(camera.input.topic)

    def _node_view(self, engine: Engine | None) -> NodeView:
        now = time.monotonic()
        task = engine.task if engine else None
        segmenter = engine.served.segmenter if engine and engine.served else None
        error, since = self._last_error or (None, None)
        sound = engine is not None and engine.error is None
        return NodeView(
            state=self._node.stage,
            model=engine.choice.model if engine else self._parameters.model.model,
            task=task.name if task else None,
            task_seconds=now - task.since if task else None,
            hangs=hangs(task, self._parameters.policy.worker_timeout, now),
            heartbeat=self._well(),
            loading=sound and engine.served is None and not engine.closing,
            closing=sound and engine.closing,
            engine_error=engine.error if engine else None,
            transition_error=self._node.transition_error,
            last_error=error,
            last_error_seconds=None if since is None else now - since,
            calls=self._calls.counts(),
            device=segmenter.device if segmenter else None,
            dtype=segmenter.dtype if segmenter else None,
            bucket_size=segmenter.bucket_size if segmenter else None,
            bucket_size_set=segmenter.settings.bucket_size if segmenter else None,
            memory=_process_memory(),
            device_memory=segmenter.device_memory() if segmenter else None,
        )

    def _vocabulary_view(self, engine: Engine | None) -> VocabularyView:
        accepted, failure = self._parameters.requested.revision, self._parameters.failure
        if engine is None or engine.error:
            return VocabularyView(accepted, error=failure)
        since = engine.preparing_since
        seconds = None if since is None else time.monotonic() - since
        return VocabularyView(
            accepted,
            loaded=engine.is_loaded,
            closing=engine.closing,
            served=engine.served,
            preparing_seconds=seconds,
            late=seconds is not None and seconds > self._parameters.policy.worker_timeout,
            error=failure,
            prompt_cache=engine.prompt_cache,
        )

    def _camera_view(self, camera: Camera, engine: Engine | None) -> CameraView:
        counts = self._inbox.counts(camera.name)
        silent = camera.input.silent_for
        listener = camera.input.listener
        publishers = self._publishers(camera) if camera.input.listening else []
        late = silent is not None and silent > self._parameters.policy.image_timeout
        return CameraView(
            title=camera.title,
            serving=self._node.stage is Stage.ACTIVE and engine is not None and engine.serves,
            wanted=camera.demand is not Demand.NOTHING,
            topic=camera.input.topic,
            transport=listener.transport,
            quality=profile_text(listener.profile),
            preview_only=camera.demand is Demand.PREVIEW,
            silent=late,
            silence=silence(listener, publishers, published_images(self._node)) if late else None,
            incompatible=incompatible(listener, publishers),
            max_rate=self._parameters.policy.max_rate,
            counts=counts,
            recent=self._recent[camera.name].look(time.monotonic(), counts),
            since_image=camera.input.since_image,
            since_answer=camera.latency.since_answer,
            stages=camera.latency.percentiles(),
            active=camera.latency.active,
            rolling=engine is not None
            and engine.served is not None
            and engine.served.segmenter.settings.reuses_frames,
            since_full=camera.memory.frames_since_full,
        )


def _process_memory() -> Memory | None:
    try:
        return memory()
    except (OSError, KeyError):  # a system that accounts for memory otherwise
        return None


def _named(camera: Camera, line: str) -> str:
    return f"{camera.name}: {line}" if camera.name else line
