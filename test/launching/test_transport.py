import pytest

from activesam_ros.launching.transport import TRANSPORT_CHOICES, is_chosen


@pytest.mark.parametrize(
    "environment", [{}, {"RMW_IMPLEMENTATION": ""}, {"RMW_IMPLEMENTATION": "rmw_fastrtps_cpp"}]
)
def test_fast_dds_without_a_choice_is_left_to_the_launch_files(environment):
    assert not is_chosen(environment)
    for name in TRANSPORT_CHOICES:
        assert is_chosen({**environment, name: "mine"}) and not is_chosen({**environment, name: ""})


def test_another_middleware_is_a_choice():
    assert is_chosen({"RMW_IMPLEMENTATION": "rmw_cyclonedds_cpp"})
