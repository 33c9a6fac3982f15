"""The lifecycle of the real node with the demo model, over DDS, in one process but where it must end."""

import re
import shutil

import pytest

from .conftest import PATIENCE

pytestmark = pytest.mark.usefixtures("dds_environment")

SPACE = "lifecycle"


@pytest.fixture(scope="module")
def node(start_shared_node):
    arguments = ("-p", "autostart:=false", "-p", "full_resolution:=96")
    node = start_shared_node(*arguments, model="/no/such/folder", namespace=SPACE)
    yield node
    assert node.end() == 0
    assert "Traceback" not in node.log and "FATAL" not in node.log


@pytest.fixture(scope="module")
def client(node, make_shared_client):
    return make_shared_client(namespace=SPACE, reliable=True)


@pytest.fixture
def inactive(client):
    """The client of an inactive node, whatever the test before it left."""
    assert client.set(max_active=40) == (True, "")
    if client.state() == "active":
        assert client.change_state("deactivate")
    if client.state() == "unconfigured":
        assert client.set(model="toytown") == (True, "")
        assert client.change_state("configure")
    assert client.state() == "inactive"
    return client


def told(client, condition, name="node"):
    return client.diagnosed(lambda level, message, values: condition(level, values), name)


def test_a_missing_model_is_an_error_that_another_model_mends(client, node):
    assert client.state() == "unconfigured"
    assert told(client, lambda level, values: level == 0)["lifecycle state"] == "unconfigured"
    assert not client.is_wanted
    assert not client.change_state("configure")
    assert client.state() == "unconfigured"
    (line,) = re.findall(r"\[ERROR\].*", node.log)
    assert "could not configure" in line and "/no/such/folder" in line
    assert told(client, lambda level, values: level == 2)["lifecycle state"] == "unconfigured"
    assert len(client.beats) > 0

    assert client.set(model="toytown") == (True, "")
    assert client.change_state("configure") and client.state() == "inactive"
    assert told(client, lambda level, values: level == 0)["lifecycle state"] == "inactive"
    assert not client.is_wanted and not client.received["label_info"]


def test_frames_are_answered_only_while_active(inactive, small):
    client = inactive
    assert not client.is_wanted
    assert client.change_state("activate") and client.state() == "active"
    assert client.until(lambda: client.received["label_info"] and client.received["vocabulary"])
    client.connect(small)
    client.counted()
    answered = len(client.received["labels"])

    for _ in range(5):
        client.send(small)
    assert client.change_state("deactivate") and client.state() == "inactive"
    client.eventually(lambda: not client.is_wanted)
    gained = client.counted()
    # Each that came was answered or dropped; after the transition nothing is published any more.
    assert set(gained) <= {"received", "answered", "superseded", "deactivated"}
    client.send(small)
    assert client.counted() == {}
    answered += gained.get("answered", 0)
    assert client.until(lambda: len(client.received["labels"]) == answered)

    assert client.change_state("activate")
    client.eventually(lambda: client.is_wanted)
    client.ask(small)
    assert client.counted(received=1) == {"received": 1, "answered": 1}


def test_words_set_while_inactive_hold_from_the_activation(inactive, small):
    client = inactive
    assert client.set(vocabulary=["road", "tree"]) == (True, "")
    assert client.change_state("activate")
    client.eventually(lambda: client.is_wanted)
    client.eventually(lambda: client.ask(small) and [*client.received["vocabulary"]][-1].message.revision > 1)
    assert [one.name for one in client.received["vocabulary"][-1].message.classes] == ["road", "tree"]


def test_the_model_changes_while_inactive_in_the_same_process(
    inactive, node, small, tmp_path, toytown_folder
):
    client = inactive
    other = tmp_path / "other"
    shutil.copytree(toytown_folder, other)
    assert client.change_state("activate")
    successful, reason = client.set(model=str(other))
    assert not successful and "deactivate" in reason
    assert client.get("model") == "toytown"
    # What does not change is no reason to refuse the others.
    assert client.set(model="toytown", max_active=7) == (True, "")

    assert client.change_state("deactivate")
    assert client.set(model=str(other)) == (True, "")
    assert client.change_state("activate") and client.state() == "active"
    node.wait_for_log(f"loading the model '{other}'")
    assert told(client, lambda level, values: values["model"] == str(other))["lifecycle state"] == "active"
    client.eventually(lambda: client.is_wanted)
    client.ask(small)
    assert client.change_state("deactivate")

    # One that is not there leaves the node inactive, and the one before it can be had again.
    assert client.set(model=str(tmp_path / "gone")) == (True, "")
    assert not client.change_state("activate") and client.state() == "inactive"
    assert str(tmp_path / "gone") in node.wait_for_log(r"\[ERROR\].*could not activate.*").group()
    assert client.set(model="toytown") == (True, "")
    assert client.change_state("activate")
    client.eventually(lambda: client.is_wanted)
    client.ask(small)


def test_after_a_cleanup_the_model_is_loaded_anew(inactive, street):
    client = inactive
    assert client.change_state("activate")
    client.eventually(lambda: client.is_wanted)
    client.ask(street)
    assert client.change_state("deactivate")
    assert client.change_state("cleanup") and client.state() == "unconfigured"
    assert "device" not in told(client, lambda level, values: values["lifecycle state"] == "unconfigured")

    assert client.change_state("configure") and client.change_state("activate")
    client.eventually(lambda: client.is_wanted)
    client.ask(street)


def test_a_shut_down_node_stays_so_until_it_is_ended(inactive, node):
    client = inactive
    assert client.change_state("activate")
    assert client.change_state("shutdown") and client.state() == "finalized"
    client.eventually(lambda: not client.is_wanted)
    assert told(client, lambda level, values: values["lifecycle state"] == "finalized")
    assert not client.change_state("configure")


def test_autostart_with_a_missing_model_ends_the_process(start_node):
    node = start_node(model="/no/such/folder", namespace="missing")
    assert node.process.wait(PATIENCE) == 1
    (line,) = re.findall(r"\[FATAL\].*", node.log)
    assert "/no/such/folder" in line and "Traceback" not in node.log
