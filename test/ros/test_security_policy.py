"""The SROS 2 policy names what the real node needs, and nothing else."""

import time
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree

import pytest

pytest.importorskip("rclpy", reason="rclpy is missing; source env.sh")

from rclpy.node import NodeNameNonExistentError

POLICY = Path(__file__).parents[2] / "config" / "sros2" / "activesam.policy.xml"

# Only under use_sim_time, and only while somebody wants labels.
NOW_AND_THEN = {"/clock", "/image", "/camera_info"}


def allowed(kind: str, role: str) -> set[str]:
    profile = ElementTree.parse(POLICY).find("enclaves/enclave[@path='/activesam']/profiles/profile")
    assert (profile.get("ns"), profile.get("node")) == ("/", "activesam")
    names = [name.text for group in profile.findall(kind) if group.get(role) == "ALLOW" for name in group]
    assert len(names) == len(set(names))
    return {name.replace("~", "/activesam") if name.startswith("~") else f"/{name}" for name in names}


@contextmanager
def observer():
    """A participant of its own, which asks the graph: what a node has is told apart from its messages."""
    import rclpy

    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node("observer", context=context)
    try:
        yield node
    finally:
        node.destroy_node()
        rclpy.shutdown(context=context)


def names(of) -> set[str]:
    return {name for name, _ in of("activesam", "/")}


def is_told(node) -> bool:
    """Whether a participant is told what the node subscribes, which takes a moment."""
    for _ in range(100):
        try:
            if names(node.get_subscriber_names_and_types_by_node) >= {"/image", "/camera_info"}:
                return True
        except NodeNameNonExistentError:
            pass  # not yet
        time.sleep(0.1)
    return False


@pytest.mark.usefixtures("dds_environment")
def test_the_policy_allows_what_the_node_has(start_node, client, street):
    start_node()
    client.connect(street)  # so that images are subscribed
    # On a busy machine a participant is now and then never told, though it gets the messages; another one is.
    for _ in range(5):
        with observer() as ask:
            if not is_told(ask):
                continue
            assert names(ask.get_subscriber_names_and_types_by_node) | NOW_AND_THEN == allowed(
                "topics", "subscribe"
            )
            assert names(ask.get_publisher_names_and_types_by_node) == allowed("topics", "publish")
            assert names(ask.get_service_names_and_types_by_node) == allowed("services", "reply")
            assert names(ask.get_client_names_and_types_by_node) == set()
            return
    pytest.fail("no participant was told what the node has")
