"""A studio beside a running node: it shows what the node labels, and sets the node's parameters."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import rclpy
from rcl_interfaces.msg import ParameterEvent
from rcl_interfaces.srv import GetParameters, SetParametersAtomically
from rclpy.context import Context
from rclpy.parameter import Parameter, parameter_value_to_python
from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CompressedImage, Image

import activesam_ros.msg as msg
import activesam_ros.srv as srv
from activesam_ros.configuration.configuration import CONFIGURABLE, Configuration, settings_of
from activesam_ros.errors import ActiveSamError, reason
from activesam_ros.images.raw import image_to_ids
from activesam_ros.results import SegmentationResult
from activesam_ros.ros.conversions import (
    active_classes_from_msg,
    image_from_msg,
    to_nanoseconds,
    vocabulary_from_msg,
)
from activesam_ros.ros.executor import GuardedExecutor
from activesam_ros.studio.document import Document, changed_parameters
from activesam_ros.studio.findings import class_findings
from activesam_ros.studio.frames import LiveFrames
from activesam_ros.studio.segment_calls import RivalsCalls, segment_request
from activesam_ros.studio.session import Probe, Session, View
from activesam_ros.vocabulary import Vocabulary

if TYPE_CHECKING:
    from collections.abc import Mapping

    from activesam_ros.results import ActiveClass
    from activesam_ros.studio.findings import Rivals

logger = logging.getLogger(__name__)

_VIEW_SECONDS = 0.4
"""Least time between two views, so that slow browsers do not pile up pictures."""

_ANSWER_SECONDS = 10.0
_PROBE_SECONDS = 60.0
_LOOK_SECONDS = 0.5
"""How often somebody who waits for an answer looks whether the node is still there."""

_MOST_IMAGES = 150
_IMAGE_BYTES = 200_000_000
"""Images that wait for their labels: at most so many, of so many bytes together."""

_MOST_PARTS = 8
_KINDS = 3
"""Of messages about a picture: labels, confidence and active classes."""


class _NoAnswer(ActiveSamError):
    """A service was called and did not answer in time."""


class NodeSession(Session):
    """A session whose pictures come from a node, and whose document is the node's parameters.

    Three threads meet here: that of the pages, that of the session, which asks the node and waits for its answers, and
    the executor's, which takes messages; the last one only ever replaces `view`, or asks the session to read.
    """

    live = True

    def __init__(self, name: str, camera: str = "", wait_s: float = 60.0) -> None:
        """Connect to a node.

        Args:
            name: of the node, with its namespace.
            camera: which of its cameras; empty: the only one.
            wait_s: how long to wait for the node.

        Raises:
            ActiveSamError: no such node answers.
        """
        self._name = "/" + name.strip("/")
        self._context = Context()
        rclpy.init(context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        self._node = rclpy.create_node("activesam_studio", context=self._context, enable_rosout=False)
        self._executor = GuardedExecutor(self._warn, context=self._context)
        self._executor.add_node(self._node)
        self._get = self._node.create_client(GetParameters, f"{self._name}/get_parameters")
        self._set = self._node.create_client(
            SetParametersAtomically, f"{self._name}/set_parameters_atomically"
        )
        self._segment = self._node.create_client(srv.Segment, f"{self._name}/segment")
        self._images: OrderedDict[int, Image | CompressedImage] = OrderedDict()
        self._parts: OrderedDict[int, dict[str, Any]] = OrderedDict()
        self._announced: dict[int, Vocabulary] = {}
        self._viewed = 0.0
        self._connected = True
        self._closing = False
        self._rivals = RivalsCalls(self._segment, self._changed)
        self._spinning = threading.Thread(target=self._spin, name="studio's executor", daemon=True)
        self._spinning.start()
        try:
            document = self._first_document(wait_s)
        except BaseException:
            self._stop_spinning()
            raise
        super().__init__(LiveFrames(self._name), document)
        self._known = document
        self._subscribe(camera)
        self._node.create_subscription(ParameterEvent, "/parameter_events", self._on_event, 100)
        self._node.create_timer(1.0, self._look_for_node)

    @property
    def busy(self) -> bool:
        """Whether the node has not yet answered to what was changed last, or labels nothing yet."""
        return self.view is None or self._known.configuration != self.document.configuration

    def rivals(self, view: View, label: int, ask: bool) -> Rivals | None:
        """Return what the node said comes second where a label is."""
        if ask and self._rivals.wish(view, label):
            self._ask("rivals", self._rivals.send)
        return self._rivals.known(view, label)

    def close(self) -> None:
        """Disconnect."""
        super().close()
        self._stop_spinning()

    # In the session's thread.

    def _check(self, document: Document) -> None:
        changed_parameters(self._known, document)

    def _label(self) -> None:
        """Set the parameters that differ from the node's."""
        with self._lock:
            history = self._history
        changes = changed_parameters(self._known, history.now)
        if changes:
            request = SetParametersAtomically.Request()
            request.parameters = [
                Parameter(name, value=list(value) if isinstance(value, tuple) else value).to_parameter_msg()
                for name, value in changes.items()
            ]
            result = self._call(self._set, request, _ANSWER_SECONDS).result
            if not result.successful:
                raise ActiveSamError(result.reason)
        self._known = history.now
        self._take(self._read_document(history.now))
        self._good = (self._history, 0)

    def _read(self) -> None:
        """Take what the node has, as others may have changed it, or as it started anew."""
        try:
            document = self._read_document(self._known)
        except _NoAnswer:
            # A node that has just started may not have discovered this client.
            if self._get.service_is_ready():
                self._ask("read", self._read)
            raise
        self._take(document)
        self._good = (self._history, 0)

    def _take(self, document: Document) -> None:
        """Go on with what the node says it has."""
        with self._lock:
            if "label" in self._wanted:
                return
            if document.configuration.values == self._history.now.configuration.values:
                # Ids and colours alone are no step.
                self._history = replace(self._history, now=document)
            else:
                self._history = self._history.then(document)
                self.probe = None
            self._known = self._history.now
            if self.message.startswith(f"{self._name} does not answer"):
                self.message = ""

    def _read_document(self, before: Document | None) -> Document:
        request = GetParameters.Request(names=list(CONFIGURABLE))
        answer = self._call(self._get, request, _ANSWER_SECONDS)
        values: dict[str, Any] = {}
        for name, value in zip(CONFIGURABLE, answer.values, strict=False):
            read = parameter_value_to_python(value)
            values[name] = tuple(read or ()) if name == "vocabulary" else read
        if len(values) != len(CONFIGURABLE) or not values["vocabulary"] or None in values.values():
            raise ActiveSamError(
                f"{self._name} has not the parameters of activesam; name the node of this package"
            )
        named = Vocabulary.from_names(values["vocabulary"], values["background_class"] or None)
        last = before.configuration if before else None
        # Ids, colours and prompts are those that the node announced; the parameter shows names, and some aliases.
        known = list(self._announced.values())[-1:]
        known += [last.vocabulary] if last else []
        vocabulary = next((one for one in known if _shows(one, named)), named)
        if last and last.values == tuple(values.items()) and last.vocabulary == vocabulary:
            return before or Document(last)
        settings = settings_of(values)
        revision = last.revision + 1 if last else 1
        return Document(Configuration(tuple(values.items()), frozenset(), vocabulary, settings, revision))

    def _map(self, class_id: int) -> None:
        """Do nothing: what a node publishes has no more scores than the confidence."""

    def _scan_one(self) -> None:
        """Scan nothing: there is one picture, which changes by itself."""
        with self._lock:
            self._scanning = []

    def _probe(self, phrase: str, view: View | None) -> None:
        """Ask the node for one phrase alone, in the picture of a view."""
        if view is None:
            raise ActiveSamError("there is no picture yet to ask for a phrase; wait for the first one")
        started = time.perf_counter()
        request = segment_request(view.rgb, [phrase], _PROBE_SECONDS / 2)
        answer = self._call(self._segment, request, _PROBE_SECONDS)
        if not answer.success:
            self.probe = Probe(phrase, 0, refused=answer.message, view=view)
            return
        presence = max((one.presence for one in answer.active_classes.classes), default=0.0)
        scores = image_to_ids(answer.confidence).astype(np.float16) / 255
        seconds = time.perf_counter() - started
        self.probe = Probe(phrase, 0, presence, None, scores, seconds, view=view)

    def _call(self, client: Any, request: Any, seconds: float) -> Any:
        done = threading.Event()
        if not client.service_is_ready():
            raise ActiveSamError(f"{self._name} does not answer; wait for it, or start it")
        future = client.call_async(request)
        future.add_done_callback(lambda _: done.set())
        until = time.monotonic() + seconds
        while not done.wait(min(_LOOK_SECONDS, max(0.0, until - time.monotonic()))):
            late = time.monotonic() >= until
            if late or self._closing or not client.service_is_ready():
                client.remove_pending_request(future)
                within = (
                    f"within {seconds:g} s; look at its log" if late else "any more; wait for it, or start it"
                )
                raise _NoAnswer(f"{self._name} does not answer {within}")
        return future.result()

    def _first_document(self, seconds: float) -> Document:
        until = time.monotonic() + seconds
        while True:
            while not (self._get.service_is_ready() and self._set.service_is_ready()):
                if time.monotonic() > until:
                    raise ActiveSamError(
                        f"no node {self._name} answers; start it, and check that both have the same ROS_DOMAIN_ID"
                    )
                time.sleep(0.1)
            try:
                return self._read_document(None)
            except _NoAnswer:
                # An answer to a client that the node has not discovered yet gets lost.
                if time.monotonic() > until:
                    raise

    def _warn(self, sentence: str) -> None:
        logger.warning("%s", sentence)

    # In the executor's thread.

    def _spin(self) -> None:
        try:
            self._executor.spin()
        except Exception as error:
            if self._context.ok():
                logger.error("the studio hears the node no more: %s", reason(error))

    def _stop_spinning(self) -> None:
        self._executor.shutdown(timeout_sec=5.0)
        self._node.destroy_node()
        rclpy.try_shutdown(context=self._context)
        self._spinning.join(5.0)

    def _subscribe(self, camera: str) -> None:
        prefix = f"{self._name}/{camera}/" if camera else f"{self._name}/"
        results = QoSProfile(depth=2)
        node = self._node
        node.create_subscription(Image, f"{prefix}labels", lambda one: self._on_part("labels", one), results)
        node.create_subscription(
            Image, f"{prefix}confidence", lambda one: self._on_part("confidence", one), results
        )
        node.create_subscription(
            msg.ActiveClasses, f"{prefix}active_classes", lambda one: self._on_part("active", one), results
        )
        self._vocabularies = self._subscribe_to_vocabularies()
        self._camera = camera
        self._image_topic: str | None = None
        self._image_subscription: Any = None

    def _subscribe_to_vocabularies(self) -> Any:
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        return self._node.create_subscription(
            msg.Vocabulary, f"{self._name}/vocabulary", self._on_vocabulary, latched
        )

    def _look_for_node(self) -> None:
        """Find the image topic once the node subscribes to it, and notice when the node goes and comes."""
        ready = self._get.service_is_ready()
        if ready and not self._connected:
            self._ask("read", self._read)
        elif self._connected and not ready:
            self.message = f"{self._name} does not answer; this page goes on by itself once it does"
            self._changed()
            # The next node counts its revisions anew. If it is there already, a
            # new subscription gets what it announced.
            self._announced = {}
            self._parts.clear()
            self._node.destroy_subscription(self._vocabularies)
            self._vocabularies = self._subscribe_to_vocabularies()
        self._connected = ready
        if ready:
            self._find_images()
            self._show_newest()

    def _find_images(self) -> None:
        namespace, _, name = self._name.rpartition("/")
        kinds = {"sensor_msgs/msg/Image": Image, "sensor_msgs/msg/CompressedImage": CompressedImage}
        # By topic, not by node: a node that crashed stays in the graph for a while, and hides
        # the endpoints of the one that took its name.
        topics = {
            topic: kinds[one.topic_type]
            for topic, types in self._node.get_topic_names_and_types()
            if not kinds.keys().isdisjoint(types)
            for one in self._subscribers(topic)
            if (one.node_name, one.node_namespace) == (name, namespace or "/") and one.topic_type in kinds
        }
        if self._camera:
            topics = {one: kind for one, kind in topics.items() if f"/{self._camera}/" in f"{one}/"} or topics
        if not topics or self._image_topic in topics:
            return
        # A node that was started anew may take its images from elsewhere.
        if self._image_subscription is not None:
            self._node.destroy_subscription(self._image_subscription)
        self._image_topic, kind = next(iter(topics.items()))
        self._image_subscription = self._node.create_subscription(
            kind, self._image_topic, self._on_image, qos_profile_sensor_data
        )

    def _subscribers(self, topic: str) -> list[Any]:
        try:
            return list(self._node.get_subscriptions_info_by_topic(topic))
        except Exception:  # participants without ROS have topics by names that rclpy refuses
            return []

    def _on_image(self, message: Image | CompressedImage) -> None:
        # Undecoded; the node labels what is up to twice its latency old.
        stamp = to_nanoseconds(message.header.stamp)
        if self._images and stamp < next(reversed(self._images)):
            # The clock was set back, as that of a simulation that starts anew.
            self._images.clear()
            self._parts.clear()
        if self._images.pop(stamp, None) is not None:
            self._parts.pop(stamp, None)
        self._images[stamp] = message
        most = max(2, min(_MOST_IMAGES, _IMAGE_BYTES // max(1, len(message.data))))
        while len(self._images) > most:
            self._images.popitem(last=False)
        # Where this process is slow, the labels are taken before their image.
        self._show_once_whole(stamp)

    def _on_vocabulary(self, message: msg.Vocabulary) -> None:
        before = self._announced
        if before and message.revision <= next(reversed(before)):
            # A node in the place of another, which went unnoticed.
            before = {}
            self._parts.clear()
        # Replaced, as the session's thread reads it.
        self._announced = dict([*before.items(), (message.revision, vocabulary_from_msg(message))][-4:])
        self._ask("read", self._read)
        self._show_newest()

    def _on_event(self, event: ParameterEvent) -> None:
        if event.node == self._name and any(one.name in CONFIGURABLE for one in event.changed_parameters):
            self._ask("read", self._read)

    def _on_part(self, kind: str, message: Any) -> None:
        stamp = to_nanoseconds(message.header.stamp)
        parts = self._parts.setdefault(stamp, {})
        parts[kind] = message
        while len(self._parts) > _MOST_PARTS:
            self._parts.popitem(last=False)
        self._show_once_whole(stamp)

    def _show_newest(self) -> None:
        """Show the last picture that was left out for its time, or for a vocabulary that had not come."""
        for stamp in reversed(list(self._parts)):
            if stamp in self._images and len(self._parts[stamp]) == _KINDS:
                self._show_once_whole(stamp)
                return

    def _show_once_whole(self, stamp: int) -> None:
        image, parts = self._images.get(stamp), self._parts.get(stamp, {})
        if image is None or len(parts) < _KINDS or time.monotonic() - self._viewed < _VIEW_SECONDS:
            return
        vocabulary = self._announced.get(parts["active"].vocabulary_revision)
        if vocabulary is None:
            return
        self._viewed = time.monotonic()
        # Cameras without a clock give all images one stamp, whose parts are not those of the next one.
        del self._images[stamp], self._parts[stamp]
        try:
            self._show(image, vocabulary, parts)
        except ActiveSamError as error:
            logger.debug("a picture is left out: %s", error)

    def _show(self, image: Image | CompressedImage, vocabulary: Vocabulary, parts: Mapping[str, Any]) -> None:
        document = self._known
        if document.vocabulary != vocabulary:
            document = Document(replace(document.configuration, vocabulary=vocabulary))
        rgb = image_from_msg(image)
        labels = image_to_ids(parts["labels"])
        # Of another camera, where two have one clock.
        if image.header.frame_id != parts["labels"].header.frame_id:
            return
        if labels.shape != rgb.shape[:2] or vocabulary.label_dtype != labels.dtype:
            return
        areas = {one.class_id: one.area for one in parts["active"].classes}
        active: tuple[ActiveClass, ...] = tuple(
            replace(one, pixels=round(float(np.nan_to_num(areas[one.class_id])) * labels.size))
            for one in active_classes_from_msg(parts["active"])
        )
        result = SegmentationResult(
            labels=labels,
            unlabeled_id=vocabulary.unlabeled_id,
            confidence=image_to_ids(parts["confidence"]).astype(np.float32) / 255,
            active=active,
            preview_presence=None,
            active_prompts=(),
            timings={},
            vocabulary=vocabulary,
            prompt_presence=(),
            image=rgb,
        )
        before = self.view
        self.view = View(
            number=(before.number if before else 0) + 1,
            document=document,
            frame=0,
            rgb=rgb,
            result=result,
            findings=class_findings(document, result),
            timings={},
            reused=frozenset(),
        )
        self._changed()


def _shows(vocabulary: Vocabulary, named: Vocabulary) -> bool:
    """Return whether the parameter `vocabulary` shows a vocabulary so."""
    if vocabulary.names != named.names:
        return False
    return all(
        one.prompts == other.prompts or other.prompts == (other.name,)
        for one, other in zip(vocabulary.classes, named.classes, strict=True)
    )
