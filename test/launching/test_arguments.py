import pytest

from activesam_ros.errors import SettingsError
from activesam_ros.launching.arguments import (
    LOG_LEVEL,
    NODE_ARGUMENTS,
    RVIZ,
    require_file,
    value,
    with_home,
    words,
)
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


def test_words_keep_their_aliases():
    assert words("[road, 'car, automobile', \"7\"]") == ["road", "car, automobile", "7"]


@pytest.mark.parametrize("text", ["road", "[1, 2]", "[on, off]", "[]", "{a: b}", "[road", "__import__('os')"])
def test_what_is_no_list_of_words_is_refused(text):
    with pytest.raises(SettingsError, match="vocabulary:="):
        words(text)


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
