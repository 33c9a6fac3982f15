"""Transitions of a small node: what succeeds, what fails, and what is left afterwards."""

from itertools import count

import pytest

from .fakes import PATIENCE

NUMBERS = count()
STATES = {"unconfigured", "inactive", "active", "finalized"}
DOWN = "the node is being ended"


@pytest.fixture
def make(ros, capfd):
    """Makes a node whose transitions do what its `do` says, by their names, and note that they ran."""
    from rclpy.lifecycle import TransitionCallbackReturn
    from std_msgs.msg import Header

    from activesam_ros.ros.lifecycle import ManagedNode

    class Node(ManagedNode):
        def __init__(self):
            super().__init__(f"managed_{next(NUMBERS)}")
            self.ran = []
            self.do = {}
            self.output = self.create_lifecycle_publisher(Header, "~/output", 1)

        def _run(self, name):
            self.ran.append(name)
            self.do.get(name, lambda: None)()

        def configure(self):
            self._run("configure")

        def activate(self):
            self._run("activate")

        def deactivate(self):
            self._run("deactivate")

        def cleanup(self):
            self._run("cleanup")

        def release(self):
            self._run("release")

        def meanwhile(self):
            self.ran.append("meanwhile")

        @property
        def state(self):
            """What lifecycle tools see."""
            state = self._state_machine.current_state[1]
            assert state in STATES and state == self.stage
            return state

        def trigger(self, name):
            """Whether a transition succeeded."""
            return getattr(self, f"trigger_{name}")() == TransitionCallbackReturn.SUCCESS

    nodes = []

    def node():
        nodes.append(Node())
        return nodes[-1]

    yield node
    for one in nodes:
        one.destroy_node()


def raising(error):
    def run():
        raise error

    return run


def failing(sentence):
    from activesam_ros.ros.lifecycle import TransitionFailed

    return raising(TransitionFailed(sentence))


def test_every_transition_leads_where_it_should(make, capfd):
    node = make()
    assert node.state == "unconfigured"
    for name, state in (
        ("configure", "inactive"),
        ("activate", "active"),
        ("deactivate", "inactive"),
        ("activate", "active"),
        ("deactivate", "inactive"),
        ("cleanup", "unconfigured"),
        ("configure", "inactive"),
        ("shutdown", "finalized"),
    ):
        assert node.trigger(name)
        assert node.state == state and node.transition_error is None
        assert f"the node is {state}" in capfd.readouterr().err
    assert node.ran[-3:] == ["cleanup", "configure", "release"]


def test_publishers_publish_from_before_the_activation_until_after_the_deactivation(make):
    node, published = make(), []
    node.do = dict.fromkeys(
        ("configure", "activate", "deactivate", "cleanup"),
        lambda: published.append((node.ran[-1], node.output.is_activated)),
    )
    for name in ("configure", "activate", "deactivate", "cleanup"):
        assert node.trigger(name)
    assert published == [("configure", False), ("activate", True), ("deactivate", True), ("cleanup", False)]


def test_bringing_up_does_what_is_left_to_do(make):
    node = make()
    assert node.bring_up() and node.state == "active"
    assert node.bring_up() and node.ran == ["configure", "activate"]
    other = make()
    other.trigger("configure")
    assert other.bring_up() and other.ran == ["configure", "activate"]


def test_bringing_up_ends_where_a_transition_fails(make):
    node = make()
    node.do["activate"] = failing("no words")
    assert not node.bring_up() and node.state == "inactive"
    node.do["configure"] = failing("no model")
    node.trigger("cleanup")
    node.ran.clear()
    assert not node.bring_up() and node.ran == ["configure"]


@pytest.mark.parametrize(
    ("before", "name", "state", "said"),
    [
        ((), "configure", "unconfigured", "could not configure: no model"),
        (("configure",), "activate", "inactive", "could not activate: no model"),
        (("configure",), "cleanup", "inactive", "could not clean up: no model"),
    ],
)
def test_a_transition_that_fails_leaves_the_state_and_says_why(make, capfd, before, name, state, said):
    node = make()
    for one in before:
        node.trigger(one)
    node.do[name] = failing("no model")
    assert not node.trigger(name)
    assert node.state == state and node.transition_error == said
    assert not node.output.is_activated and "release" not in node.ran
    logged = capfd.readouterr().err
    assert logged.count("[ERROR]") == 1 and said in logged
    # The next attempt succeeds, and what failed is history.
    node.do.clear()
    assert node.trigger(name) and node.transition_error is None


@pytest.mark.parametrize(
    ("before", "name", "said"),
    [
        ((), "configure", "could not configure"),
        (("configure",), "activate", "could not activate"),
        (("configure", "activate"), "deactivate", "could not deactivate"),
        (("configure",), "cleanup", "could not clean up"),
    ],
)
def test_any_other_error_is_logged_and_ends_unconfigured(make, capfd, before, name, said):
    node = make()
    for one in before:
        node.trigger(one)
    node.do[name] = raising(KeyError("surprise"))
    assert not node.trigger(name)
    assert node.state == "unconfigured" and node.ran[-2:] == [name, "release"]
    assert node.transition_error == f"{said}: KeyError: 'surprise'"
    assert not node.output.is_activated
    logged = capfd.readouterr().err
    assert logged.count("[ERROR]") == 1 and f"{said}: KeyError: 'surprise'" in logged
    assert logged.count("[WARN]") == 1 and "configure and activate it again" in logged
    node.do.clear()
    assert node.bring_up() and node.transition_error is None


def test_an_error_that_cannot_be_recovered_from_is_the_end(make, capfd):
    node = make()
    node.do = {"configure": raising(KeyError("one")), "release": raising(KeyError("two"))}
    assert not node.trigger("configure")
    assert node.state == "finalized"
    assert node.transition_error == "could not recover from an error: KeyError: 'two'"
    logged = capfd.readouterr().err
    assert "KeyError: 'one'" in logged and "KeyError: 'two'" in logged


def test_a_wait_calls_meanwhile_until_it_is_done(make):
    node, slices = make(), iter([False, False, True])
    waited = []

    def done(seconds):
        waited.append(seconds)
        return next(slices)

    node.do["configure"] = lambda: node.wait_until(done)
    assert node.trigger("configure")
    assert node.ran == ["configure", "meanwhile", "meanwhile"]
    assert len(waited) == 3 and all(0 < seconds <= 1 for seconds in waited)


def test_a_wait_ends_when_the_node_is_being_ended(make, capfd):
    node, waited = make(), []

    def never(seconds):
        waited.append(seconds)
        assert len(waited) < PATIENCE
        if len(waited) == 2:
            node.stopping.set()
        return False

    node.do["configure"] = lambda: node.wait_until(never)
    assert not node.trigger("configure")
    assert len(waited) == 2 and node.state == "unconfigured"
    assert node.transition_error == f"could not configure: {DOWN}"
    logged = capfd.readouterr().err
    # That is no error: somebody wanted it.
    assert DOWN in logged and "[ERROR]" not in logged


def test_a_wait_ends_with_its_context(ros):
    from rclpy.context import Context

    from activesam_ros.ros.lifecycle import ManagedNode, TransitionFailed

    context = Context()
    ros.init(context=context)
    node = ManagedNode("managed", context=context)
    context.shutdown()
    with pytest.raises(TransitionFailed, match=DOWN):
        node.wait_until(lambda seconds: False)
    node.wait_until(lambda seconds: True)
