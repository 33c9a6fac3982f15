"""The node in this process with a stand-in for the model: what a real one cannot be made to do on demand."""

import threading
import weakref

import pytest

from .fakes import PATIENCE, FakeSegmenter


@pytest.fixture
def start(ros, capfd):
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.parameter import Parameter

    from activesam_ros.ros.node import ActiveSamNode
    from activesam_ros.ros.worker import load_segmenter

    running = []

    def run(segmenter=None, error=None, words=("road", "sky"), gate=None, load=None, **parameters):
        """`segmenter`: None: the node loads one itself; `gate`: loading begins once it is set."""

        def fake_load(choice, wanted):
            if gate is not None:
                assert gate.wait(PATIENCE)
            if error:
                raise error
            return load_segmenter(choice, wanted) if segmenter is None else segmenter

        ended = threading.Event()
        given = {"vocabulary": list(words), **parameters}
        overrides = [Parameter(name, value=value) for name, value in given.items()]
        node = ActiveSamNode(ended.set, load or fake_load, parameter_overrides=overrides)
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        thread = threading.Thread(target=executor.spin, daemon=True)
        thread.start()
        running.append((node, executor, thread))
        return node, ended

    yield run
    # A node that does not end in order must not be there for the next test, which would talk to it.
    in_order = []
    for node, executor, thread in running:
        in_order.append(node.stop(PATIENCE))
        executor.shutdown()
        thread.join(PATIENCE)
        node.destroy_node()
    assert all(in_order)


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


def test_a_failed_change_costs_its_revision_and_nothing_else(start, client):
    segmenter = FakeSegmenter()
    _node, _ = start(segmenter)
    assert client.parameters.wait_for_services(PATIENCE)
    wait_for_first_words(client, segmenter)
    assert client.set(vocabulary=["road", "unspeakable"]) == (True, "")
    # The worker knows of the failure before the parameters are written back.
    _, message, values = diagnosis(
        client, lambda level, _, values: level == 2 and values["revision accepted"] == "1"
    )
    assert "'unspeakable' has no tokens" in message and values["last error"] in message
    assert values["revision"] == "1"
    # A change of settings alone succeeds and keeps the revision; with it the error is history.
    assert client.set(max_active=3) == (True, "")
    _level, _, values = diagnosis(client, lambda level, *_: level == 0)
    assert values["revision accepted"] == "1" and "last error" not in values
    assert client.set(vocabulary=["road", "tree"]) == (True, "")
    _, _, values = diagnosis(client, lambda _, __, values: values["revision accepted"] != "1")
    assert values["revision accepted"] == "3"


def diagnosis(client, condition):
    seen = len(client.diagnostics)
    assert client.until(lambda: any(condition(*one) for one in client.diagnostics[seen:]))
    return next(one for one in client.diagnostics[seen:] if condition(*one))


def test_a_bug_in_a_check_refuses_the_call_and_leaves_the_node_alive(start, client, monkeypatch, capfd):
    segmenter = FakeSegmenter()
    start(segmenter)
    assert client.parameters.wait_for_services(PATIENCE)
    wait_for_first_words(client, segmenter)

    def check(_):
        raise KeyError("surprise")

    monkeypatch.setattr(segmenter, "check", check)
    client.eventually(lambda: not client.set(vocabulary=["tree"])[0])
    assert client.set(vocabulary=["cat"]) == (False, "unexpected: KeyError: 'surprise'")
    assert "[ERROR]" in capfd.readouterr().err
    assert client.get("vocabulary") == ["road", "sky"]


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
        client.eventually(lambda: segmenter.asked)
        assert client.set(vocabulary=["one"]) == (True, "")
        assert client.set(vocabulary=["two"]) == (True, "")
        assert client.get("vocabulary") == ["two"]
        assert segmenter.encoded == []
    finally:
        gate.set()
    client.eventually(lambda: ("two",) in segmenter.encoded)
    assert ("one",) not in segmenter.encoded


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"preview_resolution": 67}, "multiple of 8"),
        ({"vocabulary": ["road", "unspeakable"]}, "'unspeakable' has no tokens"),
    ],
)
def test_a_change_during_loading_that_does_not_fit_the_model_is_undone(start, client, capfd, change, said):
    gate, segmenter = threading.Event(), FakeSegmenter()
    node, ended = start(segmenter, gate=gate)
    try:
        assert client.parameters.wait_for_services(PATIENCE)
        (name,) = change
        before = client.get(name)
        assert client.set(**change) == (True, "")
    finally:
        gate.set()
    _, message, _ = diagnosis(
        client, lambda level, _, values: level == 2 and values["revision accepted"] == "1"
    )
    assert said in message and client.get(name) == before
    assert segmenter.encoded[-1] == ("road", "sky")
    assert "[ERROR]" in (shown := capfd.readouterr().err) and f"{name} as before" in shown and said in shown
    assert client.set(vocabulary=["tree"]) == (True, "")
    diagnosis(client, lambda level, *_: level == 0)
    assert not ended.is_set() and node.exit_code == 0


def test_the_model_is_loaded_with_the_settings_of_the_start(start, client, monkeypatch):
    from activesam_ros.segmenter import ActiveSegmenter

    gate, loaded_with = threading.Event(), []

    def from_pretrained(model, settings, **_):
        loaded_with.append(settings.preview_resolution)
        return FakeSegmenter(settings)

    monkeypatch.setattr(ActiveSegmenter, "from_pretrained", from_pretrained)
    start(gate=gate)
    try:
        assert client.parameters.wait_for_services(PATIENCE)
        assert client.set(preview_resolution=67) == (True, "")
    finally:
        gate.set()
    client.eventually(lambda: client.get("preview_resolution") == 672)
    assert loaded_with == [672]


def test_words_at_the_start_that_do_not_fit_end_it_even_after_a_change(start, client, capfd):
    gate = threading.Event()
    node, ended = start(FakeSegmenter(), words=["unspeakable"], gate=gate)
    try:
        assert client.parameters.wait_for_services(PATIENCE)
        assert client.set(vocabulary=["road", "unspeakable"]) == (True, "")
    finally:
        gate.set()
    assert ended.wait(PATIENCE)
    assert node.exit_code == 1
    assert capfd.readouterr().err.count("[FATAL]") == 1


def test_asking_again_for_what_is_in_force_ends_the_error(start, client):
    segmenter = FakeSegmenter()
    start(segmenter)
    assert client.parameters.wait_for_services(PATIENCE)
    wait_for_first_words(client, segmenter)
    assert client.set(vocabulary=["road", "unspeakable"]) == (True, "")
    diagnosis(client, lambda level, _, values: level == 2 and values["revision accepted"] == "1")
    assert client.set(vocabulary=["road", "sky"]) == (True, "")
    _, _, values = diagnosis(client, lambda level, *_: level == 0)
    assert values["revision"] == "1" and "last error" not in values


@pytest.mark.parametrize("values", [{"vocabulary": "road"}, {"vocabulary": [1, 2], "keep_fraction": 9.0}])
def test_a_refused_value_of_another_type_does_not_change_the_described_type(start, client, values):
    from rcl_interfaces.msg import ParameterType

    start(FakeSegmenter())
    assert client.parameters.wait_for_services(PATIENCE)
    assert client.set(**values)[0] is False
    (described,) = client.result(client.parameters.describe_parameters(["vocabulary"])).descriptors
    assert described.type == ParameterType.PARAMETER_STRING_ARRAY


def test_a_load_that_fails_after_the_end_has_begun_is_no_failure(start, capfd):
    gate = threading.Event()
    node, ended = start(error=MemoryError("no room"), gate=gate)
    assert not node.stop(0)
    gate.set()
    assert node.stop(PATIENCE)
    assert node.exit_code == 0 and not ended.is_set()
    assert "[FATAL]" not in capfd.readouterr().err


@pytest.mark.parametrize("words", [("road",), ("unspeakable",)])
def test_without_a_model_or_words_it_ends(start, words, capfd):
    error = MemoryError("no room") if words == ("road",) else None
    node, ended = start(FakeSegmenter(), error, words)
    assert ended.wait(PATIENCE)
    assert node.exit_code == 1
    assert capfd.readouterr().err.count("[FATAL]") == 1


def test_a_client_may_describe_every_parameter(start, client):
    from activesam_ros.ros.parameters import PARAMETERS, TAKES, Takes

    start(FakeSegmenter())
    assert client.parameters.wait_for_services(PATIENCE)
    described = client.result(
        client.parameters.describe_parameters([spec.name for spec in PARAMETERS])
    ).descriptors
    assert {one.name: one.read_only for one in described} == {
        spec.name: TAKES[spec.name] is Takes.NEVER for spec in PARAMETERS
    }


def test_frames_are_answered_and_counted(start, client, small):
    segmenter = FakeSegmenter()
    node, ended = start(segmenter)
    client.connect(small)
    assert segmenter.done[-1].startswith("decode")
    client.eventually(lambda: not node.counts().in_work)
    counts = node.counts()
    assert counts.answered >= 2 and counts.received == counts.answered + counts.total_dropped
    assert client.state() == "active" and not ended.is_set()


def test_without_autostart_a_model_that_cannot_be_loaded_may_be_tried_again(start, client, capfd):
    from activesam_ros.errors import ModelError

    attempts = []

    def load(choice, wanted):
        attempts.append(choice.model)
        if len(attempts) == 1:
            raise ModelError("there is no such model")
        return FakeSegmenter(wanted.settings)

    node, ended = start(load=load, autostart=False, model="street")
    assert not client.change_state("configure")
    assert client.state() == "unconfigured" and not ended.is_set() and node.exit_code == 0
    assert "could not configure: there is no such model" in capfd.readouterr().err
    assert client.diagnosed(lambda level, *_: level == 2, "node")["lifecycle state"] == "unconfigured"
    assert client.change_state("configure") and client.change_state("activate")
    assert client.state() == "active" and attempts == ["street", "street"]


def test_a_model_is_loaded_anew_only_if_the_parameters_name_another(start, client, small):
    loaded = []

    def load(choice, wanted):
        loaded.append((choice.model, choice.device))
        return FakeSegmenter(wanted.settings)

    start(load=load, model="street")
    client.connect(small)
    for change in ({}, {"device": "cpu"}, {"model": "forest"}):
        assert client.change_state("deactivate")
        if change:
            assert client.set(**change) == (True, "")
        assert client.change_state("activate")
        client.connect(small)
    assert loaded == [("street", "auto"), ("street", "cpu"), ("forest", "cpu")]


def test_changes_beside_another_model_are_left_to_it(start, client, small):
    models = {}

    def load(choice, wanted):
        models[choice.model] = FakeSegmenter(wanted.settings)
        return models[choice.model]

    start(load=load, model="street")
    client.connect(small)
    street = models["street"]

    def labelled_with(*names):
        return client.ask(small) and [
            one.name for one in client.received["vocabulary"][-1].message.classes
        ] == list(names)

    assert client.change_state("deactivate")
    asked, checked = list(street.asked), list(street.checked)
    # The model of before would refuse them.
    assert client.set(model="forest", vocabulary=["tree " * 30]) == (True, "")
    assert client.set(vocabulary=["path"], preview_resolution=671) == (True, "")
    assert client.set(vocabulary=["tree"], preview_resolution=672) == (True, "")
    # And it is asked again once it is named again.
    assert client.set(model="street") == (True, "")
    assert (street.asked, street.checked) == (asked, checked)
    assert client.change_state("activate") and list(models) == ["street"]
    client.eventually(lambda: labelled_with("tree"))
    assert client.change_state("deactivate") and client.set(model="forest") == (True, "")
    assert client.change_state("activate")
    assert models["forest"].asked == [("tree",)] and labelled_with("tree")


def test_what_hangs_is_said(start, client, small, capfd, monkeypatch):
    from activesam_ros.srv import Segment

    go_on = threading.Event()
    monkeypatch.setattr(FakeSegmenter, "preview", lambda *_: go_on.wait(PATIENCE) and [])
    start(FakeSegmenter(decoding=go_on), worker_timeout=0.3)
    said = []

    def hangs(what):
        said.append(capfd.readouterr().err)
        return f"the worker hangs: {what} takes longer than worker_timeout (0.3 s)" in "".join(said)

    client.eventually(lambda: client.state() == "active")
    service = client.node.create_client(Segment, "activesam/segment")
    assert service.wait_for_service(PATIENCE)
    call = Segment.Request()
    call.image.height = call.image.width = call.image.step = 1
    call.image.encoding, call.image.data = "mono8", b"a"
    message = client.result(service.call_async(call)).message
    assert message == (
        "the worker hangs: answering a call takes longer than worker_timeout (0.3 s); call again once the "
        "heartbeat is back"
    )
    client.eventually(lambda: hangs("answering a call"))
    go_on.set()
    client.eventually(lambda: client.is_wanted)
    client.unsubscribe("labels")
    go_on.clear()
    client.eventually(lambda: client.send(small) and hangs("previewing frames"))
    go_on.set()


def test_a_model_that_hangs_is_left_behind_and_another_serves(start, client, small, capfd):
    hanging, models = threading.Event(), []

    def load(choice, wanted):
        models.append(FakeSegmenter(wanted.settings))
        if len(models) == 1:
            models[0].decoding = hanging
        return models[-1]

    node, ended = start(load=load, worker_timeout=0.5)
    try:
        client.eventually(lambda: client.is_wanted)
        lost = client.send(small)
        client.eventually(lambda: node.counts().in_work)
        # It waits for the frame, until that takes too long.
        assert not client.change_state("deactivate")
        assert client.state() == "unconfigured"
        assert "labelling frames takes longer than worker_timeout" in capfd.readouterr().err
        assert client.change_state("configure") and client.change_state("activate")
        client.connect(small)
        # What the other one still has in work delays nobody.
        assert client.change_state("deactivate") and client.change_state("activate")
    finally:
        hanging.set()
    client.connect(small)
    assert lost not in client.stamps("labels") and not ended.is_set()
    said = []
    client.eventually(lambda: said.append(capfd.readouterr().err) or "left behind has ended" in "".join(said))
    counts = node.counts()
    assert not counts.in_work and dict(counts.dropped)["failed"] == 1
    assert counts.received == counts.answered + counts.total_dropped


def test_an_engine_that_fails_while_inactive_is_replaced_at_the_activation(start, client, small):
    models = []

    def load(choice, wanted):
        models.append(FakeSegmenter(wanted.settings))
        return models[-1]

    _node, ended = start(load=load, autostart=False)
    assert client.change_state("configure")
    models[0].use = None
    assert client.set(vocabulary=["tree"]) == (True, "")
    client.diagnosed(lambda level, *_: level == 2, "node")
    assert client.state() == "inactive" and not ended.is_set()
    assert client.change_state("activate")
    client.connect(small)
    assert len(models) == 2 and models[1].prompts.vocabulary.names == ("tree",)


def test_an_engine_that_fails_while_active_leaves_the_node_unconfigured(start, client, small, capfd):
    models = []

    def load(choice, wanted):
        models.append(FakeSegmenter(wanted.settings))
        return models[-1]

    _, ended = start(load=load, autostart=False)
    assert client.change_state("configure") and client.change_state("activate")
    client.connect(small)
    models[0].use = None
    assert client.set(vocabulary=["tree"]) == (True, "")
    client.eventually(lambda: client.state() == "unconfigured")
    assert "the worker failed: TypeError" in capfd.readouterr().err and not ended.is_set()
    assert client.change_state("configure") and client.change_state("activate")
    client.connect(small)


def test_an_engine_that_fails_ends_a_node_that_started_by_itself(start, client, small, capfd):
    models = []

    def load(choice, wanted):
        models.append(FakeSegmenter(wanted.settings))
        return models[-1]

    node, ended = start(load=load)
    client.connect(small)
    models[0].use = None
    assert client.set(vocabulary=["tree"]) == (True, "")
    assert ended.wait(PATIENCE) and node.exit_code == 1
    assert capfd.readouterr().err.count("[FATAL]") == 1


def test_a_cleanup_and_the_change_to_another_model_free_the_one_before(start, client):
    loaded = []

    def load(choice, first):
        segmenter = FakeSegmenter(first.settings)
        loaded.append((choice.model, weakref.ref(segmenter)))
        return segmenter

    start(load=load, model="one", autostart=False)
    assert client.change_state("configure") and client.change_state("activate")
    assert client.change_state("deactivate") and client.change_state("cleanup")
    assert loaded[0][1]() is None
    assert client.change_state("configure") and client.set(model="two") == (True, "")
    assert client.change_state("activate")
    assert [model for model, _ in loaded] == ["one", "one", "two"]
    assert loaded[1][1]() is None and loaded[2][1]() is not None
