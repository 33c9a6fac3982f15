import warnings

import pytest

pytest.importorskip("rclpy", reason="rclpy is missing; source env.sh")

from rclpy.parameter import Parameter
from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    QoSCompatibility,
    QoSPolicyKind,
    QoSProfile,
    ReliabilityPolicy,
    qos_check_compatible,
)
from sensor_msgs.msg import Image

from activesam_ros.errors import SettingsError
from activesam_ros.ros import qos

TOPIC = "/front/image"


def fits(publisher: QoSProfile, subscription: QoSProfile) -> bool:
    # rclpy only warns where a policy, here liveliness, is left to the middleware.
    return qos_check_compatible(publisher, subscription)[0] != QoSCompatibility.ERROR


@pytest.fixture
def subscribed(ros):
    """The profile of a real subscription to TOPIC, given overrides by policy."""
    nodes = []

    def subscribe(queue="newest", **overrides):
        given = [
            Parameter(qos.override_parameter(TOPIC, QoSPolicyKind[policy.upper()]), value=value)
            for policy, value in overrides.items()
        ]
        nodes.append(ros.create_node("qos_test", parameter_overrides=given))
        for _ in range(2):  # Overrides hold when the topic is left and subscribed again.
            with qos.overrides_checked():
                subscription = nodes[-1].create_subscription(
                    Image, TOPIC, print, qos.image_in(queue), qos_overriding_options=qos.overriding()
                )
            profile = subscription.qos_profile
            (seen,) = nodes[-1].get_subscriptions_info_by_topic(TOPIC)
            assert seen.qos_profile.reliability == profile.reliability
            nodes[-1].destroy_subscription(subscription)
        return profile

    yield subscribe
    for node in nodes:
        node.destroy_node()


def test_images_are_sensor_data_or_everything_in_order():
    assert qos.profile_text(qos.image_in("newest")) == "best effort, keep last 1, volatile"
    assert qos.profile_text(qos.image_in("all")) == "reliable, keep all, volatile"
    with pytest.raises(ValueError, match="newest, all, got 'some'"):
        qos.image_in("some")


@pytest.mark.parametrize("reliability", [ReliabilityPolicy.RELIABLE, ReliabilityPolicy.BEST_EFFORT])
def test_the_default_input_and_the_outputs_match_either_reliability(reliability):
    other = QoSProfile(depth=5, reliability=reliability)
    assert fits(other, qos.image_in("newest"))
    assert fits(qos.results_out(), other)


def test_latched_outputs_reach_late_subscribers_and_the_heartbeat_promises_its_deadline():
    late = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    assert fits(qos.latched_out(), late) and not fits(qos.results_out(), late)
    assert qos.heartbeat().deadline.nanoseconds == 2_000_000_000
    assert fits(qos.heartbeat(), QoSProfile(depth=1)) and fits(qos.heartbeat(), qos.heartbeat())


@pytest.mark.parametrize(
    "make", [lambda: qos.image_in("newest"), qos.results_out, qos.latched_out, qos.heartbeat]
)
def test_profiles_are_never_shared(make):
    first = make()
    first.depth = 99
    assert make().depth == 1


def test_overrides_change_the_subscription_and_only_that(subscribed):
    changed = subscribed(history="keep_all", depth=7, reliability="reliable", durability="transient_local")
    assert (changed.history, changed.depth) == (HistoryPolicy.KEEP_ALL, 7)
    assert (changed.reliability, changed.durability) == (
        ReliabilityPolicy.RELIABLE,
        DurabilityPolicy.TRANSIENT_LOCAL,
    )
    assert subscribed() == qos.image_in("newest")
    assert subscribed("all", reliability="best_effort").history == HistoryPolicy.KEEP_ALL


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"depth": 0}, "at least 1, got 0"),
        ({"depth": -3, "history": "keep_all"}, "at least 1, got -3"),
        ({"reliability": "unknown"}, "reliability cannot be 'unknown'"),
        (
            {"reliability": "best effort"},
            "expected history keep_last or keep_all, reliability reliable or best_effort",
        ),
        ({"depth": "many"}, "depth"),
    ],
)
def test_an_override_that_makes_no_sense_is_refused_in_one_sentence(subscribed, overrides, said):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # rclpy warns of a depth of 0, which is what is refused here.
        with pytest.raises(SettingsError) as refusal:
            subscribed(**overrides)
    assert said in str(refusal.value) and "\n" not in str(refusal.value)
    assert TOPIC in str(refusal.value) or "override" in str(refusal.value)


def test_another_runtime_error_is_not_taken_for_an_override():
    with pytest.raises(RuntimeError, match="else") as raised, qos.overrides_checked():
        raise RuntimeError("something else")
    assert not isinstance(raised.value, SettingsError)
