"""The parameters of the running node: declared, expanded and checked before they change, undone if loading fails.

A call passes through rclpy's three callbacks. The pre-set callback reads the values, makes a `Configuration` of them,
and adds the parameters that `profile` and `vocabulary_file` bring along; the on-set callback refuses what does not fit;
the post-set callback hands it to the configuration loader. So one call is one change, whatever it contains.
`~/set_parameters`, of which rclpy would make as many changes as there are parameters, is answered by `set_together`.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    ParameterType,
    SetParametersResult,
)
from rclpy.parameter import Parameter

from activesam_ros.configuration.configuration import (
    SPECS,
    Configuration,
    ModelChoice,
    ParameterSpec,
    Value,
    first_configuration,
    group_of,
    next_configuration,
    specs_of,
)
from activesam_ros.configuration.parameter_files import nearest
from activesam_ros.errors import ActiveSamError, SettingsError, VocabularyError, describe
from activesam_ros.ros.file_access import FileAccess, unquoted
from activesam_ros.ros.parameters import DEFAULTS, PARAMETERS, TAKES, Policy, Setup, Takes, read
from activesam_ros.settings import PROFILES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from rcl_interfaces.msg import Parameter as ParameterMsg
    from rclpy.node import Node

_TYPES = {
    bool: ParameterType.PARAMETER_BOOL,
    int: ParameterType.PARAMETER_INTEGER,
    float: ParameterType.PARAMETER_DOUBLE,
    str: ParameterType.PARAMETER_STRING,
    tuple: ParameterType.PARAMETER_STRING_ARRAY,
}

DESCRIBED_TYPES: Mapping[str, int] = {spec.name: _TYPES[type(spec.default)] for spec in PARAMETERS}
"""The ParameterType of every parameter, by name."""

_CONFIGURATION = tuple(spec.name for spec in SPECS)


def descriptor(spec: ParameterSpec, read_only: bool) -> ParameterDescriptor:
    """Return the message that describes a parameter to ROS tools."""
    message = ParameterDescriptor(
        name=spec.name,
        description=spec.description,
        additional_constraints=spec.constraint(),
        read_only=read_only,
        type=_TYPES[type(spec.default)],
    )
    # rclpy takes an empty list for a byte array; with dynamic typing our own check can say what is wrong.
    message.dynamic_typing = isinstance(spec.default, tuple)
    if spec.limits and type(spec.default) is int:
        message.integer_range = [IntegerRange(from_value=spec.limits[0], to_value=spec.limits[1], step=1)]
    elif spec.limits:
        message.floating_point_range = [
            FloatingPointRange(from_value=spec.limits[0], to_value=spec.limits[1], step=0.0)
        ]
    return message


def given_at_start(node: Node, spec: ParameterSpec) -> Any:
    """Return what was given at the start, of whatever type: rclpy refuses some that can be read; None: nothing."""
    # An empty list arrives as no value at all.
    default = list(spec.default) if isinstance(spec.default, tuple) else None
    free = ParameterDescriptor(dynamic_typing=True)
    given = node.declare_parameter(spec.name, default, free).value
    node.undeclare_parameter(spec.name)
    return () if given is None and default is not None else given


@dataclass(frozen=True)
class _Failure:
    """A request that could not be loaded, why, and what stays in force or, at the start, comes into it."""

    request: Configuration
    sentence: str
    standing: Configuration
    again: bool


@dataclass(frozen=True)
class _Call:
    """What the pre-set callback made of a call.

    Attributes:
        names: of all parameters, those that it added included.
        brought: those that it added.
        next: the configuration, or why there is none; None: the call has nothing to do with it.
        file: the vocabulary file that the call names; empty: none.
    """

    names: tuple[str, ...] = ()
    brought: tuple[str, ...] = ()
    next: Configuration | Exception | None = None
    file: str = ""


class LiveParameters:
    """The values of the parameters at every moment; executor thread, except `failed` and `succeeded`.

    Attributes:
        setup: what the node is built with.
        policy: which frames are taken, and when the node warns.
        requested: the configuration that was accepted last; its values are what the parameters show.
    """

    def __init__(
        self,
        node: Node,
        submit: Callable[[Configuration], None],
        check: Callable[[Configuration, ModelChoice], None],
        active: Callable[[], bool],
    ) -> None:
        """Declare everything, and read what was given at the start.

        Args:
            node: whose parameters they are.
            submit: takes an accepted configuration; it comes into force and `succeeded` is called, or `failed`.
            check: raises ActiveSamError if a model, where it is loaded, cannot serve a configuration; quick.
            active: whether the node is active.

        Raises:
            ActiveSamError: a parameter given at the start has the wrong type or is refused.
        """
        self._node = node
        self._submit = submit
        self._check = check
        self._active = active
        # What the pre-set callback made of the call.
        self._call = _Call()
        self._failure: _Failure | None = None
        # What other threads tell, in the order in which they do; the executor acts on it.
        self._outcomes: deque[Configuration | _Failure] = deque()
        self._told = node.create_guard_condition(self._take_outcomes)
        # What the log said last of what a profile left as it was given.
        self._left = ""
        given = self._declare()
        values = {**DEFAULTS, **given}
        self.setup = group_of(Setup, values)
        self.policy = group_of(Policy, values)
        self._files = FileAccess(self.setup.allowed_folders, given)
        self.requested = first_configuration(given)
        self._revisions, self._accepted = self.requested.revision, 0
        node.set_parameters_atomically(self._differing(self.requested))
        self._log(name for name, value in self.requested.values if value != values[name])

    def listen(self) -> None:
        """Take changes from now on."""
        self._node.add_pre_set_parameters_callback(self._expand)
        self._node.add_on_set_parameters_callback(self._validate)
        self._node.add_post_set_parameters_callback(self._take_effect)

    @property
    def model(self) -> ModelChoice:
        """What the next model is loaded with."""
        return group_of(ModelChoice, self._values(one.name for one in specs_of(ModelChoice)))

    def real(self, choice: ModelChoice) -> ModelChoice:
        """Return a choice with the real paths of the files that it names; as `FileAccess.real`, for any thread."""
        return self._files.real(choice)

    @property
    def failure(self) -> str | None:
        """Why the last change failed; None if it did not, or something else came into force since."""
        return None if self._failure is None else self._failure.sentence

    def failed(self, request: Configuration, sentence: str, standing: Configuration, again: bool) -> None:
        """Have a request undone that could not be loaded; for any thread.

        Args:
            request: what failed.
            sentence: why.
            standing: what stays in force.
            again: `standing` has never been loaded, so it is submitted anew.
        """
        self._outcomes.append(_Failure(request, sentence, standing, again))
        self._told.trigger()

    def succeeded(self, request: Configuration) -> None:
        """Note that a request came into force, which ends the error of any earlier one; for any thread."""
        self._outcomes.append(request)
        self._told.trigger()

    # Start.

    def _declare(self) -> dict[str, Value]:
        """Declare all parameters; return those that were given and those of the node's own."""
        values: dict[str, Value] = {}
        for spec in PARAMETERS:
            given = given_at_start(self._node, spec)
            if given is not None or isinstance(spec.default, tuple) or spec.name not in _CONFIGURATION:
                values[spec.name] = read(spec.name, spec.default if given is None else given)
            # Those of the configuration without a value, as a profile or a file may set it.
            initial: Any = values.get(spec.name, Parameter.Type(DESCRIBED_TYPES[spec.name]))
            initial = list(initial) if isinstance(initial, tuple) else initial
            described = descriptor(spec, read_only=TAKES[spec.name] is Takes.NEVER)
            self._node.declare_parameter(spec.name, initial, described, ignore_override=True)
        return values

    def unknown(self) -> list[str]:
        """Return a warning for each parameter that was given at the start and that nobody has declared by now."""
        with self._node.handle:
            given = self._node.handle.get_parameters(Parameter)
        known = self._node.get_parameters_by_prefix("")
        return [
            f"there is no parameter {name!r}, so it has no effect{nearest(name, known)}"
            for name in given
            if name not in known
        ]

    # A call that sets parameters.

    def set_together(self, messages: Sequence[ParameterMsg]) -> list[SetParametersResult]:
        """Answer `~/set_parameters`: what is refused by itself is left out, and all the rest is one change.

        Returns:
            one result for each message.
        """
        results = [self._by_itself(one) for one in messages]
        rest = {one.name: one for one, result in zip(messages, results, strict=True) if result is None}
        if not rest:
            return [one for one in results if one is not None]
        together = self._node.set_parameters_atomically(
            [Parameter.from_parameter_msg(one) for one in rest.values()]
        )
        return [together if one is None else one for one in results]

    def _by_itself(self, message: ParameterMsg) -> SetParametersResult | None:
        """Return the result for a parameter that others of its call have no influence on; None: they have."""
        try:
            one = Parameter.from_parameter_msg(message)
            if not self._node.has_parameter(one.name):
                raise SettingsError(f"there is no parameter {one.name!r}{nearest(one.name, TAKES)}")
            if TAKES.get(one.name, Takes.NEVER) is not Takes.NEVER:
                self._check_own(one.name, read(one.name, one.value))
                return None
            if self._is_shown(one):  # As tools do that set all parameters of a dump.
                return SetParametersResult(successful=True)
            return self._node.set_parameters_atomically([one])
        except Exception as error:  # such as a type that is none; the other parameters are not to blame
            return SetParametersResult(successful=False, reason=describe(error))

    def _is_shown(self, one: Parameter) -> bool:
        """Whether a parameter already has this value; of those that others declared, such as rclpy, type included."""
        shown = self._node.get_parameter(one.name)
        if one.name in TAKES:
            return read(one.name, one.value) == read(one.name, shown.value)
        return (one.type_, one.value) == (shown.type_, shown.value)

    def _expand(self, parameters: list[Parameter]) -> list[Parameter]:
        """Pre-set: read the values, make a configuration of the call, and add the parameters that it brings along."""
        brought: list[Parameter] = []
        request: Configuration | Exception | None = None
        file = ""
        try:
            parameters = [self._read(one) for one in parameters]
            changes = {one.name: one.value for one in parameters}
            file = str(changes.get("vocabulary_file", ""))
            if not changes.keys().isdisjoint(_CONFIGURATION):
                request = self._configuration(changes)
                brought = [one for one in self._differing(request) if one.name not in changes]
        except Exception as error:  # a file can hold anything; a parameter call must not take the node down
            request = error
            # What rclpy would refuse in words of its own is refused in ours.
            parameters = [self._shown(one) for one in parameters]
        names = tuple(one.name for one in (*parameters, *brought))
        self._call = _Call(names, tuple(one.name for one in brought), request, file)
        return [*parameters, *brought]

    @staticmethod
    def _read(one: Parameter) -> Parameter:
        if one.name not in TAKES or TAKES[one.name] is Takes.NEVER:
            return one
        return _parameter(one.name, read(one.name, one.value))

    def _shown(self, one: Parameter) -> Parameter:
        if one.name not in TAKES or TAKES[one.name] is Takes.NEVER:
            return one
        return _parameter(one.name, read(one.name, self._node.get_parameter(one.name).value))

    def _made_of(self, parameters: list[Parameter]) -> _Call:
        """Return what the pre-set callback made of a call; nothing of a declaration, which does not pass there."""
        return self._call if self._call.names == tuple(one.name for one in parameters) else _Call()

    def _configuration(self, changes: Mapping[str, Any]) -> Configuration:
        if self._restores(changes):
            return self.requested
        request = next_configuration(self.requested, changes, self._revisions + 1, self._files.load)
        return replace(request, number=self._accepted + 1)

    def _restores(self, changes: Mapping[str, Any]) -> bool:
        """Whether the parameters, which show something else right now, show `requested` again after the change."""
        shown, requested = self._values(_CONFIGURATION), dict(self.requested.values)
        if shown == requested:
            return False
        changed = {name: read(name, value) for name, value in changes.items() if name in shown}
        return {**shown, **changed} == requested

    def _validate(self, parameters: list[Parameter]) -> SetParametersResult:
        """On-set: refuse the call as a whole if anything in it does not fit."""
        call = self._made_of(parameters)
        try:
            if isinstance(call.next, Exception):
                raise call.next
            for one in parameters:
                self._check_own(one.name, one.value)
            if call.next is not None and call.next is not self.requested:
                self._check_fit(call.next, self._model_after(parameters), call.file)
        except ActiveSamError as error:
            return SetParametersResult(successful=False, reason=describe(error))
        except Exception as error:
            self._node.get_logger().error(f"checking parameters failed unexpectedly: {describe(error)}")
            return SetParametersResult(successful=False, reason=f"unexpected: {describe(error)}")
        return SetParametersResult(successful=True)

    def _model_after(self, parameters: list[Parameter]) -> ModelChoice:
        """Return what the next model is loaded with once these parameters are set."""
        shown = self._values(one.name for one in specs_of(ModelChoice))
        changed = {one.name: read(one.name, one.value) for one in parameters if one.name in shown}
        return group_of(ModelChoice, {**shown, **changed})

    def _check_fit(self, request: Configuration, model: ModelChoice, file: str) -> None:
        try:
            self._check(request, model)
        except VocabularyError as error:
            # The classes of a text file are its lines, whatever it is.
            raise VocabularyError(unquoted(file)) if file else error from None

    def _check_own(self, name: str, value: object) -> None:
        """Check a parameter that is not of the configuration; others' are none of ours."""
        takes = TAKES.get(name)
        if takes not in (Takes.AT_ONCE, Takes.INACTIVE):
            return
        value = read(name, value)
        changes = value != read(name, self._node.get_parameter(name).value)
        if takes is Takes.INACTIVE and changes:
            self._files.check(name, str(value))
        if takes is Takes.INACTIVE and changes and self._active():
            owner = self._node.get_fully_qualified_name()
            raise SettingsError(
                f"{name} cannot change while the node is active: run `ros2 lifecycle set {owner} deactivate`, "
                "set it, and activate the node again"
            )

    def _take_effect(self, parameters: list[Parameter]) -> None:
        """Post-set: put the policy into force, and submit the configuration if it is a new one."""
        self.policy = group_of(Policy, self._values(one.name for one in specs_of(Policy)))
        call, self._call = self._made_of(parameters), _Call()
        request = call.next
        if not isinstance(request, Configuration) or request is self.requested:
            return
        if request == self.requested:
            if self._failure is not None and self.requested.number == self._failure.standing.number:
                self._failure = None  # What is in force was asked for again, so the failed change is history.
            return
        self.requested = request
        self._accepted = request.number
        self._revisions = max(self._revisions, request.revision)
        self._log(call.brought)
        self._submit(request)

    # Undo: executor's thread.

    def _take_outcomes(self) -> None:
        while self._outcomes:
            outcome = self._outcomes.popleft()
            if isinstance(outcome, _Failure):
                self._failure = outcome
                self._undo(outcome)
            elif self._failure is not None and outcome.number > self._failure.request.number:
                self._failure = None

    def _undo(self, failure: _Failure) -> None:
        """Make the parameters show what is in force again, unless something newer was requested meanwhile."""
        if self.requested is failure.standing:
            return  # Another change failed before this one did, and has been undone with it.
        if self.requested is not failure.request:
            self._node.get_logger().error(f"a change failed, a newer one replaced it: {failure.sentence}")
            return
        self.requested = failure.standing
        undone = self._differing(self.requested)
        if undone:
            self._node.set_parameters_atomically(undone)
        # None, where a file was read again that had changed.
        names = ", ".join(one.name for one in undone)
        before = f" ({names} as before)" if names else ""
        self._node.get_logger().error(f"the change failed and is undone{before}: {failure.sentence}")
        if failure.again:
            self._submit(self.requested)

    # Values.

    def _values(self, names: Iterable[str]) -> dict[str, Value]:
        return {name: read(name, self._node.get_parameter(name).value) for name in names}

    def _differing(self, configuration: Configuration) -> list[Parameter]:
        """Return the values of a configuration that the parameters do not show."""
        differing = []
        for name, value in configuration.values:
            shown = self._node.get_parameter_or(name).value
            if shown is None or read(name, shown) != value:
                differing.append(_parameter(name, value))
        return differing

    def _log(self, brought: Iterable[str]) -> None:
        """Say which parameters were set beside those that were given, and which a profile left as they were given."""
        values = dict(self.requested.values)
        followed = [f"{name} {_short(values[name])}" for name in brought]
        if followed:
            self._node.get_logger().info(f"set along with what was given: {', '.join(followed)}")
        profile = PROFILES.get(str(values["profile"]), values)
        kept = [
            f"{name} {_short(values[name])}"
            for name in sorted(self.requested.given)
            if values[name] != profile[name]
        ]
        left = f"the profile {values['profile']} leaves what was given: {', '.join(kept)}" if kept else ""
        if left and left != self._left:
            self._node.get_logger().info(f"{left}; setting profile to '' forgets what was given")
        self._left = left


def _parameter(name: str, value: Value) -> Parameter:
    return Parameter(name, value=list(value) if isinstance(value, tuple) else value)


def _short(value: Value) -> str:
    return f"({len(value)} classes)" if isinstance(value, tuple) else repr(value)
