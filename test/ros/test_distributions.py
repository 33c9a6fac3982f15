"""What differs between the distributions, on the one that is here: `make test`: Jazzy; `DISTRO=kilted`: Kilted."""

from itertools import count

import pytest

NUMBERS = count()


@pytest.fixture
def node(ros):
    from activesam_ros.ros.lifecycle import ManagedNode

    node = ManagedNode(f"distributions_{next(NUMBERS)}")
    yield node
    node.destroy_node()


def called(node, **transition):
    """What a client of `~/change_state` is told."""
    from lifecycle_msgs.msg import Transition
    from lifecycle_msgs.srv import ChangeState

    (service,) = [one for one in node.services if one.srv_name.endswith("/change_state")]
    request = ChangeState.Request(transition=Transition(**transition))
    return service.callback(request, ChangeState.Response()).success


def test_a_call_for_a_transition_that_does_not_fit_is_answered(node, capfd):
    assert called(node, id=3) is False
    assert (
        "nable to start transition 3" in (said := capfd.readouterr().err)
        or "transition 3 does not fit" in said
    )
    assert node.stage == "unconfigured"


def test_a_call_for_one_that_fits_is_made(node):
    assert called(node, id=1) is True
    assert node.stage == "inactive"
    assert called(node, id=1) is False
    assert node.stage == "inactive"


def test_the_node_tells_what_it_made_itself(node):
    from activesam_ros.ros.lifecycle import made

    assert not made(node.trigger_activate)
    assert made(node.trigger_configure)
    assert not made(node.trigger_configure)


def test_every_distribution_has_the_callbacks_after_parameters_were_set(node):
    from rclpy.parameter import Parameter

    told = []
    node.add_post_set_parameters_callback(lambda changes: told.extend(change.name for change in changes))
    node.declare_parameter("word", "road")
    node.set_parameters([Parameter("word", value="sky")])
    assert "word" in told
