import pytest

from activesam_ros.errors import ActiveSamError, SettingsError
from activesam_ros.launching.arguments import (
    LOG_LEVEL,
    NODE_ARGUMENTS,
    RVIZ,
    check_values,
    given_in,
    names_cameras,
    node_parameters,
    require_file,
    require_known,
    require_one_camera,
    value,
    with_home,
)
from activesam_ros.ros.parameters import DEFAULTS
from activesam_ros.settings import PROFILES


def test_every_argument_is_described_in_sentences():
    shared = (*NODE_ARGUMENTS, LOG_LEVEL, RVIZ)
    assert len({one.name for one in shared}) == len(shared)
    assert all(one.description[0].isupper() or one.name in ("device", "profile") for one in shared)
    assert all(one.description.endswith(".") for one in shared)


@pytest.mark.parametrize(
    ("kind", "text", "read"),
    [
        (float, "3", 3.0),
        (float, "0.5", 0.5),
        (int, "7", 7),
        (bool, "true", True),
        (bool, "False", False),
        (list, "[255]", [255]),
    ],
)
def test_arguments_have_types(kind, text, read):
    assert value("name", text, kind) == read


@pytest.mark.parametrize(
    ("kind", "text"), [(float, "soon"), (int, "1.5"), (int, "true"), (bool, "1"), (list, "255"), (int, "[")]
)
def test_an_argument_of_another_type_is_refused_by_name(kind, text):
    with pytest.raises(SettingsError, match="name:="):
        value("name", text, kind)


def given(**values):
    return {**{one.name: one.default for one in NODE_ARGUMENTS}, **values}


def test_classes_keep_their_aliases():
    parameters = node_parameters(given(vocabulary="[road, 'car, automobile', \"7\"]"))
    assert parameters["vocabulary"] == ["road", "car, automobile", "7"]


@pytest.mark.parametrize("text", ["road", "[1, 2]", "[on, off]", "[]", "{a: b}", "[road", "__import__('os')"])
def test_what_is_no_list_of_classes_is_refused(text):
    with pytest.raises(SettingsError, match="vocabulary:="):
        node_parameters(given(vocabulary=text))


def test_a_file_that_is_not_there_is_refused_by_the_arguments_name(tmp_path):
    file = tmp_path / "mine.yaml"
    for path in (file, tmp_path):
        with pytest.raises(SettingsError, match=f"params_file:={path} is no file"):
            require_file("params_file", str(path))
    file.touch()
    require_file("params_file", str(file))
    require_file("params_file", "")


def test_profiles_are_those_of_the_settings():
    (profile,) = (one for one in NODE_ARGUMENTS if one.name == "profile")
    assert profile.choices == ("", *PROFILES)


def test_only_paths_begin_in_the_home_folder(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    given = {"model": "~/sam3", "params_file": "~/mine.yaml", "device": "~/cuda", "vocabulary": "~/road"}
    expected = {**given, "model": "/home/me/sam3", "params_file": "/home/me/mine.yaml"}
    assert with_home(NODE_ARGUMENTS, given) == expected


# Parameters of the node.


def test_what_is_not_given_is_left_to_the_file():
    assert node_parameters(given(params_file="mine.yaml")) == {}


def test_every_argument_is_a_parameter_of_that_name():
    names = {one.name for one in NODE_ARGUMENTS} - {"params_file"}
    assert names <= set(DEFAULTS)
    values = {name: "[road]" if name == "vocabulary" else "other" for name in names}
    assert node_parameters(given(**values)) == {**values, "vocabulary": ["road"]}


def test_what_a_camera_has_beside_them_is_typed():
    more = {"max_rate": "5", "queue": "all", "image_transport": "compressed", "autostart": "false"}
    expected = {"max_rate": 5.0, "queue": "all", "image_transport": "compressed", "autostart": False}
    assert node_parameters(given(**more)) == expected
    assert node_parameters(given(**dict.fromkeys(more, ""))) == {}


def test_unknown_arguments_are_refused_with_the_nearest():
    require_known(["model", "vocabulary"], NODE_ARGUMENTS)
    with pytest.raises(
        SettingsError, match=r"no argument modell:=; did you mean model\?; expected some of model, "
    ):
        require_known(["model", "modell"], NODE_ARGUMENTS)


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"model": "/no/such"}, "folder /no/such does not exist"),
        ({"device": "gpu"}, "expected auto"),
        ({"vocabulary_file": "/no/such"}, "no vocabulary file /no/such"),
        ({"vocabulary": ["road", "Road"]}, "oad"),
        ({"max_rate": -1.0}, "max_rate"),
    ],
)
def test_values_are_checked_before_anything_starts(parameters, said):
    check_values({"model": "toytown", "vocabulary_file": "toytown", "use_sim_time": True})
    with pytest.raises(ActiveSamError, match=said):
        check_values(parameters)


def test_what_a_file_gives_is_found_in_any_namespace(tmp_path):
    file = tmp_path / "file.yaml"
    file.write_text(
        "robot: {activesam: {ros__parameters: {profile: paper}}}\nother: {ros__parameters: {model: toytown}}"
    )
    assert given_in(str(file), "profile") == "paper"
    assert given_in(str(file), "model") is given_in("", "profile") is None


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
    with pytest.raises(SettingsError, match=r"mine\.yaml names cameras, but demo\.launch\.py has one"):
        require_one_camera("demo.launch.py", str(file))
    file.write_text("/**: {ros__parameters: {model: toytown}}")
    require_one_camera("demo.launch.py", str(file))
    require_one_camera("demo.launch.py", "")
