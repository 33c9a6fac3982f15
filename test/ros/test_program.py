"""How the programs around the node end, and what they say if they cannot begin."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="rclpy is missing; source env.sh")
pytest.importorskip("activesam_ros.msg", reason="the messages are not built; run make setup")

from activesam_ros.errors import EvaluationError
from activesam_ros.ros.program import ProgramNode, callbacks_of

from .conftest import PATIENCE

WAITS = """
import sys
from activesam_ros.ros.program import run_program
def run(ending):
    print("ready", flush=True)
    while not ending.wait(0.1):
        pass
    print("ending", flush=True)
    input()
    return 3
sys.exit(run_program("waits", run))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_ask_for_the_end_and_do_not_disturb_it(number):
    with subprocess.Popen(
        [sys.executable, "-c", WAITS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        assert process.stdout.readline() == "ending\n"
        process.send_signal(number)
        process.stdin.write("done\n")
        process.stdin.flush()
        assert process.wait(PATIENCE) == 3


def test_callbacks_run_meanwhile_and_are_over_afterwards(ros):
    node = ros.create_node("calling")
    called = []
    node.create_timer(0.01, lambda: called.append(1))
    with callbacks_of(node) as failed:
        deadline = time.monotonic() + PATIENCE
        while not called:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert not failed.is_set()
    before = len(called)
    time.sleep(0.1)
    assert len(called) == before


def test_what_a_callback_raises_is_raised_at_the_end(ros):
    node = ros.create_node("failing")

    def fail():
        raise EvaluationError("no class matches")

    node.create_timer(0.01, fail)
    with pytest.raises(EvaluationError, match="no class matches"), callbacks_of(node) as failed:
        assert failed.wait(PATIENCE)


def test_what_strangers_send_is_dropped_and_quoted_in_one_printable_line(ros, capfd):
    from std_msgs.msg import String

    node, stranger = ProgramNode("beset"), ros.create_node("stranger")
    heard = []

    def hear(message):
        heard.append(message.data)
        raise ValueError(message.data)

    node.create_subscription(String, "told", hear, 10)
    publisher = stranger.create_publisher(String, "told", 10)
    with callbacks_of(node) as failed:
        deadline = time.monotonic() + PATIENCE
        while len(heard) < 3:
            assert time.monotonic() < deadline
            publisher.publish(String(data="a\x1b[2J\u202eb"))
            time.sleep(0.02)
        assert not failed.is_set()
    stranger.destroy_node()
    said = [line for line in capfd.readouterr().err.splitlines() if "told failed and is dropped" in line]
    assert said and r"a\x1b[2J\u202eb" in said[0] and all(line.isprintable() for line in said)


def test_what_strangers_send_ends_no_program_and_is_one_line_of_its_log(ros, capfd):
    from rcl_interfaces.msg import Parameter, ParameterValue
    from rcl_interfaces.srv import SetParameters
    from rosgraph_msgs.msg import Clock

    node = ProgramNode("steady")
    stranger = ros.create_node("stranger")
    clock = stranger.create_publisher(Clock, "/clock", 10)
    heard = []
    before = Clock()
    before.clock.sec = -1
    with callbacks_of(node) as failed:
        node.create_subscription(Clock, "/clock", heard.append, 10)
        node.set_parameters([ros.parameter.Parameter("use_sim_time", value=True)])
        service = stranger.create_client(SetParameters, "steady/set_parameters")
        assert service.wait_for_service(PATIENCE)
        bad = Parameter(name="sky\n[FATAL] fake", value=ParameterValue(type=200))
        future = service.call_async(SetParameters.Request(parameters=[bad]))
        ros.spin_until_future_complete(stranger, future, timeout_sec=PATIENCE)
        assert not future.result().results[0].successful
        deadline = time.monotonic() + PATIENCE
        while not heard:
            assert time.monotonic() < deadline
            clock.publish(before)
            time.sleep(0.05)
        node.get_logger().error("a class sky\n[FATAL] \x1b[2Jfake")
        assert not failed.is_set()
    stranger.destroy_node()
    said = capfd.readouterr().err.splitlines()
    assert any("steady/set_parameters failed" in line for line in said)
    assert any(r"a class sky\n[FATAL] \x1b[2Jfake" in line for line in said)
    assert all(line.isprintable() and not line.startswith("[FATAL]") for line in said)


@pytest.mark.parametrize("error", ["activesam_ros.errors.EvaluationError", "OSError"])
def test_what_is_wrong_is_said_in_one_line(error):
    program = f"""
import sys, activesam_ros.errors
from activesam_ros.ros.program import run_program
def run(ending):
    raise {error}('what is\\n wrong')
sys.exit(run_program("replay", run))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 1
    (line,) = (done.stdout + done.stderr).splitlines()
    assert line.startswith("[FATAL]")
    assert line.endswith("[replay]: what is wrong")


@pytest.mark.live
def test_a_signal_that_comes_during_the_imports_ends_a_program_like_any_other(dds_environment):
    start = "import sys; from activesam_ros.cli.main import main; sys.argv[0] = 'activesam-toytown-camera'\n"
    start += "print('begun', flush=True); sys.exit(main())"
    with subprocess.Popen([sys.executable, "-c", start], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "begun\n"
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0


@pytest.mark.skipif(
    subprocess.run(["env", "--block-signal=INT", "true"], capture_output=True).returncode != 0,
    reason="this env cannot block signals",
)
def test_a_signal_while_python_itself_starts_prints_no_traceback(tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGINT)")
    command = tmp_path / "activesam-vocabulary"
    shutil.copy(Path(__file__).parents[2] / "scripts" / "activesam", command)
    paths = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    # What runs in a shell's background has its interrupts ignored, and so would its children.
    done = subprocess.run(
        ["env", "--default-signal=INT", command],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (130, "activesam-vocabulary: interrupted\n")
