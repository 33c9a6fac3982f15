"""The node: parameters, cameras, the worker that owns the model, and its lifecycle."""

from __future__ import annotations

import logging
import os
import time
from typing import TYPE_CHECKING, Any

from rcl_interfaces.srv import SetParameters
from rclpy.clock import Clock, ClockType
from rclpy.utilities import get_rmw_implementation_identifier
from std_msgs.msg import Header

from activesam_ros.ros import qos
from activesam_ros.ros.camera import Camera
from activesam_ros.ros.conversions import to_stamp
from activesam_ros.ros.diagnostics import Diagnostics
from activesam_ros.ros.executor import answer_every_call
from activesam_ros.ros.frame_queue import FrameCounts, FrameQueue
from activesam_ros.ros.lifecycle import ManagedNode, Stage, TransitionFailed
from activesam_ros.ros.live_parameters import DESCRIBED_TYPES, LiveParameters
from activesam_ros.ros.logs import LIBRARY_LOGGER, ErrorLog, RosLogHandler
from activesam_ros.ros.publishers import LabelInfoPublisher
from activesam_ros.ros.segment_service import CallQueue, SegmentService
from activesam_ros.ros.transport import Transport, mapped_files
from activesam_ros.ros.worker import Worker
from activesam_ros.system.memory import release_memory

if TYPE_CHECKING:
    from collections.abc import Callable

    from rcl_interfaces.msg import ParameterDescriptor
    from rclpy.service import Service

    from activesam_ros.configuration.configuration import Configuration, ModelChoice
    from activesam_ros.segmenter import ActiveSegmenter

PULSE_SECONDS = 1.0
REPORT_SECONDS = 10.0
LOADING_SECONDS = 10.0
ANSWERING_SECONDS = 0.2


class ActiveSamNode(ManagedNode):
    """Segments the images of its cameras into the classes of the parameter `vocabulary`.

    Attributes:
        parameters: declared, checked, and put back if a change fails.
        errors: what went wrong.
        frames, calls: the queues that the worker takes from.
        cameras: by name.
        nodes_of_its_name: how many there are, itself included.
        worker: the one there is now; None while no model is wanted.
    """

    def __init__(
        self,
        on_fatal: Callable[[], None],
        load: Callable[[ModelChoice, Configuration], ActiveSegmenter] | None = None,
        **node_options: object,
    ) -> None:
        """Declare the parameters and begin to load the model, unless `autostart` is off.

        Args:
            on_fatal: called, in any thread, when nothing is left to serve; `exit_code` is 1 from then on.
            load: makes the segmenter; None: the model that the parameters name is loaded.
            node_options: for `rclpy.node.Node`.

        Raises:
            ActiveSamError: a parameter given at the start has the wrong type or is refused.
        """
        super().__init__("activesam", **node_options)
        self.errors = ErrorLog(self.get_logger())
        self.worker: Worker | None = None
        # Workers that hung when they were closed: a thread of theirs is still inside the model.
        self._left_behind: list[Worker] = []
        self._on_fatal = on_fatal
        self._load = load
        self._fatal: str | None = None
        # Beginning of the task that hung at the last look.
        self._hung: float | None = None
        self.nodes_of_its_name = 1
        self.parameters = LiveParameters(self, self._submit, self._check, lambda: self.stage is Stage.ACTIVE)
        setup = self.parameters.setup
        self._bringing_up = setup.autostart

        names = setup.cameras or ("",)
        self.frames = FrameQueue(names, setup.queue_size if setup.queue == "all" else None)
        self.calls = CallQueue(self.errors)
        self._segment_service = SegmentService(self)
        self._label_info = LabelInfoPublisher(self)
        self.cameras = {name: Camera(self, name, self.parameters, self.frames, self.errors) for name in names}
        self._diagnostics = Diagnostics(self)
        self._heartbeat = self.create_publisher(Header, "~/heartbeat", qos.heartbeat())
        self.parameters.listen()

        self._log_handler = RosLogHandler(self.get_logger())
        logging.getLogger(LIBRARY_LOGGER).addHandler(self._log_handler)
        logging.getLogger(LIBRARY_LOGGER).setLevel(logging.INFO)
        self.transport = Transport(os.environ, get_rmw_implementation_identifier())
        warning = self.transport.warning(mapped_files())
        for sentence in [*([warning] if warning else []), *self.parameters.unknown()]:
            self.get_logger().warning(sentence)

        self._settled = self.create_guard_condition(self._on_settled)
        # A steady clock: diagnostics also matter while simulated time stands still.
        self._pulsed = self._reported = self._said_loading = time.monotonic()
        self.create_timer(PULSE_SECONDS, self._pulse, clock=Clock(clock_type=ClockType.STEADY_TIME))
        answer_every_call(self, self.errors.fault)
        if self._bringing_up:
            self._start_worker()
        else:
            name = self.get_fully_qualified_name()
            self.get_logger().info(
                f"autostart is off: run `ros2 lifecycle set {name} configure` and then `… activate`, or have a "
                "lifecycle manager do it"
            )

    # The owner's view.

    @property
    def exit_code(self) -> int:
        """1 after a fatal error, else 0."""
        return 1 if self._fatal else 0

    def counts(self, camera: str = "") -> FrameCounts:
        """Return where every received frame of a camera went."""
        return self.frames.counts(camera)

    def begin_to_stop(self) -> None:
        """Have transitions give up and the threads end after what they are doing; returns nearly at once."""
        self.stopping.set()
        worker = self.worker
        if worker is not None:
            worker.end()
        self.frames.close()
        self.calls.shut("the node is being ended")
        self._segment_service.drain(ANSWERING_SECONDS)

    def stop(self, timeout: float) -> bool:
        """End the threads and report, once no callback runs any more.

        Returns:
            whether they all ended within `timeout` seconds; if not, one may be inside the model still.
        """
        # Again, since a transition may have loaded another model meanwhile.
        self.begin_to_stop()
        worker = self.worker
        worked = worker is not None and worker.is_loaded
        ended = worker is None or worker.join(timeout)
        ended = ended and all(one.join(0.0) for one in self._left_behind)
        logging.getLogger(LIBRARY_LOGGER).removeHandler(self._log_handler)
        if worked or any(self.frames.counts(name).received for name in self.cameras):
            for camera in self.cameras.values():
                summary = camera.latency.summary(self.frames.counts(camera.name))
                self.get_logger().info(f"stopped; {camera.prefix}{summary}")
        return ended

    def create_service(
        self, srv_type: Any, srv_name: str, callback: Callable[..., Any], **options: Any
    ) -> Service:
        """Create a service; a call of `~/set_parameters` is one change, whatever it contains."""
        if srv_type is SetParameters:
            callback = self._set_parameters
        return super().create_service(srv_type, srv_name, callback, **options)

    def _set_parameters(
        self, request: SetParameters.Request, response: SetParameters.Response
    ) -> SetParameters.Response:
        response.results = self.parameters.set_together(request.parameters)
        return response

    def describe_parameter(self, name: str) -> ParameterDescriptor:
        """Return the descriptor of a parameter with the type it is declared with.

        rclpy writes the type of any value that is offered to a dynamically typed parameter into its descriptor,
        even if the value is refused.
        """
        described = super().describe_parameter(name)
        described.type = DESCRIBED_TYPES.get(name, described.type)
        return described

    def not_serving(self) -> str | None:
        """Explain why calls cannot be answered right now; None if they can."""
        worker, name = self.worker, self.get_fully_qualified_name()
        if self.stopping.is_set():
            return "the node is being ended"
        if worker is not None and worker.error:
            return f"there is no model: {worker.error}"
        if self._bringing_up or (worker is not None and worker.served is None):
            return (
                f"the model {self.parameters.model.model} is still loading; call again once {name} is active"
            )
        if self.stage is not Stage.ACTIVE:
            steps = "configure` and then `… activate" if self.stage is Stage.UNCONFIGURED else "activate"
            return f"{name} is {self.stage}; run `ros2 lifecycle set {name} {steps}`, and call again"
        return None

    def is_well(self) -> bool:
        """Return whether the heartbeat is published: the worker neither hangs nor has failed."""
        return self.worker is None or not (self.worker.hangs() or self.worker.error)

    def fatal(self, sentence: str) -> None:
        """Log that nothing can be served any more, and have the process ended; any thread may call it."""
        if self.stopping.is_set():
            return  # The node is being ended anyway; what fails meanwhile is no reason to call that a failure.
        self._fatal = sentence
        self.errors.remember(sentence)
        self.get_logger().fatal(sentence)
        self._on_fatal()

    # Transitions: executor's thread.

    def configure(self) -> None:
        """Load the model."""
        self._wait_for(self.worker or self._start_worker())

    def activate(self) -> None:
        """Accept frames and calls, with another model if the parameters name another one."""
        worker = self._worker_for(self.parameters.model)
        if worker is None:
            self._close_worker()
            self._wait_for(self._start_worker())
        elif worker.loader.newest is not self.parameters.requested:
            worker.loader.submit(
                self.parameters.requested
            )  # Changed while the parameters named another model.
        self.frames.open()
        self.calls.open()
        # The label info is published before the first image arrives.
        self.frames.wake()
        for camera in self.cameras.values():
            camera.activate(True)
        if not any(camera.subscribed for camera in self.cameras.values()):
            self.get_logger().info(
                "no subscribers to ~/labels yet; the image subscription starts with the first one"
            )

    def deactivate(self) -> None:
        """Accept no more frames and calls, and wait for those in work."""
        self._stop_serving()
        worker = self.worker
        if worker is None or worker.error:
            raise RuntimeError(worker.error if worker else "there is no model")
        self.wait_until(lambda seconds: self._is_idle(seconds) or worker.hangs())
        # A call that hangs has been answered already, so that the queues look idle.
        if worker.hangs() or not self._is_idle(0.0):
            task = worker.task
            raise RuntimeError(
                f"the worker hangs: {task.name if task else 'it'} takes longer than worker_timeout"
            )

    def cleanup(self) -> None:
        """Let go of the model."""
        self._close_worker()

    def release(self) -> None:
        """Accept nothing more and let go of the model, from any state."""
        self._stop_serving()
        self._close_worker()

    def tell_error(self, sentence: str) -> None:
        """Log why a transition failed."""
        self.errors.error(sentence)

    def meanwhile(self) -> None:
        """Go on with heartbeat and diagnostics while a transition waits."""
        if time.monotonic() - self._pulsed >= PULSE_SECONDS:
            self._pulse()

    def _stop_serving(self) -> None:
        # Shut first, so that a frame whose turn comes meanwhile counts as deactivated, not as without subscribers.
        self.frames.shut()
        self.calls.shut("the node is not active any more")
        for camera in self.cameras.values():
            camera.activate(False)

    def _is_idle(self, timeout: float) -> bool:
        """Wait at most about `timeout` seconds until no frame and no call is in work; return whether that is so."""
        return self.frames.wait_idle(timeout) and self.calls.wait_idle(timeout)

    def _start_worker(self) -> Worker:
        if self.stopping.is_set():
            raise TransitionFailed("the node is being ended")
        choice = self.parameters.model
        self.get_logger().info(
            f"loading the model {choice.model!r} (device {choice.device}, dtype {choice.dtype})"
        )
        self._said_loading = time.monotonic()
        self.worker = Worker(
            self,
            self.parameters,
            self.frames,
            self.calls,
            self.cameras,
            self._label_info,
            self.errors,
            self._settled,
            self._load,
        )
        self.worker.start()
        return self.worker

    def _wait_for(self, worker: Worker) -> None:
        self.wait_until(worker.wait)
        error = worker.error
        if error:
            del worker  # its memory must be free
            self._close_worker()
            if self._bringing_up:
                self.fatal(error)  # somebody was quicker with `configure` than the node itself
            raise TransitionFailed(error)

    def _close_worker(self) -> None:
        """End the worker and free the memory of its model; one that hangs is left behind."""
        worker = self.worker
        if worker is None:
            return
        worker.end()
        deadline = time.monotonic() + (0.0 if worker.hangs() else self.parameters.policy.worker_timeout)
        self.wait_until(lambda seconds: self._has_ended(seconds) or time.monotonic() > deadline)
        self.worker = None
        if not worker.join(0.0):
            worker.abandon()
            self._left_behind.append(worker)
            self.frames.give_up()
            self.calls.give_up("the worker hangs, and was left behind")
            self.calls.recover()  # What arrives from now on is for the next worker.
            self.errors.error("the model is still busy and was left behind; its memory is free once it ends")
        del worker
        release_memory()

    def _has_ended(self, timeout: float) -> bool:
        return self.worker is None or self.worker.join(timeout)

    # Callbacks: executor's thread.

    def _submit(self, request: Configuration) -> None:
        worker = self._worker_for(self.parameters.model)
        if worker is not None:
            worker.loader.submit(request)

    def _check(self, request: Configuration, model: ModelChoice) -> None:
        worker = self._worker_for(model)
        if worker is not None:
            worker.loader.check(request)

    def _worker_for(self, model: ModelChoice) -> Worker | None:
        """Return the worker if it goes on with this model; None: the next activation loads it."""
        worker = self.worker
        return None if worker is None or worker.error or worker.choice != model else worker

    def _on_settled(self) -> None:
        worker = self.worker
        if worker is None:
            return
        if worker.error:
            if self._bringing_up or self.parameters.setup.autostart:
                self.fatal(worker.error)
            elif self.stage is Stage.ACTIVE:
                self.trigger_deactivate()  # which finds the error and reports it
            elif self.stage is Stage.INACTIVE:
                self.errors.error(f"{worker.error}; the next activation loads the model anew")
        elif self._bringing_up:
            self._bringing_up = False
            if not self.bring_up():
                self.fatal(self.transition_error or "the node could not be brought up")

    def _pulse(self) -> None:
        """Publish heartbeat and diagnostics once a second, and look after cameras and workers."""
        self._pulsed = time.monotonic()
        if self.is_well():
            self._heartbeat.publish(Header(stamp=to_stamp(self.get_clock().now().nanoseconds)))
        self._watch_name()
        self._diagnostics.publish()
        self.calls.expire()
        if self.stage is Stage.ACTIVE:
            self._label_info.show_legend()
        for camera in self.cameras.values():
            camera.follow_demand()  # for a middleware that does not tell when subscribers come and go
            for sentence in self._diagnostics.complaints(camera.name):
                camera.warn(sentence)
        self._watch_worker()
        self._watch_left_behind()
        if self._pulsed - self._reported >= REPORT_SECONDS:
            self._reported = self._pulsed
            for line in self._diagnostics.news():
                self.get_logger().info(line)

    def _watch_name(self) -> None:
        own = (self.get_name(), self.get_namespace())
        # At least itself, although it may not have discovered that yet.
        count = max(1, self.get_node_names_and_namespaces().count(own))
        if count > self.nodes_of_its_name:
            self.get_logger().warning(
                f"{count} nodes are called {self.get_fully_qualified_name()}: calls and parameters go to any of them; "
                "start each with a name of its own, such as by -r __node:=NAME (one that was killed still counts "
                "for a while)"
            )
        self.nodes_of_its_name = count

    def _watch_worker(self) -> None:
        task = self.worker.task if self.worker else None
        hung = task.since if task and self.worker and self.worker.hangs() else None
        if task and hung is not None and hung != self._hung:
            what = (
                f"{task.name} takes longer than worker_timeout ({self.parameters.policy.worker_timeout:g} s)"
            )
            self.errors.error(f"the worker hangs: {what}, and the heartbeat has stopped")
            self.calls.hang(f"the worker hangs: {what}; call again once the heartbeat is back")
        elif self._hung is not None and hung is None:
            self.get_logger().info("the worker does not hang any more")
            self.calls.recover()
        self._hung = hung
        if task and not task.bounded and self._pulsed - self._said_loading >= LOADING_SECONDS:
            self._said_loading = self._pulsed
            self.get_logger().info(f"still {task.name}, for {self._pulsed - task.since:.0f} s now")

    def _watch_left_behind(self) -> None:
        ended = [worker for worker in self._left_behind if worker.join(0.0)]
        if ended:
            self._left_behind = [worker for worker in self._left_behind if worker not in ended]
            del ended
            release_memory()
            self.get_logger().info("a model that had been left behind has ended, and its memory is free")
