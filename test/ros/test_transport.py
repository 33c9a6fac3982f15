import pytest

from activesam_ros.ros.transport import transport_warning

LARGE = {"FASTDDS_BUILTIN_TRANSPORTS": "LARGE_DATA"}


@pytest.mark.parametrize("environment", [{}, {"FASTDDS_BUILTIN_TRANSPORTS": ""}])
def test_the_default_transport_is_warned_of(environment):
    assert "LARGE_DATA" in transport_warning(environment, "rmw_fastrtps_cpp")


@pytest.mark.parametrize("local", ["LOCALHOST", "localhost"])
def test_local_discovery_switches_large_data_off(local):
    environment = {**LARGE, "ROS_AUTOMATIC_DISCOVERY_RANGE": local}
    assert "ROS_DOMAIN_ID" in transport_warning(environment, "rmw_fastrtps_cpp")


@pytest.mark.parametrize(
    ("environment", "middleware"),
    [
        (LARGE, "rmw_fastrtps_cpp"),
        ({**LARGE, "ROS_AUTOMATIC_DISCOVERY_RANGE": "SUBNET"}, "rmw_fastrtps_cpp"),
        ({"FASTDDS_BUILTIN_TRANSPORTS": "UDPv4"}, "rmw_fastrtps_cpp"),
        ({"FASTRTPS_DEFAULT_PROFILES_FILE": "mine.xml"}, "rmw_fastrtps_cpp"),
        ({}, "rmw_cyclonedds_cpp"),
    ],
)
def test_a_fitting_or_chosen_transport_is_not(environment, middleware):
    assert transport_warning(environment, middleware) is None
