"""The node: parameters in, one camera, one worker."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rcl_interfaces.msg import ParameterDescriptor, SetParametersResult
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.utilities import get_rmw_implementation_identifier

from activesam_ros.errors import ActiveSamError, SettingsError
from activesam_ros.ros.camera import Camera, Frame
from activesam_ros.ros.changes import ChangeDesk
from activesam_ros.ros.descriptors import DESCRIBED_TYPES, declared_default, descriptor
from activesam_ros.ros.diagnostics import Diagnostics, Status
from activesam_ros.ros.edits import first_request, next_request
from activesam_ros.ros.frame_slot import FrameCounts, FrameSlot
from activesam_ros.ros.logs import LIBRARY_LOGGER, RosLogHandler
from activesam_ros.ros.parameters import CHANGEABLE, PARAMETERS, Value, Wanted, typed
from activesam_ros.ros.preparation import Prepared, Preparer, Served
from activesam_ros.ros.tally import Tally, format_stages
from activesam_ros.ros.throttle import ReasonThrottle
from activesam_ros.ros.transport import transport_warning
from activesam_ros.ros.vocabulary_status import vocabulary_status
from activesam_ros.ros.worker import Worker, describe

if TYPE_CHECKING:
    from activesam_ros.segmenter import ActiveSegmenter

REPORT_SECONDS = 10.0
COMPLAINT_SECONDS = 5.0
NO_CACHE = "off"


@dataclass(frozen=True)
class _Failure:
    """A request that could not be prepared, why, and what stays in force or, at the start, comes into it."""

    request: Wanted
    sentence: str
    standing: Wanted


class ActiveSamNode(Node):
    """Segments the images of one topic with the words of the parameter `vocabulary`.

    Callbacks run in the executor's thread and only hand things over; `loaded`, `in_force`, `frame_failed` and
    `fatal` are the worker's events and run in its thread.
    """

    def __init__(self, on_fatal: Callable[[], None], **node_options: object) -> None:
        """
        Args:
            on_fatal: called, in any thread, when nothing is left to serve; `exit_code` is 1 from then on.
            node_options: for `rclpy.node.Node`.

        Raises:
            ActiveSamError: a parameter given at the start has the wrong type or is refused.
        """
        super().__init__("activesam", **node_options)
        self._on_fatal = on_fatal
        self._preparer: Preparer | None = None
        self._served: Served | None = None
        self._failure: _Failure | None = None
        self._next: Wanted | None = None
        self._writing = False
        self._prompt_cache = "not open yet"
        self._fatal: str | None = None
        self._complain = ReasonThrottle(COMPLAINT_SECONDS, time.monotonic)
        self._reported = time.monotonic()
        self._tally = Tally()
        self._slot: FrameSlot[Frame] = FrameSlot()
        self._desk: ChangeDesk[Wanted, Prepared] = ChangeDesk(self._change_failed)
        self._write_back_needed = self.create_guard_condition(self._write_back)

        # What the node was started with is what it falls back on until something has been prepared.
        self._first = self._requested = first_request(self._declare())
        self._revisions = self._first.revision
        self._report(self._show(self._requested))
        self.add_on_set_parameters_callback(self._validate)
        self.add_post_set_parameters_callback(self._changed)
        self._log_handler = RosLogHandler(self.get_logger())
        logging.getLogger(LIBRARY_LOGGER).addHandler(self._log_handler)
        logging.getLogger(LIBRARY_LOGGER).setLevel(logging.INFO)

        warning = transport_warning(os.environ, get_rmw_implementation_identifier())
        if warning:
            self.get_logger().warning(warning)
        self._camera = Camera(self, self._slot, self._tally)
        self._diagnostics = Diagnostics(self, [self._vocabulary_status])
        self._worker = Worker(self._slot, self._desk, self._load, self._answer, self)
        self._desk.submit(self._requested)
        self._worker.start()

    # The owner's view.

    @property
    def exit_code(self) -> int:
        """1 after a fatal error, else 0."""
        return 1 if self._fatal else 0

    @property
    def counts(self) -> FrameCounts:
        """Where every received frame went."""
        return self._slot.counts

    def stop(self, timeout: float) -> bool:
        """End the threads and report; whether they ended within `timeout` seconds."""
        self._slot.close()
        self._desk.close()
        ended = self._worker.join(timeout) and self._desk.join(timeout)
        logging.getLogger(LIBRARY_LOGGER).removeHandler(self._log_handler)
        if self._preparer is not None:
            self.get_logger().info(f"stopped; {self._tally.summary(self._slot.counts)}")
        return ended

    # Parameters: executor thread.

    def describe_parameter(self, name: str) -> ParameterDescriptor:
        """The descriptor of a parameter with the type it is declared with.

        rclpy writes the type of any value that is offered to a dynamically typed parameter into its descriptor,
        even if the value is refused.
        """
        described = super().describe_parameter(name)
        described.type = DESCRIBED_TYPES.get(name, described.type)
        return described

    def _declare(self) -> dict[str, Value]:
        """Declare every parameter; their values at the start."""
        values: dict[str, Value] = {}
        for spec in PARAMETERS:
            try:
                parameter = self.declare_parameter(spec.name, declared_default(spec), descriptor(spec))
            except InvalidParameterTypeException as error:
                hint = (
                    " (write a number with a decimal point, such as 1.0)"
                    if type(spec.default) is float
                    else ""
                )
                raise SettingsError(f"{error}{hint}") from error
            except InvalidParameterValueException as error:
                low, high = spec.range or (None, None)
                raise SettingsError(
                    f"parameter {spec.name!r} is out of range: expected {low:g} to {high:g}"
                ) from error
            values[spec.name] = typed(spec.name, parameter.value)
        return values

    def _validate(self, changes: list[Parameter]) -> SetParametersResult:
        self._next = None
        if self._writing:
            return SetParametersResult(successful=True)
        try:
            request = next_request(
                self._requested, {change.name: change.value for change in changes}, self._revisions + 1
            )
            if self._preparer is not None:
                self._preparer.check(request)
        except ActiveSamError as error:
            return SetParametersResult(successful=False, reason=str(error))
        except Exception as error:  # a file can hold anything; a parameter call must not take the node down
            self.get_logger().error(f"checking parameters failed unexpectedly: {describe(error)}")
            return SetParametersResult(successful=False, reason=f"unexpected: {describe(error)}")
        self._next = request
        return SetParametersResult(successful=True)

    def _changed(self, _: list[Parameter]) -> None:
        # Called at once after `_validate` accepted, or after `_show` set them.
        request, self._next = self._next, None
        if request is None:
            return
        if request == self._requested:
            failure = self._failure
            if failure is not None and self._requested is failure.standing:
                self._failure = None  # What is in force was asked for again, so the failed change is history.
            return
        self._requested = request
        self._revisions = max(self._revisions, request.revision)
        self._report(self._show(request))
        self._desk.submit(request)

    def _show(self, request: Wanted) -> list[str]:
        """Set the parameters that show something else than `request`; their names."""
        shown = {name: typed(name, self.get_parameter(name).value) for name in CHANGEABLE}
        differing = [
            Parameter(name, value=list(value) if isinstance(value, tuple) else value)
            for name, value in request.values
            if value != shown[name]
        ]
        if differing:
            self._writing = True
            try:
                self.set_parameters_atomically(differing)
            finally:
                self._writing = False
        return [parameter.name for parameter in differing]

    def _report(self, names: list[str]) -> None:
        if names:
            values = dict(self._requested.values)
            followed = ", ".join(f"{name} {_short(values[name])}" for name in names)
            self.get_logger().info(f"set along with what was given: {followed}")

    def _write_back(self) -> None:
        """After a failed change: make the parameters show what is in force again."""
        failure = self._failure
        if failure is None or self._requested is failure.standing:
            return  # Two failures came before this callback did, which has dealt with the second.
        if not self._desk.is_latest(failure.request):
            self.get_logger().error(f"a change failed, a newer one replaced it: {failure.sentence}")
            return
        self._requested = failure.standing
        undone = self._show(self._requested)
        self.get_logger().error(
            f"the change failed and is undone ({', '.join(undone)} as before): {failure.sentence}"
        )
        if self._preparer.last is None:
            self._desk.submit(self._requested)

    def _change_failed(self, request: Wanted, error: Exception) -> None:
        # Called in the encoding thread: parameters are the executor's, so it is only told.
        sentence, last = describe(error), self._preparer.last
        if last is None and request is self._first:
            self.fatal(f"the parameters do not fit the model: {sentence}")
            return
        self._failure = _Failure(request, sentence, last.wanted if last else self._first)
        self._write_back_needed.trigger()

    def _vocabulary_status(self) -> Status:
        failure, preparer = self._failure, self._preparer
        last = preparer.last if preparer else None
        stands = failure is not None and (last is None or last.wanted is failure.standing)
        return vocabulary_status(
            self._served,
            self._requested.revision,
            preparer is not None,
            failure.sentence if stands else None,
            self._prompt_cache,
        )

    # The worker's thread.

    def _load(self) -> ActiveSegmenter:
        model, device, dtype, residence, cache = (
            self.get_parameter(name).value
            for name in ("model", "device", "dtype", "text_encoder", "prompt_cache")
        )
        self.get_logger().info(f"loading the model {model!r} (device {device}, dtype {dtype})")
        # torch takes seconds to import; here that delays neither the end of the process nor the services.
        from activesam_ros.segmenter import ActiveSegmenter
        from activesam_ros.text.assembly import prompt_folder

        chosen = Path(cache).expanduser() if cache else "default"
        folder = None if cache == NO_CACHE else prompt_folder(chosen)
        self._prompt_cache = NO_CACHE if folder is None else str(folder)
        return ActiveSegmenter.from_pretrained(
            model,
            device=device,
            dtype=dtype,
            settings=self._first.settings,
            text_encoder=residence,
            prompt_cache=folder,
        )

    def _answer(self, frame: Frame, served: Served) -> None:
        stages = self._camera.answer(frame, served)
        self.get_logger().debug(f"frame answered; ms: {format_stages(stages)}")

    def loaded(self, segmenter: ActiveSegmenter, preparer: Preparer, seconds: float) -> None:
        self._preparer = preparer
        self.get_logger().info(
            f"model loaded in {seconds:.1f} s; {segmenter.full_resolution} px, "
            f"preview {segmenter.preview_resolution} px"
        )

    def in_force(self, served: Served, prepared: Prepared) -> None:
        self._served = served
        self.get_logger().info(
            f"vocabulary revision {served.revision} in force: {len(served.vocabulary)} classes, prepared in "
            f"{prepared.seconds:.2f} s; images from {self._camera.topic}"
        )

    def frame_answered(self) -> None:
        if time.monotonic() - self._reported >= REPORT_SECONDS:
            self._reported = time.monotonic()
            self.get_logger().info(self._tally.report(self._slot.counts))

    def frame_failed(self, sentence: str) -> None:
        text = self._complain(sentence)
        if text:
            self.get_logger().warning(text)

    def fatal(self, sentence: str) -> None:
        if self._slot.closed:
            return  # The node is being ended anyway; what fails meanwhile is no reason to call that a failure.
        self._fatal = sentence
        self.get_logger().fatal(sentence)
        self._on_fatal()


def _short(value: Value) -> str:
    return f"({len(value)} classes)" if isinstance(value, tuple) else repr(value)
