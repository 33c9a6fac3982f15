"""The node in this process with a stand-in for the model: what a real one cannot be made to do on demand."""

import threading

import pytest

from .fakes import PATIENCE, FakeSegmenter


@pytest.fixture
def start(ros, capfd):
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.parameter import Parameter

    from activesam_ros.ros.activesam_node import ActiveSamNode

    running = []

    def run(segmenter=None, error=None, words=("road", "sky")):
        class Node(ActiveSamNode):
            def _load(self):
                if error:
                    raise error
                return segmenter

        ended = threading.Event()
        node = Node(ended.set, parameter_overrides=[Parameter("vocabulary", value=list(words))])
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        thread = threading.Thread(target=executor.spin, daemon=True)
        thread.start()
        running.append((node, executor, thread))
        return node, ended

    yield run
    for node, executor, thread in running:
        assert node.stop(PATIENCE)
        executor.shutdown()
        thread.join(PATIENCE)
        node.destroy_node()


def wait_for_first_words(client, segmenter):
    client.eventually(lambda: segmenter.encoded)


def test_words_that_cannot_be_encoded_are_written_back(start, client, capfd):
    segmenter = FakeSegmenter()
    start(segmenter)
    assert client.parameters.wait_for_services(PATIENCE)
    wait_for_first_words(client, segmenter)
    assert client.set(vocabulary=["road", "unspeakable"], background_class="road", max_active=7) == (True, "")
    client.eventually(lambda: client.get("vocabulary") == ["road", "sky"])
    assert client.get("background_class") == "" and client.get("max_active") == 40
    assert "[ERROR]" in (shown := capfd.readouterr().err) and "'unspeakable' has no tokens" in shown
    assert "vocabulary, background_class, max_active as before" in shown
    # The node is none the worse for it.
    assert client.set(vocabulary=["tree"]) == (True, "")
    client.eventually(lambda: segmenter.encoded[-1] == ("tree",))
    assert client.get("vocabulary") == ["tree"]


def test_the_same_words_again_are_not_encoded_again(start, client):
    segmenter = FakeSegmenter()
    start(segmenter)
    assert client.parameters.wait_for_services(PATIENCE)
    wait_for_first_words(client, segmenter)
    assert client.set(vocabulary=["road", "sky"]) == (True, "")
    assert client.set(confidence_threshold=0.5) == (True, "")
    assert client.set(vocabulary=["tree"]) == (True, "")
    client.eventually(lambda: segmenter.encoded[-1] == ("tree",))
    assert segmenter.encoded == [("road", "sky"), ("tree",)]


def test_services_answer_while_words_are_encoded(start, client):
    gate = threading.Event()
    segmenter = FakeSegmenter(gate=gate)
    start(segmenter)
    try:
        assert client.parameters.wait_for_services(PATIENCE)
        assert segmenter.begun.wait(PATIENCE)
        assert client.set(vocabulary=["one"]) == (True, "")
        assert client.set(vocabulary=["two"]) == (True, "")
        assert client.get("vocabulary") == ["two"]
        assert segmenter.encoded == []
    finally:
        gate.set()
    client.eventually(lambda: ("two",) in segmenter.encoded)
    assert ("one",) not in segmenter.encoded


@pytest.mark.parametrize("words", [("road",), ("unspeakable",)])
def test_without_a_model_or_words_it_ends(start, words, capfd):
    error = MemoryError("no room") if words == ("road",) else None
    node, ended = start(FakeSegmenter(), error, words)
    assert ended.wait(PATIENCE)
    assert node.exit_code == 1
    assert capfd.readouterr().err.count("[FATAL]") == 1


def test_a_client_may_describe_every_parameter(start, client):
    from activesam_ros.ros.parameters import PARAMETERS

    start(FakeSegmenter())
    assert client.parameters.wait_for_services(PATIENCE)
    described = client._call(
        client.parameters.describe_parameters([spec.name for spec in PARAMETERS])
    ).descriptors
    assert {one.name: one.read_only for one in described} == {
        spec.name: spec.read_only for spec in PARAMETERS
    }
