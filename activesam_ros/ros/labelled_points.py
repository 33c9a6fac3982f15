"""The node `labelled_points`: labels and depth of a camera become a point cloud whose points know their class."""

from __future__ import annotations

import sys
import time
from collections import deque
from functools import partial, wraps
from typing import TYPE_CHECKING, Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType
from rclpy.event_handler import PublisherEventCallbacks, UnsupportedEventTypeError
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

import activesam_ros.msg as msg
from activesam_ros.errors import ActiveSamError
from activesam_ros.ros import qos
from activesam_ros.ros.conversions import to_nanoseconds, to_stamp, vocabulary_from_msg
from activesam_ros.ros.executor import located
from activesam_ros.ros.frame_queue import percentiles
from activesam_ros.ros.logs import ErrorLog, Throttle
from activesam_ros.ros.point_cloud import CloudMaker, check_bytes
from activesam_ros.ros.point_matcher import LABELS, OPTIONAL, Lack, PointMatcher
from activesam_ros.ros.point_parameters import PointParameters
from activesam_ros.ros.point_status import Input, PointsView, points_status, why_none
from activesam_ros.ros.program import (
    ProgramNode,
    callbacks_of,
    declare_live_group,
    run_program,
    wait_for_any,
)
from activesam_ros.ros.statuses import status_to_msg

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence

NODE = "activesam"

PULSE_SECONDS = 1.0
SILENT_SECONDS = 5.0
RECENT_SECONDS = 10.0
WARNING_SECONDS = 30.0
# Images of the camera that may come while a cloud is made.
_CAMERA_DEPTH = 10
_RESULTS_DEPTH = 5


def _survives(callback: Callable[[LabelledPoints, Any], None]) -> Callable[[LabelledPoints, Any], None]:
    """Have a callback refuse what it cannot take, where an error would end the program."""

    @wraps(callback)
    def called(node: LabelledPoints, message: Any) -> None:
        try:
            callback(node, message)
        except (ActiveSamError, OSError) as error:
            node.refuse(error)

    return called


class LabelledPoints(ProgramNode):
    """The node `labelled_points`.

    Subscribes `activesam/labels`, `activesam/confidence`, `activesam/instances`, `depth` and `camera_info` while
    somebody subscribes to `~/points`, and `activesam/vocabulary` always. Publishes `~/points` under the header of the
    labels, and `/diagnostics`. All is for the executor's thread.

    Attributes:
        errors: what went wrong.
        matcher: what waits for what.
        published: number of clouds.
    """

    def __init__(self, **node_options: object) -> None:
        """Declare the parameters, and wait for subscribers.

        Args:
            node_options: for `rclpy.node.Node`.

        Raises:
            SettingsError: a parameter is refused, or QoS is overridden by what it cannot be.
        """
        super().__init__("labelled_points", **node_options)
        self.errors = ErrorLog(self.get_logger())
        self.matcher = PointMatcher()
        self.published = 0
        self._refused = 0
        self._warnings = Throttle(WARNING_SECONDS)
        self._maker = CloudMaker(self._warn)
        self._info: CameraInfo | None = None
        self._subscriptions_by_topic: dict[str, Any] = {}
        self._arrived: dict[str, int] = {}
        self._since = self._last = time.monotonic()
        self._durations: deque[float] = deque(maxlen=100)
        self._history: deque[tuple[float, int, int]] = deque()
        self._inputs: dict[str, tuple[type, Any, Callable[[], QoSProfile]]] = {
            "depth": (Image, self._on_depth, _camera_in),
            "camera_info": (CameraInfo, self._on_info, _camera_in),
            **{name: (Image, self._on_part(name), _results_in) for name in (LABELS, *OPTIONAL)},
        }
        self._given = PointParameters()
        self._take_parameters(declare_live_group(self, PointParameters, self._take_parameters))
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._points = self._publisher()
        # Once, so that overrides of QoS are declared and refused before anybody waits for points.
        for name in self._inputs:
            self._subscribe(name)
        self._unsubscribe()
        self.create_subscription(msg.Vocabulary, f"{NODE}/vocabulary", self._on_vocabulary, qos.latched_out())
        self.create_timer(PULSE_SECONDS, self._pulse, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self.get_logger().info(
            f"points on {self._points.topic_name} from {self.topic(LABELS)}, {self.topic('depth')} and "
            f"{self.topic('camera_info')}, once somebody subscribes"
        )

    @property
    def wanted(self) -> bool:
        """Whether the inputs are subscribed, since somebody subscribes to the points."""
        return bool(self._subscriptions_by_topic)

    def topic(self, name: str) -> str:
        """Return the full name of an input."""
        ours = (LABELS, *OPTIONAL, "vocabulary")
        return self.resolve_topic_name(f"{NODE}/{name}" if name in ours else name)

    def refuse(self, error: Exception) -> None:
        """Count a message that cannot be used, and say why, throttled."""
        self._refused += 1
        self.errors.failed(str(error))

    # Demand.

    def follow_demand(self) -> None:
        """Subscribe while somebody subscribes to the points."""
        wanted = self._points.get_subscription_count() > 0
        if wanted and not self.wanted:
            self._since = self._last = time.monotonic()
            self._arrived.clear()
            for name in self._inputs:
                self._subscribe(name)
            self._look_around()
        elif self.wanted and not wanted:
            self._unsubscribe()

    def _publisher(self) -> Any:
        profile, options = qos.results_out(), {"qos_overriding_options": qos.overriding()}
        events = PublisherEventCallbacks(matched=lambda _: self.follow_demand())
        with qos.overrides_checked():
            try:
                return self.create_publisher(
                    PointCloud2, "~/points", profile, event_callbacks=events, **options
                )
            except UnsupportedEventTypeError:
                return self.create_publisher(PointCloud2, "~/points", profile, **options)

    def _subscribe(self, name: str) -> None:
        kind, callback, profile = self._inputs[name]
        # Those that nobody asks for cost the segmenter something.
        if not self._given.asks_for(name):
            return
        with qos.overrides_checked():
            self._subscriptions_by_topic[name] = self.create_subscription(
                kind, self.topic(name), callback, profile(), qos_overriding_options=qos.overriding()
            )

    def _unsubscribe(self) -> None:
        for one in self._subscriptions_by_topic.values():
            self.destroy_subscription(one)
        self._subscriptions_by_topic.clear()
        self.matcher.clear()
        # What comes next may be of another camera.
        self._info, self.matcher.has_camera_info = None, False

    def _look_around(self) -> None:
        """Wait for what others publish alone."""
        self.matcher.expected = tuple(
            name
            for name in OPTIONAL
            if self._given.asks_for(name) and self.count_publishers(self.topic(name))
        )

    def _take_parameters(self, given: PointParameters) -> None:
        asked = [name for name in OPTIONAL if given.asks_for(name)]
        again = self.wanted and asked != [name for name in OPTIONAL if self._given.asks_for(name)]
        self._given = given
        self.matcher.slop, self.matcher.queue_size = round(given.slop * 1e9), given.queue_size
        if again:
            self._unsubscribe()
            self.follow_demand()

    # Inputs.

    @_survives
    def _on_vocabulary(self, message: msg.Vocabulary) -> None:
        self._maker.vocabulary = vocabulary_from_msg(message)

    @_survives
    def _on_info(self, message: CameraInfo) -> None:
        self._note("camera_info")
        self._info, self.matcher.has_camera_info = message, True
        self._go_on()

    @_survives
    def _on_depth(self, message: Image) -> None:
        self._note("depth")
        check_bytes(message)
        self.matcher.add_depth(to_nanoseconds(message.header.stamp), message, len(message.data))
        self._go_on()

    def _on_part(self, name: str) -> Callable[[Image], None]:
        @_survives
        def received(node: LabelledPoints, message: Image) -> None:
            node._note(name)
            check_bytes(message)
            node.matcher.add(name, to_nanoseconds(message.header.stamp), message)
            node._go_on()

        return partial(received, self)

    def _note(self, name: str) -> None:
        self._arrived[name] = self._arrived.get(name, 0) + 1

    def _go_on(self) -> None:
        # None is complete before the first camera info.
        while self._info is not None and (frame := self.matcher.take()):
            began = time.monotonic()
            try:
                cloud = self._maker.cloud(frame, self._info, self._given)
            except ActiveSamError as error:
                self.matcher.dropped[Lack.REFUSED] += 1
                self.errors.failed(str(error))
            except Exception as error:  # images can hold anything
                self.matcher.dropped[Lack.REFUSED] += 1
                self.errors.fault(f"points could not be made: {located(error)}")
            else:
                self._last = time.monotonic()
                self._durations.append(self._last - began)
                self._points.publish(cloud)
                self.published += 1

    def _warn(self, sentence: str) -> None:
        text = self._warnings(sentence)
        if text:
            self.get_logger().warning(text)

    # Once a second.

    def _pulse(self) -> None:
        try:
            self.follow_demand()
        except ActiveSamError as error:
            self.refuse(error)
        self._look_around()
        view = self._view()
        if view.silence:
            self._warn(view.silence)
        owner = self.get_fully_qualified_name().lstrip("/")
        message = DiagnosticArray(status=[status_to_msg(points_status(view), owner)])
        message.header.stamp = to_stamp(self.get_clock().now().nanoseconds)
        self._diagnostics.publish(message)

    def _view(self) -> PointsView:
        now, matcher = time.monotonic(), self.matcher
        refused = matcher.dropped[Lack.REFUSED] + self._refused
        self._history.append((now, self.published, refused))
        while len(self._history) > 1 and now - self._history[0][0] > RECENT_SECONDS:
            self._history.popleft()
        then, published, refused_then = self._history[0]
        silent = self.wanted and now - self._last > SILENT_SECONDS
        return PointsView(
            wanted=self.wanted,
            silence=why_none(self._look_at_inputs(), matcher) if silent else None,
            received=matcher.received,
            published=self.published,
            waiting=matcher.waiting,
            dropped=matcher.dropped,
            refused_others=self._refused,
            depths=matcher.depths,
            faults=self.errors.faults,
            recent_published=self.published - published,
            recent_refused=refused - refused_then,
            recent_seconds=now - then,
            since_cloud=now - self._last if self.published else None,
            duration=percentiles(self._durations) if self._durations else None,
            last_error=self.errors.last[0] if self.errors.last else None,
        )

    def _look_at_inputs(self) -> dict[str, Input]:
        found = {}
        for name, (kind, _, _) in self._inputs.items():
            topic = self.topic(name)
            types = {one.topic_type for one in self.get_publishers_info_by_topic(topic)}
            expected = f"sensor_msgs/msg/{kind.__name__}"
            found[name] = Input(topic, expected, types, self._arrived.get(name, 0))
        return found


def _camera_in() -> QoSProfile:
    """Match best-effort and reliable cameras."""
    return QoSProfile(depth=_CAMERA_DEPTH, reliability=ReliabilityPolicy.BEST_EFFORT)


def _results_in() -> QoSProfile:
    return QoSProfile(depth=_RESULTS_DEPTH, reliability=ReliabilityPolicy.RELIABLE)


def main(arguments: Sequence[str] | None = None) -> int:
    """Publish points until SIGINT or SIGTERM.

    Args:
        arguments: command line including the program's name; None: that of the process.

    Returns:
        exit code: 0 after a signal, 1 if there can be no points (one FATAL line says why).
    """
    return run_program("labelled_points", _run, arguments)


def _run(ending: threading.Event) -> int:
    node = LabelledPoints()
    with callbacks_of(node, node.errors) as failed:
        wait_for_any(ending, failed)
    return 0


if __name__ == "__main__":
    sys.exit(main())
