"""The guarded executor: whatever a callback raises, its caller is answered, and the others go on."""

import threading
import time

import pytest

from .conftest import PATIENCE


@pytest.fixture
def spun(ros):
    """A node in a guarded executor that spins: (node, client, what it said of failures)."""
    from rclpy.executors import SingleThreadedExecutor

    from activesam_ros.ros.executor import GuardedExecutor, answer_every_call

    said = []
    node, client = (
        ros.create_node("guarded"),
        ros.create_node("guarded_client", start_parameter_services=False),
    )
    node.declare_parameter("word", "road")
    answer_every_call(node, said.append)
    executors = [GuardedExecutor(said.append), SingleThreadedExecutor()]
    threads = []
    for executor, one in zip(executors, (node, client), strict=True):
        executor.add_node(one)
        threads.append(threading.Thread(target=executor.spin, daemon=True))
        threads[-1].start()
    yield node, client, said
    for executor, thread in zip(executors, threads, strict=True):
        executor.shutdown()
        thread.join(PATIENCE)
    node.destroy_node()
    client.destroy_node()


def answer(client, kind, name, request):
    service = client.create_client(kind, name)
    assert service.wait_for_service(PATIENCE)
    done = threading.Event()
    future = service.call_async(request)
    future.add_done_callback(lambda _: done.set())
    assert done.wait(PATIENCE), "not answered"
    return future.result()


def test_a_parameter_of_a_type_that_does_not_exist_is_refused(spun):
    from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
    from rcl_interfaces.srv import GetParameters, SetParameters, SetParametersAtomically

    _, client, said = spun
    good = Parameter(
        name="word", value=ParameterValue(type=ParameterType.PARAMETER_STRING, string_value="sky")
    )
    bad = Parameter(name="word", value=ParameterValue(type=200))
    found = answer(
        client, SetParameters, "guarded/set_parameters", SetParameters.Request(parameters=[good, bad])
    )
    assert [one.successful for one in found.results] == [True, False] and found.results[1].reason
    found = answer(
        client,
        SetParametersAtomically,
        "guarded/set_parameters_atomically",
        SetParametersAtomically.Request(parameters=[bad]),
    )
    assert not found.result.successful and "the call failed" in found.result.reason
    assert len(said) == 2 and "guarded/set_parameters failed: " in said[0]
    values = answer(
        client, GetParameters, "guarded/get_parameters", GetParameters.Request(names=["word"])
    ).values
    assert values[0].string_value == "sky"


def test_subscriptions_and_timers_that_raise_go_on(spun):
    from std_msgs.msg import String

    node, client, said = spun
    heard, ticks = [], []

    def hear(message):
        heard.append(message.data)
        raise ValueError(message.data)

    node.create_subscription(String, "told", hear, 10)
    node.create_timer(0.02, lambda: ticks.append(1) or 1 / 0)
    publisher = client.create_publisher(String, "told", 10)
    deadline = time.monotonic() + PATIENCE
    while len(heard) < 3 or len(ticks) < 3:
        assert time.monotonic() < deadline, said
        publisher.publish(String(data="word"))
        time.sleep(0.02)
    assert any("told failed and is dropped: ValueError: word (test_executor.py:" in one for one in said)
    assert any("ZeroDivisionError" in one for one in said)


def test_what_cannot_be_read_leaves_its_subscription_alive(spun, monkeypatch):
    from std_msgs.msg import String

    node, client, said = spun
    heard = []
    subscription = node.create_subscription(String, "read", lambda message: heard.append(message.data), 10)
    monkeypatch.setattr(subscription, "msg_type", None)  # rclpy raises where it takes the message
    publisher = client.create_publisher(String, "read", 10)
    deadline = time.monotonic() + PATIENCE
    while not heard:
        assert time.monotonic() < deadline, said
        publisher.publish(String(data="word"))
        time.sleep(0.02)
        if any("could not be read" in one for one in said):
            monkeypatch.setattr(subscription, "msg_type", String)


def test_an_executor_that_cannot_wait_gives_up(ros, monkeypatch):
    from activesam_ros.ros import executor as module

    monkeypatch.setattr(module, "_PAUSE_SECONDS", 0.0)
    said = []
    executor = module.GuardedExecutor(said.append)
    monkeypatch.setattr(executor, "_wait_for_ready_callbacks", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        executor.spin()
    assert len(said) == module._HOPELESS - 1
