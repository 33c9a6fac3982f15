"""A stand-in for the node where what it publishes and subscribes is all that matters."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace

from rclpy.event_handler import UnsupportedEventTypeError
from rclpy.time import Time


class RecordingNode:
    """Keeps what was published and what is subscribed.

    Attributes:
        published: topics, without "~/", and messages, in their order.
        subscribers: how many each topic has, without "~/"; tests set it.
        publishers, subscriptions: by topic, what each was created with, and with `publish` or not.
        remapped: names that resolve to another topic; tests set it.
        seconds: of the clock; tests set it.
        logged: lines.
    """

    def __init__(self, events: bool = True) -> None:
        """`events`: whether the middleware tells of matches and of quality of service that does not fit."""
        self._events = events
        self.published = []
        self.subscribers = Counter()
        self.publishers = {}
        self.subscriptions = {}
        self.remapped = {}
        self.seconds = 100.0
        self.logged = []

    def create_lifecycle_publisher(self, kind, topic, profile, **given):
        self._check(given)
        name = topic.removeprefix("~/")
        self.publishers[name] = SimpleNamespace(
            kind=kind,
            profile=profile,
            publish=lambda message: self.published.append((name, message)),
            get_subscription_count=lambda: self.subscribers[name],
            **given,
        )
        return self.publishers[name]

    create_publisher = create_lifecycle_publisher

    def create_subscription(self, kind, topic, callback, profile, **given):
        self._check(given)
        assert topic not in self.subscriptions
        self.subscriptions[topic] = SimpleNamespace(
            kind=kind, topic=topic, callback=callback, qos_profile=profile, **given
        )
        return self.subscriptions[topic]

    def destroy_subscription(self, subscription):
        assert self.subscriptions.pop(subscription.topic) is subscription

    def resolve_topic_name(self, name):
        return self.remapped.get(name, f"/{name}")

    def get_clock(self):
        return SimpleNamespace(now=lambda: Time(nanoseconds=round(self.seconds * 1e9)))

    def get_fully_qualified_name(self):
        return "/front/activesam"

    def get_logger(self):
        return SimpleNamespace(**dict.fromkeys(("info", "warning", "error"), self.logged.append))

    def topics(self):
        """Those of what was published, in its order."""
        return [topic for topic, _ in self.published]

    def messages(self, topic):
        """What was published on a topic."""
        return [message for name, message in self.published if name == topic]

    def _check(self, given):
        if not self._events and "event_callbacks" in given:
            raise UnsupportedEventTypeError("no such events here")
