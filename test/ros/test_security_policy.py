"""The SROS 2 policy names what the real node needs, and nothing else."""

import time
from pathlib import Path
from xml.etree import ElementTree

import pytest

from .fakes import eventually

POLICY = Path(__file__).parents[2] / "config" / "sros2" / "activesam.policy.xml"

# Only under use_sim_time, and only while somebody wants labels.
NOW_AND_THEN = {"/clock", "/image", "/camera_info"}


def allowed(kind: str, role: str) -> set[str]:
    profile = ElementTree.parse(POLICY).find("enclaves/enclave[@path='/activesam']/profiles/profile")
    assert (profile.get("ns"), profile.get("node")) == ("/", "activesam")
    names = [name.text for group in profile.findall(kind) if group.get(role) == "ALLOW" for name in group]
    assert len(names) == len(set(names))
    return {name.replace("~", "/activesam") if name.startswith("~") else f"/{name}" for name in names}


@pytest.mark.usefixtures("dds_environment")
def test_the_policy_allows_what_the_node_has(start_node, client, street):
    start_node()
    client.connect(street)  # so that images are subscribed
    ask = client.node

    def names(of) -> set[str]:
        return {name for name, _ in of("activesam", "/")}

    def tell_anew():
        """Have the node drop its subscriptions and make them again, and so tell again what it has."""
        time.sleep(1)
        client.unsubscribe("labels")
        time.sleep(0.5)
        client.subscribe("labels")

    # What a node has is told apart from the messages: it may come after them, and now and then it does not.
    eventually(
        lambda: names(ask.get_subscriber_names_and_types_by_node) >= {"/image", "/camera_info"}, tell_anew
    )
    assert names(ask.get_subscriber_names_and_types_by_node) | NOW_AND_THEN == allowed("topics", "subscribe")
    assert names(ask.get_publisher_names_and_types_by_node) == allowed("topics", "publish")
    assert names(ask.get_service_names_and_types_by_node) == allowed("services", "reply")
    assert names(ask.get_client_names_and_types_by_node) == set()
