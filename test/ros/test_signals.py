"""SIGINT and SIGTERM in every state of the real node, over DDS: it ends soon, with code 0, and leaves nothing."""

import signal
import time
from pathlib import Path

import pytest

from .processes import Faults

pytestmark = pytest.mark.usefixtures("dds_environment")

# The node promises 2 s; a loaded machine is not the node's fault.
ENOUGH_SECONDS = 5
MANUAL = ("-p", "autostart:=false")
NUMBERS = (signal.SIGINT, signal.SIGTERM)


@pytest.fixture
def start_pair(start_node, make_client, tmp_path):
    """Starts one node for each signal, side by side: (node, client, faults, signal)."""

    def start(*arguments, space="", numbers=NUMBERS):
        pairs = []
        for number in numbers:
            name = space + number.name.lower()
            faults = Faults(tmp_path / name)
            node = start_node(*arguments, namespace=name, faults=faults.path)
            pairs.append((node, make_client(namespace=name, reliable=True), faults, number))
        return pairs

    return start


def children(node) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has just ended
        if int(fields[1]) == node.process.pid:
            found.append(int(entry.parent.name))
    return found


def end(node, number, record_property, state) -> None:
    """Ends the node as the test is about: code 0, soon, no traceback, no orphan."""
    offspring = children(node)
    begun = time.monotonic()
    assert node.end(number) == 0, node.log
    seconds = time.monotonic() - begun
    record_property(f"seconds to end, {number.name}, {state}", round(seconds, 2))
    print(f"{number.name}, {state}: ended after {seconds:.2f} s")
    assert seconds < ENOUGH_SECONDS, node.log
    assert "Traceback" not in node.log and "FATAL" not in node.log, node.log
    assert not [pid for pid in offspring if Path(f"/proc/{pid}").exists()]


def test_unconfigured_and_finalized(start_pair, record_property):
    unconfigured = start_pair(*MANUAL, numbers=(*NUMBERS, signal.SIGHUP))
    finalized = start_pair(*MANUAL, space="late_")
    for node, client, _, number in unconfigured:
        assert client.state() == "unconfigured"
        end(node, number, record_property, "unconfigured")
    for node, client, _, number in finalized:
        assert client.change_state("shutdown") and client.state() == "finalized"
        end(node, number, record_property, "finalized")


@pytest.mark.parametrize("autostart", [True, False])
def test_while_the_model_loads(start_pair, record_property, autostart):
    pairs = start_pair("-p", f"autostart:={str(autostart).lower()}")
    for _, client, faults, _ in pairs:
        faults.order("wait", "load", seconds=60)
        if not autostart:
            client.change_state_later("configure")
    for node, _, _, number in pairs:
        node.wait_for_log("fault: wait at load")
        end(node, number, record_property, f"loading, autostart {autostart}")


def test_inactive(start_pair, record_property):
    pairs = start_pair(*MANUAL)
    asked = [client.change_state_later("configure") for _, client, _, _ in pairs]
    for (node, client, _, number), future in zip(pairs, asked, strict=True):
        assert client.result(future).success and client.state() == "inactive"
        end(node, number, record_property, "inactive")


def test_active_without_work(start_pair, record_property, small):
    for node, client, _, number in start_pair():
        client.connect(small)
        end(node, number, record_property, "active, idle")
        assert "stopped; frames:" in node.log


def test_active_with_a_frame_in_work_and_one_that_waits(start_pair, record_property, small):
    for node, client, faults, number in start_pair():
        client.connect(small)
        # As long as a forward pass of a large model; it is left behind when the node ends.
        faults.order("wait", seconds=60)
        client.send(small)
        node.wait_for_log("fault: wait at decode")
        client.send(small)
        if number == signal.SIGTERM:
            assert client.set(worker_timeout=0.1) == (True, "")
            client.diagnosed(lambda level, message, values: level == 2 and "hangs" in message, "node")
        end(node, number, record_property, "active, a frame in work")


def test_after_a_model_that_hangs_was_left_behind(start_pair, record_property, small):
    for node, client, faults, number in start_pair():
        client.connect(small)
        assert client.set(worker_timeout=0.1) == (True, "")
        faults.order("wait", seconds=60)
        client.send(small)
        node.wait_for_log("fault: wait at decode")
        assert not client.change_state("deactivate")
        assert client.state() == "unconfigured" and "was left behind" in node.log
        end(node, number, record_property, "unconfigured, a model left behind")


def test_while_a_vocabulary_is_encoded_and_more_of_them_come(start_pair, record_property, small):
    for node, client, faults, number in start_pair():
        client.connect(small)
        faults.order("wait", "encode", seconds=60)
        assert client.set(vocabulary=["road", "tree"]) == (True, "")
        node.wait_for_log("fault: wait at encode")
        # That holds up no frame.
        client.ask(small)
        for count in range(20):
            client.set_later(vocabulary=["road", f"thing {count}"])
        end(node, number, record_property, "active, encoding")


def test_while_vocabularies_change(start_pair, record_property, small):
    for node, client, _, number in start_pair(numbers=[signal.SIGTERM]):
        client.connect(small)
        for count in range(20):
            client.set_later(vocabulary=["road", f"thing {count}"])
            if count % 5 == 0:
                client.send(small)
        end(node, number, record_property, "active, words change")
