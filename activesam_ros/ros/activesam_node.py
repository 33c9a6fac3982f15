"""The node: parameters in, cameras, one engine that owns the model, and how all of them are."""

from __future__ import annotations

import logging
import os
import re
import time
from typing import TYPE_CHECKING

from rclpy.clock import Clock, ClockType
from rclpy.utilities import get_rmw_implementation_identifier

from activesam_ros.ros.announcer import Announcer
from activesam_ros.ros.answering import Answering
from activesam_ros.ros.calls import CallQueue
from activesam_ros.ros.camera import Camera
from activesam_ros.ros.engine import Engine
from activesam_ros.ros.heartbeat import Heartbeat, hangs
from activesam_ros.ros.inbox import FrameCounts, Inbox
from activesam_ros.ros.lifecycle import ManagedNode, Stage, TransitionFailed
from activesam_ros.ros.live_parameters import DESCRIBED_TYPES, LiveParameters
from activesam_ros.ros.logs import LIBRARY_LOGGER, RosLogHandler
from activesam_ros.ros.report import NodeReport
from activesam_ros.ros.segment_service import SegmentService
from activesam_ros.ros.throttle import ReasonThrottle
from activesam_ros.ros.transport import transport_warning

if TYPE_CHECKING:
    from collections.abc import Callable

    from rcl_interfaces.msg import ParameterDescriptor

    from activesam_ros.configuration import Configuration, ModelChoice
    from activesam_ros.ros.frame import Frame
    from activesam_ros.ros.parameters import Policy
    from activesam_ros.ros.vocabulary_loader import LoadedVocabulary
    from activesam_ros.segmenter import ActiveSegmenter

PULSE_SECONDS = 1.0
REPORT_SECONDS = 10.0
COMPLAINT_SECONDS = 5.0
LOADING_SECONDS = 10.0
ANSWERING_SECONDS = 0.2
SILENCE_SECONDS = 30.0

_NUMBER = re.compile(r"\d+")


class ActiveSamNode(ManagedNode):
    """Segments the images of its cameras with the words of the parameter `vocabulary`.

    Callbacks run in the executor's thread and only hand things over, but for transitions, which wait in slices;
    `loaded`, `in_force`, `change_failed`, `call_failed`, `engine_settled`, `frame_failed` and `fatal` are called from
    other threads.
    """

    def __init__(
        self,
        on_fatal: Callable[[], None],
        load: Callable[[ModelChoice, Configuration], ActiveSegmenter] | None = None,
        **node_options: object,
    ) -> None:
        """Args:
            on_fatal: called, in any thread, when nothing is left to serve; `exit_code` is 1 from then on.
            load: makes the segmenter; None: the model that the parameters name is loaded.
            node_options: for `rclpy.node.Node`.

        Raises:
            ActiveSamError: a parameter given at the start has the wrong type or is refused.
        """
        super().__init__("activesam", **node_options)
        self._on_fatal = on_fatal
        self._load = load
        self._fatal: str | None = None
        self._hung = False
        self._engine: Engine | None = None
        # Those that hung when they were closed: a thread of theirs is still inside the model.
        self._left_behind: list[Engine] = []
        self._complain = ReasonThrottle(COMPLAINT_SECONDS, time.monotonic)
        self._silence = ReasonThrottle(SILENCE_SECONDS, time.monotonic)
        self._live = LiveParameters(self, self._submit, self._check, lambda: self.stage is Stage.ACTIVE)
        setup = self._live.setup
        self._bringing_up = setup.autostart

        names = setup.cameras or ("",)
        self._inbox: Inbox[Frame] = Inbox(names, setup.queue_size if setup.queue == "all" else None)
        self._calls = CallQueue(time.monotonic)
        self._segment_service = SegmentService(
            self, self._calls, self._not_serving, lambda: self._engine, self.call_failed
        )
        self._announcer = Announcer(self)
        self._cameras = {
            name: Camera(self, name, setup, self._policy, self._inbox, self._overflowed, self._incompatible)
            for name in names
        }
        self._answering = Answering(
            self._cameras, self._inbox, self._announcer, self._policy, self.get_clock(), self.frame_failed
        )
        self._report = NodeReport(
            self,
            self._live,
            self._inbox,
            self._calls,
            self._cameras.values(),
            lambda: self._engine,
            self._is_well,
        )
        self._heartbeat = Heartbeat(self, self._is_well)
        self._live.listen()

        self._log_handler = RosLogHandler(self.get_logger())
        logging.getLogger(LIBRARY_LOGGER).addHandler(self._log_handler)
        logging.getLogger(LIBRARY_LOGGER).setLevel(logging.INFO)
        warning = transport_warning(os.environ, get_rmw_implementation_identifier())
        if warning:
            self.get_logger().warning(warning)

        self._settled = self.create_guard_condition(self._on_settled)
        # A steady clock: how the node is also matters while simulated time stands still.
        self._pulsed = self._reported = self._said_loading = time.monotonic()
        self.create_timer(PULSE_SECONDS, self._pulse, clock=Clock(clock_type=ClockType.STEADY_TIME))
        if self._bringing_up:
            self._start_engine()
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
        """Where every received frame of a camera went."""
        return self._inbox.counts(camera)

    def begin_to_stop(self) -> None:
        """Have transitions give up and the threads end after what they are doing; returns nearly at once."""
        self.stopping.set()
        engine = self._engine
        if engine is not None:
            engine.end()
        self._inbox.close()
        self._calls.shut("the node is being ended")
        self._segment_service.drain(ANSWERING_SECONDS)

    def stop(self, timeout: float) -> bool:
        """End the threads and report, once no callback runs any more.

        Returns:
            whether they all ended within `timeout` seconds; if not, one may be inside the model still.
        """
        # Again, since a transition may have loaded another model meanwhile.
        self.begin_to_stop()
        engine = self._engine
        worked = engine is not None and engine.is_loaded
        ended = engine is None or engine.join(timeout)
        ended = ended and all(one.join(0.0) for one in self._left_behind)
        logging.getLogger(LIBRARY_LOGGER).removeHandler(self._log_handler)
        if worked or any(self._inbox.counts(name).received for name in self._cameras):
            for line in self._report.summaries():
                self.get_logger().info(f"stopped; {line}")
        return ended

    def describe_parameter(self, name: str) -> ParameterDescriptor:
        """The descriptor of a parameter with the type it is declared with.

        rclpy writes the type of any value that is offered to a dynamically typed parameter into its descriptor,
        even if the value is refused.
        """
        described = super().describe_parameter(name)
        described.type = DESCRIBED_TYPES.get(name, described.type)
        return described

    # Transitions: executor's thread.

    def configure(self) -> None:
        if self._engine is None:
            self._start_engine()
        self._wait_for_engine()

    def activate(self) -> None:
        if self._engine is None or self._engine.error or self._engine.choice != self._live.model:
            self._close_engine()
            self._start_engine()
            self._wait_for_engine()
        self._inbox.open()
        self._calls.open()
        # Names are announced before the first image comes.
        self._inbox.wake()
        for camera in self._cameras.values():
            camera.activate(True)
        if not any(camera.input.listening for camera in self._cameras.values()):
            self.get_logger().info(
                "nobody subscribes to the results yet; images are taken once somebody does"
            )

    def deactivate(self) -> None:
        self._stop_serving()
        if self._engine is None or self._engine.error:
            raise RuntimeError(self._engine.error if self._engine else "there is no model")
        self.wait_until(lambda seconds: self._is_idle(seconds) or self._hangs())
        if not self._is_idle(0.0):
            raise RuntimeError("the worker hangs: a frame has been in work for longer than worker_timeout")

    def cleanup(self) -> None:
        self._close_engine()

    def release(self) -> None:
        self._stop_serving()
        self._close_engine()

    def tell_error(self, sentence: str) -> None:
        super().tell_error(sentence)
        self._report.failed(sentence)

    def meanwhile(self) -> None:
        if time.monotonic() - self._pulsed >= PULSE_SECONDS:
            self._pulse()

    def _stop_serving(self) -> None:
        # Shut first, so that a frame whose turn comes meanwhile counts as deactivated, not as unwanted.
        self._inbox.shut()
        self._calls.shut("the node is not active any more")
        for camera in self._cameras.values():
            camera.activate(False)

    def _is_idle(self, timeout: float) -> bool:
        """Whether no frame and no call is in work; waits at most about `timeout` seconds for that."""
        return self._inbox.wait_idle(timeout) and self._calls.wait_idle(timeout)

    def _start_engine(self) -> None:
        if self.stopping.is_set():
            raise TransitionFailed("the node is being ended")
        choice = self._live.model
        self.get_logger().info(
            f"loading the model {choice.model!r} (device {choice.device}, dtype {choice.dtype})"
        )
        self._said_loading = time.monotonic()
        self._engine = Engine(
            choice,
            self._live.requested,
            self._inbox,
            self._calls,
            self._answering,
            self._answering.idle,
            self,
            self._load,
        )
        self._engine.start()

    def _wait_for_engine(self) -> None:
        self.wait_until(self._engine.wait)
        if self._engine.error:
            error = self._engine.error
            self._close_engine()
            if self._bringing_up:
                self.fatal(error)  # somebody was quicker with `configure` than the node itself
            raise TransitionFailed(error)

    def _close_engine(self) -> None:
        """End the engine and free its memory; one that hangs is left behind."""
        if self._engine is None:
            return
        self._engine.end()
        deadline = time.monotonic() + (0.0 if self._hangs() else self._policy().worker_timeout)
        self.wait_until(lambda seconds: self._engine.join(seconds) or time.monotonic() > deadline)
        engine, self._engine = self._engine, None
        if not engine.join(0.0):
            engine.abandon()
            self._left_behind.append(engine)
            self._inbox.give_up()
            self._calls.give_up("the worker hangs, and was left behind")
            self._calls.recover()  # What comes from now on is for the worker that follows.
            self.tell_error("the model is still busy and was left behind; its memory is free once it ends")
        del engine
        self._release_memory()

    def _look_after_the_left_behind(self) -> None:
        ended = [engine for engine in self._left_behind if engine.join(0.0)]
        if ended:
            self._left_behind = [engine for engine in self._left_behind if engine not in ended]
            del ended
            self._release_memory()
            self.get_logger().info("a model that had been left behind has ended, and its memory is free")

    @staticmethod
    def _release_memory() -> None:
        from activesam_ros.system.memory import release_memory

        release_memory()

    # Callbacks: executor's thread.

    def _submit(self, request: Configuration) -> None:
        if self._engine is not None:
            self._engine.submit(request)

    def _check(self, request: Configuration) -> None:
        if self._engine is not None:
            self._engine.check(request)

    def _policy(self) -> Policy:
        return self._live.policy

    def _not_serving(self) -> str | None:
        """Why calls cannot be answered right now; None if they can."""
        engine, name = self._engine, self.get_fully_qualified_name()
        if self.stopping.is_set():
            return "the node is being ended"
        if engine is not None and engine.error:
            return f"there is no model: {engine.error}"
        if self._bringing_up or (engine is not None and engine.served is None):
            return f"the model {self._live.model.model} is still loading; call again once {name} is active"
        if self.stage is not Stage.ACTIVE:
            steps = "configure` and then `… activate" if self.stage is Stage.UNCONFIGURED else "activate"
            return f"{name} is {self.stage}; run `ros2 lifecycle set {name} {steps}`, and call again"
        return None

    def _on_settled(self) -> None:
        engine = self._engine
        if engine is None:
            return
        if engine.error:
            if self._bringing_up or self._live.setup.autostart:
                self.fatal(engine.error)
            elif self.stage is Stage.ACTIVE:
                self.trigger_deactivate()  # which finds the error and reports it
            elif self.stage is Stage.INACTIVE:
                self.tell_error(f"{engine.error}; the next activation loads the model anew")
        elif self._bringing_up:
            self._bringing_up = False
            if not self.bring_up():
                self.fatal(self.transition_error or "the node could not be brought up")

    def _pulse(self) -> None:
        """Once a second: a sign of life, how everything is, and whether images come."""
        now = self._pulsed = time.monotonic()
        self._heartbeat.beat()
        self._report.publish()
        self._calls.expire()
        if self.stage is Stage.ACTIVE:
            self._announcer.show_again()
        for camera in self._cameras.values():
            camera.follow_demand()  # for a middleware that does not tell when subscribers come and go
            self._watch(camera)
        self._watch_worker()
        self._look_after_the_left_behind()
        task = self._engine.task if self._engine else None
        if task is not None and not task.bounded and now - self._said_loading >= LOADING_SECONDS:
            self._said_loading = now
            self.get_logger().info(f"still {task.name}, for {now - task.since:.0f} s now")
        if now - self._reported >= REPORT_SECONDS:
            self._reported = now
            for line in self._report.news():
                self.get_logger().info(line)

    def _watch_worker(self) -> None:
        hangs = self._hangs()
        if hangs and not self._hung:
            self.tell_error(
                f"the worker hangs: frames have been in work for longer than worker_timeout "
                f"({self._policy().worker_timeout:g} s), and the heartbeat has stopped"
            )
            self._calls.hang(
                f"the worker hangs: it has been in the model for longer than worker_timeout "
                f"({self._policy().worker_timeout:g} s); call again once the heartbeat is back"
            )
        elif self._hung and not hangs:
            self.get_logger().info("the worker does not hang any more")
            self._calls.recover()
        self._hung = hangs

    def _watch(self, camera: Camera) -> None:
        for sentence in (self._report.silence(camera), self._report.complaint(camera)):
            if sentence:
                self._warn(f"{camera.prefix}{sentence}", self._silence)

    def _incompatible(self, camera: Camera) -> None:
        sentence = self._report.unfit_publisher(camera)
        if sentence:
            self._warn(f"{camera.prefix}{sentence}", self._silence)

    def _overflowed(self, camera: Camera) -> None:
        size = self._live.setup.queue_size
        sentence = (
            f"{camera.prefix}a frame was lost, since {size} were waiting; the player has to wait for answers, or "
            "raise queue_size"
        )
        self._report.failed(sentence)
        text = self._complain(sentence)
        if text:
            self.get_logger().error(text)

    def _warn(self, sentence: str, throttle: ReasonThrottle) -> None:
        # Numbers, such as the length of a damaged picture, do not make it another complaint.
        text = throttle(sentence, _NUMBER.sub("#", sentence))
        if text:
            self.get_logger().warning(text)

    # Other threads.

    def loaded(self, segmenter: ActiveSegmenter, seconds: float) -> None:
        self.get_logger().info(
            f"model loaded in {seconds:.1f} s; {segmenter.full_resolution} px, "
            f"preview {segmenter.preview_resolution} px"
        )

    def in_force(self, served: LoadedVocabulary) -> None:
        self._live.succeeded(served.configuration)
        topics = ", ".join(camera.input.topic for camera in self._cameras.values())
        self.get_logger().info(
            f"vocabulary revision {served.revision} in force: {len(served.vocabulary)} classes, prepared in "
            f"{served.seconds:.2f} s; images from {topics}"
        )

    def change_failed(self, request: Configuration, sentence: str, standing: Configuration, again: bool) -> None:
        self._report.failed(sentence)
        self._live.failed(request, sentence, standing, again)

    def call_failed(self, sentence: str) -> None:
        self._report.failed(sentence)
        self._warn(sentence, self._complain)

    def engine_settled(self, engine: Engine) -> None:
        self._settled.trigger()

    def frame_failed(self, camera: Camera, sentence: str) -> None:
        self._report.failed(f"{camera.prefix}{sentence}")
        self._warn(f"{camera.prefix}{sentence}", self._complain)

    def fatal(self, sentence: str) -> None:
        """Nothing can be served any more: say so and have the process ended."""
        if self.stopping.is_set():
            return  # The node is being ended anyway; what fails meanwhile is no reason to call that a failure.
        self._fatal = sentence
        self._report.failed(sentence)
        self.get_logger().fatal(sentence)
        self._on_fatal()

    def _is_well(self) -> bool:
        return not self._hangs() and not (self._engine and self._engine.error)

    def _hangs(self) -> bool:
        task = self._engine.task if self._engine else None
        return hangs(task, self._policy().worker_timeout, time.monotonic())
