"""One camera: its image subscription, made only while somebody wants results, the rate limit, and its publishers."""

from __future__ import annotations

import copy
import posixpath
import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from rclpy.event_handler import SubscriptionEventCallbacks, UnsupportedEventTypeError
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from activesam_ros.instances import MAX_INSTANCES
from activesam_ros.ros import qos
from activesam_ros.ros.conversions import to_nanoseconds
from activesam_ros.ros.frame_queue import Drop, Frame, FrameQueue, Latency
from activesam_ros.ros.logs import Throttle
from activesam_ros.ros.publishers import CameraPublishers, Demand
from activesam_ros.ros.troubleshooting import ImageInput, incompatible, incompatible_info
from activesam_ros.stages.association import IdCounter
from activesam_ros.stages.temporal_reuse import StreamMemory

if TYPE_CHECKING:
    from collections.abc import Callable

    from rclpy.lifecycle import LifecycleNode
    from rclpy.topic_endpoint_info import TopicEndpointInfo
    from std_msgs.msg import Header

    from activesam_ros.results import SegmentationResult
    from activesam_ros.ros.live_parameters import LiveParameters
    from activesam_ros.ros.logs import ErrorLog

# More than the frames that may wait, since camera info does not come in step with the images.
_KEPT_INFOS = 32
_WARNING_SECONDS = 30.0
# Frames at just the requested rate arrive a little early as often as late; this share of a period is let pass.
_EARLY = 0.1

_TYPES = {"raw": Image, "compressed": CompressedImage}


class Camera:
    """Puts images into the frame queue and publishes what the worker makes of them.

    All is for the executor's thread, except `demand`, `wants_instances`, `info`, `publishers` and `latency`, which any
    thread may use, and `memory` and `note_left_out`, which are the worker's.

    Attributes:
        name: of the camera; empty: the only one.
        image: topic, transport and QoS of the image subscription.
        memory: temporal reuse between its frames.
        publishers, latency: of its results.
        without_pixels, beyond_limit: number of instances that were left out because their masks had no pixel, or
            because an image has 65535 ids.
        beyond_images: number of instances that the id images show as 0, because they have ids above 65535.
    """

    def __init__(
        self,
        node: LifecycleNode,
        name: str,
        parameters: LiveParameters,
        frames: FrameQueue,
        errors: ErrorLog,
    ) -> None:
        """Subscribe once, so that QoS overrides are declared and refused before anybody waits for images.

        Raises:
            SettingsError: QoS is overridden by what it cannot be.
        """
        setup = parameters.setup
        self.name = name
        self._ids = IdCounter()
        self.memory = StreamMemory(self._ids)
        self.latency = Latency()
        self.without_pixels = self.beyond_limit = self.beyond_images = 0
        self._node = node
        self._parameters = parameters
        self._frames = frames
        self._errors = errors
        self._active = False
        self._rate = RateLimit()
        self._warnings = Throttle(_WARNING_SECONDS)
        waiting = setup.queue_size if setup.queue == "all" else 1
        self._infos = InfoCache(max(_KEPT_INFOS, 2 * waiting))
        self.publishers = CameraPublishers(node, name, waiting, self)
        # As image_transport does: the image's name is remapped, its neighbours follow.
        remapped = f"{name}/image" if name else "image"
        base = node.resolve_topic_name(remapped)
        self._info_topic = posixpath.join(posixpath.dirname(base), "camera_info")
        transport = setup.image_transport
        self._topic = base if transport == "raw" else f"{base}/{transport}"
        self._images: Any = None
        self._info_subscription: Any = None
        self._since = self._last = 0.0
        profile = self.subscribe().qos_profile
        self.image = ImageInput(remapped, self._topic, transport, profile)
        self.unsubscribe()

    @property
    def title(self) -> str:
        """Such as "camera front", or "camera" for the only one."""
        return f"camera {self.name}".strip()

    @property
    def prefix(self) -> str:
        """Start of a sentence about it in the log."""
        return f"{self.name}: " if self.name else ""

    @property
    def demand(self) -> Demand:
        """What its subscribers want; nothing while the node is not active."""
        return self.publishers.demand() if self._active else Demand.NOTHING

    @property
    def wants_instances(self) -> bool:
        """Whether anybody subscribes to what is made of instances."""
        return self.publishers.wants_instances()

    @property
    def ids_given(self) -> int:
        """Number of ids that instances were given in this activation."""
        return self._ids.given

    @property
    def subscribed(self) -> bool:
        """Whether the image topic is subscribed."""
        return self._images is not None

    @property
    def silent_for(self) -> float | None:
        """Seconds since the last image or, without one, since the subscription; None while there is none."""
        return time.monotonic() - max(self._since, self._last) if self.subscribed else None

    @property
    def since_image(self) -> float | None:
        """Seconds since the last image; None before the first."""
        return time.monotonic() - self._last if self._last else None

    def activate(self, active: bool) -> None:
        """Follow the demand from now on, or stop."""
        if active and not self._active:
            self._ids = IdCounter()
            self.memory = StreamMemory(self._ids)
        self._active = active
        self.follow_demand()

    def follow_demand(self) -> None:
        """Subscribe to the images if any result is wanted, else drop the subscription."""
        wanted = self.demand is not Demand.NOTHING
        if wanted == self.subscribed:
            return
        if wanted:
            # A new one, since a worker that was left behind may still use the old one.
            self.memory = self.memory.successor()
            self.subscribe()
            self._node.get_logger().info(f"{self.prefix}images are taken from {self._topic}")
        else:
            self.unsubscribe()
            nobody = "nobody subscribes to the results any more"
            why = nobody if self._active else "the node is not active any more"
            self._node.get_logger().info(f"{self.prefix}no images are taken: {why}")

    def subscribe(self) -> Any:
        """Subscribe to images and camera info, and return the former; earlier camera info is forgotten."""
        self._since = time.monotonic()
        self._infos.clear()
        with qos.overrides_checked():
            self._images = self._subscription(
                _TYPES[self._parameters.setup.image_transport],
                self._topic,
                self._received,
                self._incompatible_qos,
            )
            # QoS of the images, or a message of a burst would be lost before its image is answered.
            self._info_subscription = self._subscription(
                CameraInfo, self._info_topic, self._infos.add, self._incompatible_info
            )
        return self._images

    def _subscription(
        self,
        kind: type,
        topic: str,
        received: Callable[[Any], None],
        unfit: Callable[[object], None],
    ) -> Any:
        profile, options = (
            qos.image_in(self._parameters.setup.queue),
            {"qos_overriding_options": qos.overriding()},
        )
        events = SubscriptionEventCallbacks(incompatible_qos=unfit)
        try:
            return self._node.create_subscription(
                kind, topic, received, profile, event_callbacks=events, **options
            )
        except UnsupportedEventTypeError:
            profile = qos.image_in(self._parameters.setup.queue)
            return self._node.create_subscription(kind, topic, received, profile, **options)

    def unsubscribe(self) -> None:
        """Drop the subscriptions; received images stay in the queue."""
        if self._images is not None:
            self._node.destroy_subscription(self._images)
            self._node.destroy_subscription(self._info_subscription)
            self._images = self._info_subscription = None

    def info(self, header: Header) -> CameraInfo | None:
        """Return the camera info for an image, under its header; None if the camera sends none."""
        return self._infos.for_header(header)

    def image_publishers(self) -> list[TopicEndpointInfo]:
        """Return the publishers of the image topic while it is subscribed."""
        return self._node.get_publishers_info_by_topic(self._topic) if self.subscribed else []

    def warn(self, sentence: str | None) -> None:
        """Log why its images do not arrive or are not answered, or what of an answer is missing, throttled."""
        text = self._warnings(f"{self.prefix}{sentence}") if sentence else None
        if text:
            self._node.get_logger().warning(text)

    def note_left_out(self, result: SegmentationResult) -> None:
        """Count the instances that a result had to leave out, and say so, throttled."""
        self.without_pixels += result.instances_without_pixels
        self.beyond_limit += result.instances_beyond_limit
        if result.instances_beyond_limit:
            self.warn(
                f"{result.instances_beyond_limit} instances of an image are left out, since its ids end at 65535; "
                "raise confidence_threshold"
            )
        beyond_images = sum(one.id > MAX_INSTANCES for one in result.instances or ())
        self.beyond_images += beyond_images
        if beyond_images:
            self.warn(
                f"{beyond_images} instances of an image are 0 in the id images, whose 65535 ids are used up; "
                "deactivate and activate the node to begin with 1 again, or use the ids of the detections, which go on"
            )
        if result.instances_without_pixels:
            self.warn(
                f"{result.instances_without_pixels} instances of an image are left out, since their masks have no "
                "pixel; a higher confidence_threshold drops most of them"
            )

    def _incompatible_qos(self, _: object) -> None:
        self.warn(incompatible(self.image, self.image_publishers()))

    def _incompatible_info(self, _: object) -> None:
        topic, infos = self._info_topic, self._info_subscription
        if infos is not None:
            publishers = self._node.get_publishers_info_by_topic(topic)
            self.warn(incompatible_info(topic, infos.qos_profile, publishers))

    def _received(self, message: Image | CompressedImage) -> None:
        self._last = time.monotonic()
        now = self._node.get_clock().now().nanoseconds / 1e9
        if not self._rate.admits(now, self._parameters.policy.max_rate):
            self._frames.refuse(self.name, Drop.OVER_RATE)
        elif self._frames.put(Frame(self.name, message, self._last)) is Drop.QUEUE_FULL:
            self._errors.lost(
                f"{self.prefix}a frame was lost, since {self._parameters.setup.queue_size} were waiting; the player "
                "has to wait for answers, or raise queue_size"
            )


class RateLimit:
    """Lets the frames of one camera through at an average rate.

    Admitted frames keep a schedule of one per period, so frames at 10 Hz and a rate of 4 Hz give four a second; waiting
    a whole period after each of them would give 3.3. What a pause saved up is not caught up with.
    """

    def __init__(self) -> None:
        # Scheduled time of the last admitted frame.
        self._turn: float | None = None
        self._last = 0.0

    def admits(self, now: float, rate: float) -> bool:
        """Return whether the frame that arrived at `now` is let through.

        Args:
            now: seconds of any clock. One that jumps back starts the schedule anew; 0, which is simulated time that
                nobody has published yet, is not limited.
            rate: frames per second; 0: no limit. May change from call to call.
        """
        jumped_back = now < self._last
        self._last = now
        if rate <= 0 or now == 0 or self._turn is None or jumped_back:
            self._turn = now
            return True
        period = 1 / rate
        due = self._turn + period
        if now < due - _EARLY * period:
            return False
        self._turn = due if now - due < period else now
        return True


class InfoCache:
    """The last `kept` CameraInfo messages of one camera, by stamp; any thread may call any method.

    Drivers send one with every image and the same stamp; but it may arrive after the image, and some send it rarely.
    """

    def __init__(self, kept: int = 32) -> None:
        self._kept = kept
        self._lock = threading.Lock()
        self._by_stamp: OrderedDict[int, CameraInfo] = OrderedDict()

    def add(self, info: CameraInfo) -> None:
        """Remember a message; it is not changed."""
        stamp = to_nanoseconds(info.header.stamp)
        with self._lock:
            self._by_stamp.pop(stamp, None)
            self._by_stamp[stamp] = info
            while len(self._by_stamp) > self._kept:
                self._by_stamp.popitem(last=False)

    def clear(self) -> None:
        """Forget all: what comes next may be of another camera, or of a new focus."""
        with self._lock:
            self._by_stamp.clear()

    def for_header(self, header: Header) -> CameraInfo | None:
        """Return a copy, under `header`, of the message with its stamp, or else of the newest; None without any."""
        with self._lock:
            if not self._by_stamp:
                return None
            stamp = to_nanoseconds(header.stamp)
            info = self._by_stamp.get(stamp) or next(reversed(self._by_stamp.values()))
        # The arrays inside are shared, which is safe: nobody changes a message that was received.
        info = copy.copy(info)
        info.header = header
        return info
