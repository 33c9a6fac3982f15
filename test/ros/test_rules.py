import pytest

pytest.importorskip("rclpy", reason="rclpy is missing; source env.sh")

from activesam_ros.ros.diagnostics import Level, Status
from activesam_ros.ros.rules import Rule, judged, known

RULES = (
    Rule(Level.ERROR, "below zero", lambda number: f"{number} is below zero" if number < 0 else None),
    Rule(Level.WARN, "odd", lambda number: "odd" if number % 2 else None),
    Rule(Level.OK, "else", lambda number: "well"),
)


@pytest.mark.parametrize(
    ("number", "level", "message"),
    [(-1, Level.ERROR, "-1 is below zero"), (3, Level.WARN, "odd"), (2, Level.OK, "well")],
)
def test_the_first_rule_that_applies_decides(number, level, message):
    assert judged("number", number, RULES, {"n": number}) == Status("number", level, message, {"n": number})


def test_rules_that_leave_a_gap_are_a_mistake():
    with pytest.raises(ValueError, match="no rule applies to the number"):
        judged("number", 2, RULES[:2], {})


def test_what_is_unknown_is_left_out_but_not_zero():
    assert known({"a": None, "b": 0, "c": False, "d": ""}) == {"b": 0, "c": False, "d": ""}
