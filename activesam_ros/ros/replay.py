"""The node `replay`: plays a recording to the node that labels it, every image, as fast as it is answered."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.duration import Duration
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header
from vision_msgs.msg import LabelInfo

from activesam_ros.datasets.class_map import recorded_class_map
from activesam_ros.datasets.recordings import RecordedMessage, Recording
from activesam_ros.datasets.samples import COMPRESSED, default_image_topic
from activesam_ros.errors import EvaluationError
from activesam_ros.msg import Vocabulary
from activesam_ros.ros import qos
from activesam_ros.ros.conversions import class_names_to_msg, recorded_image_to_msg, to_nanoseconds
from activesam_ros.ros.program import ProgramNode, callbacks_of, declare_group, run_program
from activesam_ros.ros.replay_pacing import Pacing, Stillness, Surroundings, missing

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator, Sequence

LABELS = "activesam/labels"

_IMAGES = "images"
_NOTE = "note"

_TRUTH = "ground_truth/labels"
_TRUTH_INFO = "ground_truth/label_info"
_SLICE_SECONDS = 0.2
_SAY_SECONDS = 10.0
# Without a sign of the node for so long, a publisher that is gone is gone for good.
_GONE_SECONDS = 5.0
# Truth is recorded a little sooner or later than its image.
_TRUTH_LEEWAY_SECONDS = 1.0
_FLUSH = Duration(seconds=10)
_TRUTH_DEPTH = 100


@dataclass(frozen=True)
class ReplayEnd:
    """The end of a replay, which the player publishes latched on `~/ended`.

    Attributes:
        images: number of images that were sent.
        notes: sentences that a reader of figures must not miss, such as that the recording was cut off.
    """

    images: int
    notes: Sequence[str] = ()


def replay_end_to_msg(end: ReplayEnd) -> DiagnosticStatus:
    """Convert the end of a replay to a status, a warning if there are notes."""
    values = [
        KeyValue(key=_IMAGES, value=str(end.images)),
        *(KeyValue(key=_NOTE, value=one) for one in end.notes),
    ]
    return DiagnosticStatus(
        level=DiagnosticStatus.WARN if end.notes else DiagnosticStatus.OK,
        name="replay",
        message=f"{end.images} images were played",
        values=values,
    )


def replay_end_from_msg(message: DiagnosticStatus) -> ReplayEnd:
    """Convert the status that `replay_end_to_msg` made."""
    images = next((int(one.value) for one in message.values if one.key == _IMAGES), 0)
    return ReplayEnd(images, tuple(one.value for one in message.values if one.key == _NOTE))


@dataclass(frozen=True)
class PlayerParameters:
    """What is played and how; each field is a parameter of this name.

    Attributes:
        bag: path of the recording.
        image: topic of the images in it; empty: the only one.
        labels: topic of their ground truth in it; empty: none.
        label_info: topic of the names of its classes; empty: the one beside `labels`, if there is one.
        start: seconds after the recording's start.
        end: likewise; 0: up to its end.
        unanswered: maximum number of images that are on their way.
        listeners: names of nodes that have to subscribe to the images too, and tell on their topic `~/seen` which
            of them they have taken.
        timeout: seconds to wait for the others at the start, and for any answer later.
        clock: whether the stamps of the images are published as time.
    """

    bag: str = ""
    image: str = ""
    labels: str = ""
    label_info: str = ""
    start: float = 0.0
    end: float = 0.0
    unanswered: int = 4
    listeners: tuple[str, ...] = ()
    timeout: float = 300.0
    clock: bool = False

    def __post_init__(self) -> None:
        """Raise EvaluationError if a value is missing or out of range."""
        if not self.bag:
            raise EvaluationError("no recording is given; set the parameter bag to its path")
        if self.unanswered < 1:
            raise EvaluationError(f"unanswered is {self.unanswered}; expected at least 1")
        if self.timeout <= 0:
            raise EvaluationError(f"timeout is {self.timeout:g}; expected more than 0 seconds")
        if self.start < 0 or self.end < 0 or (self.end and self.end <= self.start):
            raise EvaluationError(
                f"start is {self.start:g} and end {self.end:g}; expected seconds of the recording, in this order"
            )


class Player(ProgramNode):
    """The node `replay`; callbacks keep count of the answers while another thread plays.

    Publishes `image` or `image/compressed`, as recorded, `ground_truth/labels` (or that with `/compressed`) and
    `ground_truth/label_info`, and latched on `~/ended` what was played. Listens to the node on `activesam/labels`,
    `activesam/vocabulary` and `/diagnostics`.
    """

    def __init__(self, ending: threading.Event) -> None:
        """Declare the parameters.

        Args:
            ending: set when the replay shall end.

        Raises:
            EvaluationError: a parameter is missing or out of range.
        """
        super().__init__("replay")
        self._ending = ending
        self._given = declare_group(self, PlayerParameters, nothing={"listeners": ""})
        self._listeners = tuple(self._full_name(name) for name in self._given.listeners)
        self._image_topic = self.resolve_topic_name("image")
        self._truths: Any = None
        self._images: Any = None
        self._matched = 0
        self._unread = 0
        self._progress = time.monotonic()
        self._stillness = Stillness()
        self._pacing = Pacing((LABELS, *self._listeners), self._given.unanswered)
        self._times = self.create_publisher(Clock, "/clock", 10) if self._given.clock else None
        self._ended = self.create_publisher(DiagnosticStatus, "~/ended", qos.latched_out())
        answers = QoSProfile(depth=max(100, self._given.unanswered))
        for name in self._listeners:
            self.create_subscription(Header, f"{name}/seen", self._seen_by(name), answers)
        self.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)
        self._labels = self.create_subscription(Image, LABELS, self._on_labels, answers)
        self._serves = False
        # Last: subscriptions are discovered in this order, so a node whose vocabulary has come knows that of ~/labels.
        self.create_subscription(Vocabulary, "activesam/vocabulary", self._on_vocabulary, qos.latched_out())

    def play(self) -> ReplayEnd:
        """Wait for the others, then play until the end, or until `ending` is set.

        Raises:
            EvaluationError: the recording cannot be played, or the others did not come or did not answer in time.
        """
        given = self._given
        notes: list[str] = []
        with Recording(Path(given.bag).expanduser()) as source:
            if given.labels:
                source.require(given.labels)
            topic = given.image or default_image_topic(source, given.labels or None)
            if next(source.messages([topic], given.start or None, given.end or None), None) is None:
                raise EvaluationError(f"{source.path} has no image on {topic} in the part that is asked for")
            self._open(source, topic)
            self._wait_for_others()
            try:
                self._play(source, topic)
                self._wait_for_answers()
                self._require_whole(source, topic)
            except EvaluationError as error:
                notes.append(f"The replay ended early: {error}.")
                raise
            finally:
                notes += source.notes
                if self._unread:
                    notes.append(
                        f"{self._unread} messages of the recording could not be read and were not played."
                    )
                if self._ending.is_set():
                    notes.append("The replay was interrupted.")
                end = self._tell_end(notes)
        return end

    # Preparation: playing thread.

    def _open(self, source: Recording, topic: str) -> None:
        kind = source.require(topic).type
        profile = QoSProfile(depth=self._given.unanswered, reliability=ReliabilityPolicy.RELIABLE)
        self._image_topic = self._with_transport("image", kind)
        self._images = self.create_publisher(_type(kind), self._image_topic, profile)
        if not self._given.labels:
            return
        kind = source.require(self._given.labels).type
        self._truths = self.create_publisher(_type(kind), self._with_transport(_TRUTH, kind), _TRUTH_DEPTH)
        try:
            classes = recorded_class_map(source, self._given.labels, self._given.label_info or None)
        except EvaluationError as error:
            if self._given.label_info:
                raise
            # The evaluator may know the names from a file.
            self.get_logger().warning(f"names of the classes are not played: {error}")
            return
        infos = self.create_publisher(LabelInfo, _TRUTH_INFO, qos.latched_out())
        infos.publish(class_names_to_msg(classes.names))

    def _with_transport(self, name: str, kind: str) -> str:
        topic = self.resolve_topic_name(name)
        return f"{topic}/compressed" if kind == COMPRESSED else topic

    def _full_name(self, name: str) -> str:
        return name if name.startswith("/") else f"{self.get_namespace().rstrip('/')}/{name}"

    def _wait_for_others(self) -> None:
        deadline = time.monotonic() + self._given.timeout
        said, said_at = "", 0.0
        while not self._ending.is_set():
            lacking = missing(self._surroundings())
            if lacking is None:
                self._matched = self._images.get_subscription_count()
                self._progress = time.monotonic()
                return
            now = time.monotonic()
            if now > deadline:
                raise EvaluationError(f"waited {self._given.timeout:g} s in vain for {lacking}")
            if lacking != said or now - said_at > _SAY_SECONDS:
                said, said_at = lacking, now
                self.get_logger().info(f"waiting for {lacking}")
            self._ending.wait(_SLICE_SECONDS)

    def _surroundings(self) -> Surroundings:
        subscribers = {
            _owner(one): one.qos_profile.reliability == ReliabilityPolicy.RELIABLE
            for one in self.get_subscriptions_info_by_topic(self._image_topic)
        }
        return Surroundings(
            image_topic=self._image_topic,
            labels_topic=self._labels.topic_name,
            labelling=self._labelling(),
            active=self._serves,
            subscribers=subscribers,
            matched=self._images.get_subscription_count(),
            listeners=self._listeners,
        )

    def _labelling(self) -> list[str]:
        return [_owner(one) for one in self.get_publishers_info_by_topic(self._labels.topic_name)]

    # Playing thread.

    def _play(self, source: Recording, topic: str) -> None:
        expected = source.topics[topic].count
        whole = not self._given.start and not self._given.end and expected is not None
        said = time.monotonic()
        for one in self._messages(source, topic):
            if one.topic == topic:
                self._wait_for_room()
            if self._ending.is_set():
                return
            self._publish(one, topic)
            if time.monotonic() - said > _SAY_SECONDS:
                said = time.monotonic()
                of = f" of {expected}" if whole else ""
                self.get_logger().info(f"played {self._pacing.sent}{of} images")

    def _messages(self, source: Recording, topic: str) -> Iterator[RecordedMessage]:
        """Images of the part that is asked for, and what may be their truth."""
        start, end = self._given.start, self._given.end or None
        if self._truths is None:
            yield from source.messages([topic], start or None, end)
            return
        first, last = source.part(start, end)
        wide = (
            max(0.0, start - _TRUTH_LEEWAY_SECONDS) or None,
            None if end is None else end + _TRUTH_LEEWAY_SECONDS,
        )
        for one in source.messages([topic, self._given.labels], *wide):
            late_enough = first is None or first <= one.time_ns
            if one.topic != topic or (late_enough and (last is None or one.time_ns < last)):
                yield one

    def _publish(self, one: RecordedMessage, topic: str) -> None:
        try:
            if one.message is None:
                raise ValueError(one.error)
            message = recorded_image_to_msg(one.message)
        except (ValueError, TypeError, AssertionError, OverflowError) as error:  # of the fields' setters
            self._unread += 1
            self.get_logger().warning(f"a message on {one.topic} is not played: {error}")
            return
        if one.topic != topic:
            self._truths.publish(message)
            return
        stamp = message.header.stamp
        if self._times is not None:
            self._times.publish(Clock(clock=stamp))
        self._stillness.sent(time.time_ns())
        self._pacing.send(to_nanoseconds(stamp))
        self._progress = time.monotonic()
        self._images.publish(message)

    def _wait_for_room(self) -> None:
        while not self._pacing.wait_for_room(_SLICE_SECONDS) and not self._ending.is_set():
            self._require_progress()
        # A node that was deactivated meanwhile has left the topic, and what it does not get it cannot answer.
        if self._images.get_subscription_count() < self._matched:
            self._wait_for_others()

    def _wait_for_answers(self) -> None:
        while not self._pacing.wait_for_all(_SLICE_SECONDS) and not self._ending.is_set():
            self._require_progress()
        if self._pacing.abandoned:
            self.get_logger().warning(
                f"{self._pacing.abandoned} images got no labels; the node's log says why"
            )

    def _require_whole(self, source: Recording, topic: str) -> None:
        """Raise EvaluationError if no image was played, or fewer than the recording states."""
        if self._ending.is_set():
            return
        if not self._pacing.sent:
            raise EvaluationError(f"none of the images on {topic} could be read")
        shortage = source.shortage(topic)
        if shortage:
            raise EvaluationError(shortage)

    def _require_progress(self) -> None:
        quiet = time.monotonic() - self._progress
        topic = self._labels.topic_name
        if quiet > _GONE_SECONDS and not self._labels.get_publisher_count():
            raise EvaluationError(f"the node that published {topic} is gone; its log says why")
        if quiet > self._given.timeout:
            behind = {name: self._pacing.unanswered(name) for name in (LABELS, *self._listeners)}
            slow = topic if behind[LABELS] else f"{max(behind, key=lambda name: behind[name])}/seen"
            raise EvaluationError(f"no answer has come on {slow} for {self._given.timeout:g} s")

    def _tell_end(self, notes: list[str]) -> ReplayEnd:
        end = ReplayEnd(self._pacing.sent, tuple(notes))
        if self._truths is not None:
            self._truths.wait_for_all_acked(_FLUSH)
        self._ended.publish(replay_end_to_msg(end))
        self._ended.wait_for_all_acked(_FLUSH)
        self.get_logger().info(f"played {end.images} images")
        return end

    # Callbacks.

    def _on_labels(self, message: Image) -> None:
        self._answered(LABELS, message.header)

    def _seen_by(self, name: str) -> Any:
        return lambda header: self._answered(name, header)

    def _answered(self, name: str, header: Header) -> None:
        self._progress = time.monotonic()
        self._pacing.answered(name, to_nanoseconds(header.stamp))

    def _on_vocabulary(self, message: Vocabulary) -> None:
        self._serves = True

    # rclpy hands the message's info to a callback that takes exactly two arguments.
    def _on_diagnostics(self, message: DiagnosticArray, info: dict[str, Any]) -> None:
        names = {_camera_status(owner, self._labels.topic_name) for owner in self._labelling()}
        for status in message.status:
            if status.name not in names:
                continue
            values = {one.key: one.value for one in status.values}
            try:
                received = int(values["received"])
                pending = int(values["waiting"]) + int(values["in work"])
            except (KeyError, ValueError):  # another version's
                continue
            if self._stillness.counted(info["source_timestamp"], received, pending):
                self._pacing.abandon(LABELS)


def _camera_status(owner: str, labels_topic: str) -> str:
    """Name of the status that counts the frames behind a topic of labels."""
    camera = labels_topic.removeprefix(f"{owner}/").removesuffix("labels").strip("/")
    return f"{owner.lstrip('/')}: camera {camera}".rstrip()


def _owner(endpoint: Any) -> str:
    return f"{endpoint.node_namespace.rstrip('/')}/{endpoint.node_name}"


def _type(kind: str) -> type:
    return CompressedImage if kind == COMPRESSED else Image


def main(arguments: Sequence[str] | None = None) -> int:
    """Play a recording until its end, SIGINT or SIGTERM.

    Args:
        arguments: command line including the program's name; None: that of the process.

    Returns:
        exit code: 0 at the end or after a signal, 1 if the recording could not be played (one FATAL line says why).
    """
    return run_program("replay", _run, arguments)


def _run(ending: threading.Event) -> int:
    player = Player(ending)
    with callbacks_of(player):
        player.play()
    return 0


if __name__ == "__main__":
    sys.exit(main())
