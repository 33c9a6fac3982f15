"""Where a camera's images come from: subscribed only while somebody wants what is made of them."""

from __future__ import annotations

import posixpath
import time
from typing import TYPE_CHECKING

from rclpy.event_handler import SubscriptionEventCallbacks, UnsupportedEventTypeError
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from activesam_ros.ros import qos
from activesam_ros.ros.admission import RateLimit
from activesam_ros.ros.camera_info import InfoCache
from activesam_ros.ros.frame import Frame
from activesam_ros.ros.inbox import Drop, Inbox
from activesam_ros.ros.input_watch import Listener

if TYPE_CHECKING:
    from collections.abc import Callable

    from rclpy.clock import Clock
    from rclpy.node import Node
    from rclpy.subscription import Subscription
    from std_msgs.msg import Header

    from activesam_ros.ros.parameters import Policy, Setup

# More than the frames that may wait, since calibration does not come in step with the images.
_KEPT_INFOS = 32

_TYPES = {"raw": Image, "compressed": CompressedImage}


class CameraInput:
    """Puts the images of one camera into the inbox; all but `info` is for the executor's thread.

    Attributes:
        topic: the image topic's full name, after remapping, with its transport's suffix.
        listener: what is subscribed, and how.
    """

    def __init__(
        self,
        node: Node,
        name: str,
        setup: Setup,
        policy: Callable[[], Policy],
        inbox: Inbox[Frame],
        overflowed: Callable[[], None],
        incompatible: Callable[[], None],
    ) -> None:
        """Args:
            node: that subscribes.
            name: of the camera; empty: the only one.
            setup: transport and queue.
            policy: asked for the rate limit with every image.
            inbox: takes the images.
            overflowed: called when an image came to a full queue.
            incompatible: called when a publisher turned up whose quality of service does not fit.

        Raises:
            SettingsError: quality of service is overridden by what it cannot be.
        """
        self._node = node
        self._name = name
        self._policy = policy
        self._inbox = inbox
        self._overflowed = overflowed
        self._incompatible = incompatible
        self._clock: Clock = node.get_clock()
        self._rate = RateLimit()
        waiting = setup.queue_size if setup.queue == "all" else 1
        self._infos = InfoCache(max(_KEPT_INFOS, 2 * waiting))
        # As image_transport does: what is remapped is the image's name, its neighbours follow.
        remapped = f"{name}/image" if name else "image"
        image = node.resolve_topic_name(remapped)
        self._kind = _TYPES[setup.image_transport]
        self.topic = image if setup.image_transport == "raw" else f"{image}/{setup.image_transport}"
        self._info_topic = posixpath.join(posixpath.dirname(image), "camera_info")
        self._queue = setup.queue
        self._images: Subscription | None = None
        self._info_subscription: Subscription | None = None
        self._since = self._last = 0.0
        # Once at the start, so that overrides are declared and refused before anybody waits for images.
        self.listen()
        self.listener = Listener(remapped, self.topic, setup.image_transport, self._images.qos_profile)
        self.leave()

    @property
    def listening(self) -> bool:
        """Whether the image topic is subscribed."""
        return self._images is not None

    @property
    def silent_for(self) -> float | None:
        """Seconds since the last image or, without one, since it is subscribed; None while it is not."""
        return time.monotonic() - max(self._since, self._last) if self.listening else None

    @property
    def since_image(self) -> float | None:
        """Seconds since the last image; None if none has come yet."""
        return time.monotonic() - self._last if self._last else None

    def listen(self) -> None:
        """Subscribe, unless that is so already; calibration from before is forgotten."""
        if self._images is not None:
            return
        self._since = time.monotonic()
        self._infos.clear()
        with qos.overrides_checked():
            self._images = self._subscribe()
            # As the images, or one that comes in a burst would be lost before the image it belongs to is answered.
            self._info_subscription = self._node.create_subscription(
                CameraInfo,
                self._info_topic,
                self._infos.add,
                qos.image_in(self._queue),
                qos_overriding_options=qos.overriding(),
            )

    def leave(self) -> None:
        """Drop the subscriptions; what was received stays where it is."""
        if self._images is not None:
            self._node.destroy_subscription(self._images)
            self._node.destroy_subscription(self._info_subscription)
            self._images = self._info_subscription = None

    def info(self, header: Header) -> CameraInfo | None:
        """The camera's calibration under this header; None if it sends none. For any thread."""
        return self._infos.for_header(header)

    def _subscribe(self) -> Subscription:
        events = SubscriptionEventCallbacks(incompatible_qos=lambda _: self._incompatible())
        given = {"qos_overriding_options": qos.overriding()}
        profile = qos.image_in(self._queue)
        try:
            return self._node.create_subscription(
                self._kind, self.topic, self._received, profile, event_callbacks=events, **given
            )
        except UnsupportedEventTypeError:
            return self._node.create_subscription(self._kind, self.topic, self._received, profile, **given)

    def _received(self, message: Image | CompressedImage) -> None:
        self._last = time.monotonic()
        now = self._clock.now().nanoseconds / 1e9
        if not self._rate.admits(now, self._policy().max_rate):
            self._inbox.refuse(self._name, Drop.OVER_RATE)
        elif self._inbox.put(self._name, Frame(message, self._last)) is Drop.QUEUE_FULL:
            self._overflowed()
