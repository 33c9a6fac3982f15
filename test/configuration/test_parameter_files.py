import pytest

from activesam_ros.configuration.parameter_files import files_for_others, matches


@pytest.mark.parametrize(
    ("section", "name", "ours"),
    [
        ("/**", "/activesam", True),
        ("/*", "/activesam", True),
        ("/activesam", "/activesam", True),
        ("/**/activesam", "/activesam", True),
        ("/**/activesam", "/fleet/robot/activesam", True),
        ("/*/activesam", "/robot/activesam", True),
        ("/activesam", "/robot/activesam", False),
        ("/*/activesam", "/activesam", False),
        ("/activesam_node", "/activesam", False),
        ("/activesa.", "/activesam", False),
    ],
)
def test_sections_are_for_nodes_as_ros_matches_them(section, name, ours):
    assert matches(section, name) == ours


def test_files_for_other_nodes_are_told(tmp_path):
    texts = {
        "other": "segmenter: {ros__parameters: {model: toytown}}",
        "ours": "activesam: {ros__parameters: {model: toytown}}",
        "nested": "robot: {activesam: {ros__parameters: {model: toytown}}}",
        "nothing": "[",
    }
    arguments = ["activesam", "--ros-args"]
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
        arguments += ["--params-file", str(tmp_path / name)]
    arguments += ["--params-file", "/no/such", "--params-file"]
    (other, nested) = files_for_others(arguments, "/activesam")
    assert "has no parameters for /activesam, but for /segmenter; name them /activesam or /**" in other
    assert "but for /robot/activesam" in nested
    (other, ours) = files_for_others(arguments, "/robot/activesam")
    assert str(tmp_path / "ours") in ours
