"""Quality of service of every topic, in one place; `troubleshooting` says what does not fit.

Every function makes a new profile: rclpy writes the overrides of one topic into the profile that it is given, so a
shared one would carry them to the next topic.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from rcl_interfaces.msg import SetParametersResult
from rclpy.duration import Duration
from rclpy.exceptions import InvalidParameterTypeException
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSPolicyKind, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import InvalidQosOverridesError, QoSOverridingOptions

from activesam_ros.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator

QUEUES: tuple[str, ...] = ("newest", "all")
"""What `image_in` understands."""

HEARTBEAT_DEADLINE_SECONDS = 2.0

_OVERRIDABLE = (
    QoSPolicyKind.HISTORY,
    QoSPolicyKind.DEPTH,
    QoSPolicyKind.RELIABILITY,
    QoSPolicyKind.DURABILITY,
)


def image_in(queue: str) -> QoSProfile:
    """Return what images are subscribed with, unless it is overridden.

    Args:
        queue: "newest" is for sensor data: it matches best-effort and reliable cameras, and keeps no queue. "all" is
            for replay: reliable and without a limit of its own, so that nothing is lost before it is counted.
    """
    if queue not in QUEUES:
        raise ValueError(f"queue is one of {', '.join(QUEUES)}, got {queue!r}")
    if queue == "all":
        return QoSProfile(
            history=HistoryPolicy.KEEP_ALL,
            reliability=ReliabilityPolicy.RELIABLE,
            durability=DurabilityPolicy.VOLATILE,
        )
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=1,
        reliability=ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.VOLATILE,
    )


def results_out(depth: int = 1) -> QoSProfile:
    """Match reliable and best-effort subscribers alike; a slow one finds the last `depth` messages."""
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=depth,
        reliability=ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.VOLATILE,
    )


def latched_out() -> QoSProfile:
    """Keep the last message for subscribers that come late."""
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=1,
        reliability=ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.TRANSIENT_LOCAL,
    )


def heartbeat() -> QoSProfile:
    """Promise a message within `HEARTBEAT_DEADLINE_SECONDS`; subscribers that ask for no more learn of a breach."""
    profile = results_out()
    profile.deadline = Duration(seconds=HEARTBEAT_DEADLINE_SECONDS)
    return profile


def overriding() -> QoSOverridingOptions:
    """Let the parameters `qos_overrides.TOPIC.subscription.POLICY` change history, depth, reliability, durability."""
    return QoSOverridingOptions(_OVERRIDABLE, callback=_validated)


@contextmanager
def overrides_checked() -> Iterator[None]:
    """Turn what rclpy raises for overrides, while an endpoint is created, into a SettingsError of one sentence."""
    try:
        yield
    except (InvalidQosOverridesError, InvalidParameterTypeException) as error:
        raise SettingsError(str(error).replace(" with id `None`,", "")) from error
    except RuntimeError as error:
        # The name of no policy; rclpy has no exception class of its own for that.
        if "Unexpected QoS override" not in str(error):
            raise
        raise SettingsError(
            f"{error}: expected history keep_last or keep_all, reliability reliable or best_effort, "
            "durability volatile or transient_local"
        ) from error


def override_parameter(topic: str, policy: QoSPolicyKind) -> str:
    """Return the name of the parameter that overrides a policy of our subscription of `topic` (its full name)."""
    return f"qos_overrides.{topic}.subscription.{policy.name.lower()}"


def profile_text(profile: QoSProfile) -> str:
    """Describe a profile, such as "best effort, keep last 1, volatile"."""
    depth = f" {profile.depth}" if profile.history == HistoryPolicy.KEEP_LAST else ""
    history = policy_text(profile.history) + depth
    return f"{policy_text(profile.reliability)}, {history}, {policy_text(profile.durability)}"


def policy_text(policy: ReliabilityPolicy | HistoryPolicy | DurabilityPolicy) -> str:
    """Return the name of a policy in words: `BEST_EFFORT` becomes "best effort"."""
    return policy.name.lower().replace("_", " ")


def _validated(profile: QoSProfile) -> SetParametersResult:
    for kind in (QoSPolicyKind.HISTORY, QoSPolicyKind.RELIABILITY, QoSPolicyKind.DURABILITY):
        policy = kind.name.lower()
        if getattr(profile, policy).name == "UNKNOWN":
            return SetParametersResult(successful=False, reason=f"{policy} cannot be 'unknown'; leave it out")
    if profile.depth < 0 or (profile.history == HistoryPolicy.KEEP_LAST and profile.depth == 0):
        reason = f"depth is how many images are kept, at least 1, got {profile.depth}"
        return SetParametersResult(successful=False, reason=reason)
    return SetParametersResult(successful=True)
