import pytest

from activesam_ros.launching.names import full_name, namespace_in_force


@pytest.mark.parametrize(
    ("pushed", "namespace", "expected"),
    [
        ("", "", "/"),
        ("", "robot", "/robot"),
        ("/fleet", "", "/fleet"),
        ("/fleet", "robot", "/fleet/robot"),
        ("/fleet/", "robot/", "/fleet/robot"),
        ("/fleet", "/robot", "/robot"),
    ],
)
def test_a_namespace_is_below_the_pushed_one_unless_it_is_absolute(pushed, namespace, expected):
    assert full_name(namespace_in_force({"ros_namespace": pushed, "namespace": namespace})) == expected
    if not pushed:
        assert full_name(namespace_in_force({"namespace": namespace})) == expected
