import pytest

from activesam_ros.errors import SettingsError
from activesam_ros.launching.arguments import NODE_ARGUMENTS
from activesam_ros.launching.parameters import names_cameras, node_parameters, require_one_camera
from activesam_ros.ros.parameters import DEFAULTS


def given(**values):
    return {**{one.name: one.default for one in NODE_ARGUMENTS}, **values}


def test_what_is_not_given_is_left_to_the_file():
    assert node_parameters(given(params_file="mine.yaml")) == {}


def test_every_argument_is_a_parameter_of_that_name():
    names = {one.name for one in NODE_ARGUMENTS} - {"params_file"}
    assert names <= set(DEFAULTS)
    values = {name: "[road]" if name == "vocabulary" else "other" for name in names}
    assert node_parameters(given(**values)) == {**values, "vocabulary": ["road"]}


def test_words_outdo_a_file_with_words_and_the_other_way_round():
    assert node_parameters(given(vocabulary="[road]")) == {"vocabulary": ["road"], "vocabulary_file": ""}
    assert node_parameters(given(vocabulary_file="indoor")) == {
        "vocabulary": list(DEFAULTS["vocabulary"]),
        "vocabulary_file": "indoor",
    }


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("/**: {ros__parameters: {cameras: [front, rear]}}", True),
        ("activesam: {ros__parameters: {cameras: [front]}}", True),
        ("/robot/activesam: {ros__parameters: {cameras: [front]}}", True),
        ("robot: {activesam: {ros__parameters: {cameras: [front]}}}", True),
        ("/**: {ros__parameters: {cameras: []}}", False),
        ("/**: {ros__parameters: {model: toytown}}", False),
        ("driver: {ros__parameters: {cameras: [front]}}", False),
        ("[", False),
        ("", False),
    ],
)
def test_a_parameter_file_that_names_cameras_is_known(tmp_path, text, named):
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    assert names_cameras(str(file)) is named


def test_a_parameter_file_that_cannot_be_read_is_left_to_the_node(tmp_path):
    assert not names_cameras(str(tmp_path / "missing.yaml"))
    assert not names_cameras(str(tmp_path))


def test_cameras_are_refused_where_there_is_one(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("/**: {ros__parameters: {cameras: [front, rear]}}")
    with pytest.raises(SettingsError, match="mine.yaml names cameras, but demo.launch.py has one"):
        require_one_camera("demo.launch.py", str(file))
    file.write_text("/**: {ros__parameters: {model: toytown}}")
    require_one_camera("demo.launch.py", str(file))
    require_one_camera("demo.launch.py", "")
