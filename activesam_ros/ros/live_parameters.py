"""The parameters of the running node: declared, checked before they change, and put back if a change fails."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rcl_interfaces.msg import SetParametersResult
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.parameter import Parameter

from activesam_ros.errors import ActiveSamError, SettingsError, describe
from activesam_ros.ros.descriptors import declared_default, descriptor
from activesam_ros.ros.edits import first_request, next_request
from activesam_ros.ros.parameters import (
    CHANGEABLE,
    PARAMETERS,
    ModelChoice,
    ParameterSpec,
    Policy,
    Setup,
    Takes,
    Value,
    Wanted,
    group_of,
    typed,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from rclpy.node import Node

_REMEMBERED = 1000
_SPECS = {spec.name: spec for spec in PARAMETERS}


@dataclass(frozen=True)
class _Failure:
    """A request that could not be prepared, why, and what stays in force or, at the start, comes into it."""

    request: Wanted
    sentence: str
    standing: Wanted
    again: bool


class LiveParameters:
    """What the parameters ask for, at every moment; executor thread, except `failed`.

    Attributes:
        setup: what the node is built with.
        policy: which frames are taken, and when to complain.
        requested: the words and settings that were accepted last.
    """

    def __init__(
        self,
        node: Node,
        wanted: Callable[[Wanted], None],
        check: Callable[[Wanted], None],
        active: Callable[[], bool],
    ) -> None:
        """Declares everything, and reads what was given at the start.

        Args:
            node: whose parameters they are.
            wanted: takes words and settings that were accepted; they come into force, or `failed` is called.
            check: raises ActiveSamError if the model cannot serve what is wanted; quick.
            active: whether the node is active.

        Raises:
            ActiveSamError: a parameter given at the start has the wrong type or is refused.
        """
        self._node = node
        self._wanted = wanted
        self._check = check
        self._active = active
        self._next: Wanted | None = None
        self._writing = False
        self._failure: _Failure | None = None
        # What other threads tell, in the order in which they do; the executor acts on it.
        self._outcomes: deque[Wanted | _Failure] = deque()
        self._told = node.create_guard_condition(self._take_outcomes)
        values = self._declare()
        self.setup = group_of(Setup, values)
        self.policy = group_of(Policy, values)
        self.requested = first_request(values)
        self._revisions = self.requested.revision
        # The last requests, to tell which of two came first.
        self._accepted: deque[Wanted] = deque([self.requested], maxlen=_REMEMBERED)
        self._report(self._show(self.requested))

    def listen(self) -> None:
        """Take changes from now on."""
        self._node.add_on_set_parameters_callback(self._validate)
        self._node.add_post_set_parameters_callback(self._changed)

    @property
    def model(self) -> ModelChoice:
        """What the next model is loaded with."""
        names = [spec.name for spec in PARAMETERS if spec.takes is Takes.INACTIVE]
        return group_of(ModelChoice, {name: self._node.get_parameter(name).value for name in names})

    @property
    def failure(self) -> str | None:
        """Why the last change failed; None if it did not, or something else came into force since."""
        failure = self._failure
        return failure.sentence if failure is not None else None

    def failed(self, request: Wanted, sentence: str, standing: Wanted, again: bool) -> None:
        """A request could not be prepared; for any thread. The parameters go back to what stands.

        Args:
            request: what failed.
            sentence: why.
            standing: what stays in force.
            again: `standing` has never been prepared, so it is wanted anew.
        """
        self._outcomes.append(_Failure(request, sentence, standing, again))
        self._told.trigger()

    def succeeded(self, request: Wanted) -> None:
        """A request came into force; for any thread. What failed before it was made is history."""
        self._outcomes.append(request)
        self._told.trigger()

    def _declare(self) -> dict[str, Value]:
        return {spec.name: typed(spec.name, self._declared(spec).value) for spec in PARAMETERS}

    def _declared(self, spec: ParameterSpec) -> Parameter:
        try:
            return self._node.declare_parameter(spec.name, declared_default(spec), descriptor(spec))
        except InvalidParameterTypeException as error:
            hint = (
                " (write a number with a decimal point, such as 1.0)" if type(spec.default) is float else ""
            )
            raise SettingsError(f"{error}{hint}") from error
        except InvalidParameterValueException as error:
            low, high = spec.range or (None, None)
            raise SettingsError(
                f"parameter {spec.name!r} is out of range: expected {low:g} to {high:g}"
            ) from error

    def _validate(self, changes: list[Parameter]) -> SetParametersResult:
        self._next = None
        if self._writing:
            return SetParametersResult(successful=True)
        try:
            self._next = self._checked(
                {change.name: change.value for change in changes if change.name in _SPECS}
            )
        except ActiveSamError as error:
            return SetParametersResult(successful=False, reason=str(error))
        except Exception as error:  # a file can hold anything; a parameter call must not take the node down
            self._node.get_logger().error(f"checking parameters failed unexpectedly: {describe(error)}")
            return SetParametersResult(successful=False, reason=f"unexpected: {describe(error)}")
        return SetParametersResult(successful=True)

    def _checked(self, changes: dict[str, object]) -> Wanted | None:
        """What is wanted after `changes`; None if they are not about words and settings. Raises ActiveSamError."""
        for name, value in changes.items():
            takes = _SPECS[name].takes
            if takes in (Takes.AT_ONCE, Takes.INACTIVE):
                value = typed(name, value)
            if takes is Takes.INACTIVE and self._active() and value != self._node.get_parameter(name).value:
                owner = self._node.get_fully_qualified_name()
                raise SettingsError(
                    f"{name} cannot change while the node is active: run `ros2 lifecycle set {owner} deactivate`, "
                    "set it, and activate the node again"
                )
        if not changes.keys() & set(CHANGEABLE):
            return None
        request = next_request(self.requested, changes, self._revisions + 1)
        self._check(request)
        return request

    def _changed(self, _: list[Parameter]) -> None:
        # Called at once after `_validate` accepted, or after `_show` set them.
        self.policy = self._read_policy()
        request, self._next = self._next, None
        if request is None:
            return
        if request == self.requested:
            failure = self._failure
            if failure is not None and self.requested is failure.standing:
                self._failure = None  # What is in force was asked for again, so the failed change is history.
            # What was set may say the same in other words, such as no profile beside the numbers of one.
            self._report(self._show(request))
            return
        self.requested = request
        self._accepted.append(request)
        self._revisions = max(self._revisions, request.revision)
        self._report(self._show(request))
        self._wanted(request)

    def _read_policy(self) -> Policy:
        names = [spec.name for spec in PARAMETERS if spec.takes is Takes.AT_ONCE]
        return group_of(Policy, {name: self._node.get_parameter(name).value for name in names})

    def _show(self, request: Wanted) -> list[str]:
        """Set the parameters that show something else than `request`; their names."""
        shown = {name: typed(name, self._node.get_parameter(name).value) for name in CHANGEABLE}
        differing = [
            Parameter(name, value=list(value) if isinstance(value, tuple) else value)
            for name, value in request.values
            if value != shown[name]
        ]
        if differing:
            self._writing = True
            try:
                self._node.set_parameters_atomically(differing)
            finally:
                self._writing = False
        return [parameter.name for parameter in differing]

    def _report(self, names: list[str]) -> None:
        if names:
            values = dict(self.requested.values)
            followed = ", ".join(f"{name} {_short(values[name])}" for name in names)
            self._node.get_logger().info(f"set along with what was given: {followed}")

    def _take_outcomes(self) -> None:
        while self._outcomes:
            outcome = self._outcomes.popleft()
            if isinstance(outcome, _Failure):
                self._failure = outcome
                self._write_back(outcome)
            elif self._failure is not None and self._is_later(outcome, self._failure.request):
                self._failure = None

    def _is_later(self, one: Wanted, other: Wanted) -> bool:
        """Whether `one` was accepted after `other`; what is no longer remembered was accepted before all that is."""
        order = [id(request) for request in self._accepted]
        places = [order.index(id(request)) if id(request) in order else -1 for request in (one, other)]
        return places[0] > places[1]

    def _write_back(self, failure: _Failure) -> None:
        """After a failed change: make the parameters show what is in force again."""
        if self.requested is failure.standing:
            return  # Another change failed before this one did, and has been dealt with.
        if self.requested is not failure.request:
            self._node.get_logger().error(f"a change failed, a newer one replaced it: {failure.sentence}")
            return
        self.requested = failure.standing
        undone = self._show(self.requested)
        self._node.get_logger().error(
            f"the change failed and is undone ({', '.join(undone)} as before): {failure.sentence}"
        )
        if failure.again:
            self._wanted(self.requested)


def _short(value: Value) -> str:
    return f"({len(value)} classes)" if isinstance(value, tuple) else repr(value)
