"""The studio beside the real node: what it shows, what it sets, and what it says when the node refuses or goes."""

import time
from contextlib import contextmanager

import pytest

from activesam_ros.errors import ActiveSamError
from activesam_ros.studio.node import NodeSession

from .conftest import PATIENCE

pytestmark = pytest.mark.usefixtures("dds_environment")


def until(condition, ask=lambda: None):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it never came"
        ask()
        time.sleep(0.02)


@contextmanager
def studio(name="/activesam", **given):
    session = NodeSession(name, **given)
    session.start()
    try:
        yield session
    finally:
        session.close()


def test_a_studio_beside_a_node(start_node, client, small, ros):
    # One that crashed stays in the graph, without endpoints, under the same name.
    ghost = ros.create_node("activesam", start_parameter_services=False)
    node = start_node(words=["road", "sky", "car"])
    client.connect(small)
    with studio() as session:

        def send():
            client.send(small)
            time.sleep(0.2)

        until(lambda: session.view is not None, send)
        assert session.document.vocabulary.names == ("road", "sky", "car")
        assert session.view.rgb.shape == small.shape and session.view.result.labels.shape == small.shape[:2]
        # One change, of several parameters, reaches the node and its pictures.
        session.edit(lambda now: now.added("tree, bush").with_values({"background_threshold": 0.25}))
        until(lambda: session.view.document.vocabulary.names[-1] == "tree", send)
        assert client.get("vocabulary")[-1] == "tree, bush" and client.get("background_threshold") == 0.25
        # The node's own sentence, and back to what it has.
        session.edit(lambda now: now.added(" ".join(["word"] * 60)))
        until(lambda: "shorten it" in session.message)
        assert session.document.vocabulary.names == ("road", "sky", "car", "tree")
        with pytest.raises(ActiveSamError, match="takes colours from a file only"):
            session.edit(lambda now: now.recoloured(0, (1, 2, 3)))
        # A phrase beside the stream; others who change something.
        session.ask_phrase("house")
        until(lambda: session.probe is not None, send)
        assert 0 <= session.probe.presence <= 1 and session.probe.scores.shape == small.shape[:2]
        assert client.get("vocabulary")[-1] == "tree, bush"
        client.set(background_threshold=0.5)
        until(lambda: session.document.value("background_threshold") == 0.5)
        session.undo()
        until(lambda: client.get("background_threshold") == 0.25)
        # Another node in its place, which counts its vocabularies from one again.
        for count in range(5):
            name = f"car {count}"
            client.set(vocabulary=["road", "sky", name])
            until(lambda name=name: session.view.document.vocabulary.names[-1] == name, send)
        assert node.end() == 0
        until(lambda: "does not answer" in session.message)
        start_node(words=["grass", "sky"])
        until(lambda: session.document.vocabulary.names == ("grass", "sky") and not session.message)
        number = session.view.number
        until(lambda: session.view.number > number + 1, send)
        assert session.view.document.vocabulary.names == ("grass", "sky")
    ghost.destroy_node()


def test_a_node_that_is_not_there(dds_environment):
    with pytest.raises(ActiveSamError, match="no node /nobody answers"):
        NodeSession("nobody", wait_s=0.5)
