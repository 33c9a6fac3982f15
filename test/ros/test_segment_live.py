"""Images that are labelled on demand: the real node with the demo model answers `~/segment`, over DDS."""

import array
from types import SimpleNamespace

import numpy as np
import pytest

from .conftest import PATIENCE, WORDS
from .processes import Faults

pytestmark = pytest.mark.usefixtures("dds_environment")

SPACE = "demanded"


@pytest.fixture(scope="module")
def faults(tmp_path_factory):
    return Faults(tmp_path_factory.mktemp("faults") / "order")


@pytest.fixture(scope="module")
def node(start_shared_node, faults):
    node = start_shared_node("-p", "full_resolution:=96", namespace=SPACE, faults=faults.path)
    yield node
    faults.none()
    assert node.end() == 0
    assert "Traceback" not in node.log


@pytest.fixture(scope="module")
def client(node, make_shared_client):
    """Nobody subscribes to the labels."""
    client = make_shared_client(namespace=SPACE, topics=())
    client.introduce()
    client.diagnosed(lambda level, message, values: values["lifecycle state"] == "active", "node")
    return client


@pytest.fixture(scope="module")
def caller(client):
    """Calls the service."""
    from activesam_ros.srv import Segment

    service = client.node.create_client(Segment, "activesam/segment")
    assert service.wait_for_service(PATIENCE)

    def later(rgb, *words, stamp=7, **fields):
        request = Segment.Request(vocabulary=list(words), **fields)
        image = request.image
        image.header.frame_id, image.header.stamp.sec = "gripper", stamp
        image.height, image.width = rgb.shape[:2]
        image.encoding, image.step = "rgb8", 3 * rgb.shape[1]
        image.data = array.array("B", rgb.tobytes())
        return service.call_async(request)

    def call(*given, **fields):
        return client.result(later(*given, **fields))

    return SimpleNamespace(later=later, call=call, kind=Segment.Response, service=service)


def counts(client, **expected):
    """The node's counts of calls once they are as expected."""
    wanted = {f"calls {key.replace('_', ' ')}": str(value) for key, value in expected.items()}
    return client.diagnosed(lambda level, message, values: wanted.items() <= values.items(), "node")


def pixels(image):
    return np.frombuffer(image.data, np.uint8).reshape(image.height, image.width)


def test_a_call_is_answered_while_nobody_subscribes(client, caller, small):
    assert not client.is_wanted
    answer = caller.call(small)
    assert answer.success and answer.message == "" and answer.outcome == caller.kind.LABELLED
    assert answer.labels.header.frame_id == "gripper" and answer.labels.header.stamp.sec == 7
    assert (answer.labels.encoding, answer.labels.step) == ("mono8", small.shape[1])
    labels, confidence = pixels(answer.labels), pixels(answer.confidence)
    assert labels.shape == small.shape[:2] == confidence.shape
    assert not confidence[labels == answer.vocabulary.unlabeled_id].any()
    assert [one.name for one in answer.vocabulary.classes] == ["road", "car", "sky", "building", "person"]
    assert answer.vocabulary.revision == 1
    areas = {one.class_id: one.area for one in answer.active_classes.classes}
    for number, area in areas.items():
        assert area == pytest.approx((labels == number).mean())
    assert not client.is_wanted


def test_words_of_a_call_change_nothing_of_the_stream(client, caller, small):
    client.subscribe("labels")
    client.subscribe("vocabulary")
    client.eventually(lambda: client.is_wanted)
    client.connect(small)
    before = client.ask(small).message

    answer = caller.call(small, "sky", "house, building", background_class="sky", background_threshold=0.0)
    assert answer.success, answer.message
    assert [(one.class_id, one.name) for one in answer.vocabulary.classes] == [(0, "sky"), (1, "house")]
    assert answer.vocabulary.revision == 0 and answer.vocabulary.background_id == 0
    assert set(np.unique(pixels(answer.labels))) <= {0, 1, 255}

    after = client.ask(small).message
    assert after.data == before.data
    assert client.get("vocabulary") == WORDS
    assert [one.message.revision for one in client.received["vocabulary"]] == [1]
    # The same image, by a call with the stream's words, has the stream's labels.
    assert caller.call(small).labels.data == before.data
    things = caller.call(small, instances=True)
    assert things.labels.data == before.data and not answer.detections.detections
    ids = np.frombuffer(things.instances.data, np.uint16)
    assert set(map(str, ids[ids > 0])) <= {one.id for one in things.detections.detections}
    # With a higher threshold of its own it has less.
    strict = caller.call(small, background_threshold=0.95)
    labels = pixels(strict.labels)
    assert strict.success and (labels == 255).sum() > (pixels(before) == 255).sum()
    assert (labels == pixels(before))[labels != 255].all()
    assert client.ask(small).message.data == before.data


def test_what_cannot_be_used_is_refused_with_a_sentence(client, caller, small):
    for words, fields, said in (
        (["cup", "cup"], {}, "both ask for 'cup'"),
        (["so " * 300], {}, "tokens; the model reads at most"),
        ([], {"background_class": "sky"}, "no vocabulary of its own"),
        ([], {"confidence_threshold": 2.0}, "confidence_threshold is 2"),
        ([], {"timeout": 0.0}, "timeout is 0"),
    ):
        answer = caller.call(small, *words, **fields)
        assert answer.outcome == caller.kind.REFUSED and said in answer.message, answer.message
        assert not answer.success and len(answer.labels.data) == 0
    from activesam_ros.srv import Segment

    empty = client.result(caller.service.call_async(Segment.Request()))
    assert empty.outcome == caller.kind.REFUSED and "the image is empty" in empty.message


def test_who_calls_too_much_is_told_so_and_frames_have_their_turn(client, caller, node, faults, small):
    from activesam_ros.ros.segment_service import MAX_WAITING

    total = int(counts(client)["calls received"])
    faults.order("wait", seconds=300)
    begun = caller.later(small)
    node.wait_for_log("fault: wait at decode")
    late = caller.call(small, timeout=0.1)
    assert late.outcome == caller.kind.TIMED_OUT and "within 0.1 s" in late.message
    waiting = [caller.later(small, stamp=number) for number in range(MAX_WAITING)]
    counts(client, waiting=MAX_WAITING, in_work=1, received=total + MAX_WAITING + 2)
    busy = caller.call(small)
    assert busy.outcome == caller.kind.BUSY and f"{MAX_WAITING} calls are waiting already" in busy.message
    frame = client.send(small)
    # Services and parameters answer meanwhile.
    assert client.state() == "active"
    faults.none()
    client.with_stamp("labels", frame)
    answers = [client.result(one) for one in (begun, *waiting)]
    assert all(answer.success for answer in answers)
    assert [answer.labels.header.stamp.sec for answer in answers] == [7, *range(MAX_WAITING)]
    told = counts(client, waiting=0, in_work=0, received=total + MAX_WAITING + 3)
    ended = sum(int(told[f"calls {what}"]) for what in ("answered", "refused", "failed"))
    assert ended == total + MAX_WAITING + 3


def test_a_fault_fails_the_call_and_the_log_has_it(client, caller, node, faults, small):
    faults.order("raise", times=1)
    answer = caller.call(small)
    assert answer.outcome == caller.kind.FAILED and "a test told it to" in answer.message
    node.wait_for_log(r"\[WARN\].*a call failed: RuntimeError: the model raised")
    assert caller.call(small).success


def test_only_an_active_node_answers_and_deactivating_lets_the_call_in_work_end(
    client, caller, node, faults, small
):
    faults.order("wait", seconds=300)
    begun = caller.later(small)
    node.wait_for_log("fault: wait at decode", times=2)
    waiting = caller.later(small)
    counts(client, waiting=1, in_work=1)
    going = client.change_state_later("deactivate")
    counts(client, waiting=0, in_work=1)
    faults.none()
    assert client.result(going).success and client.result(begun).success
    refused = client.result(waiting)
    assert refused.outcome == caller.kind.NOT_SERVING and "not active any more" in refused.message
    answer = caller.call(small)
    assert answer.outcome == caller.kind.NOT_SERVING
    assert f"/{SPACE}/activesam is inactive; run `ros2 lifecycle set" in answer.message
    assert client.change_state("cleanup")
    assert "is unconfigured; run" in caller.call(small).message
    assert client.change_state("configure") and client.change_state("activate")
    assert caller.call(small, "sky").success


def test_at_the_end_a_call_that_waits_is_told(client, caller, node, faults, small):
    faults.order("wait", seconds=300)
    caller.later(small)
    node.wait_for_log("fault: wait at decode", times=3)
    waiting = caller.later(small)
    counts(client, waiting=1, in_work=1)
    # It hangs in the model, and is left there.
    assert node.end() == 0
    answer = client.result(waiting)
    assert answer.outcome == caller.kind.NOT_SERVING and answer.message == "the node is being ended"
