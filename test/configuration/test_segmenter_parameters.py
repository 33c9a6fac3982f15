"""An evaluation runs the segmenter that the node would run with the same parameters."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from activesam_ros.configuration.configuration import first_configuration
from activesam_ros.configuration.segmenter_parameters import read_parameters
from activesam_ros.errors import ActiveSamError, SettingsError, VocabularyError
from activesam_ros.ros.parameters import DEFAULTS
from activesam_ros.settings import GOVERNED
from activesam_ros.vocabulary.files import load_vocabulary_file

SHIPPED = Path(__file__).resolve().parents[2] / "config" / "activesam.yaml"


@pytest.fixture
def file(tmp_path):
    def write(content) -> Path:
        path = tmp_path / "parameters.yaml"
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
        return path

    return write


def of_node(**parameters):
    return {"/**": {"ros__parameters": parameters}}


def test_nothing_given_is_the_node_s_defaults():
    got, node = read_parameters(), first_configuration({})
    assert (got.vocabulary, got.settings) == (node.vocabulary, node.settings)
    assert (got.model, got.device, got.dtype) == ("facebook/sam3", "auto", "auto")


def test_the_shipped_file_changes_nothing():
    assert read_parameters(SHIPPED) == read_parameters()


def test_a_file_brings_words_settings_and_model(file):
    path = file(
        of_node(
            model="toytown",
            device="cpu",
            dtype="float32",
            vocabulary=["road", "car, automobile"],
            background_class="road",
            keep_fraction=0.5,
            full_resolution=160,
            cameras=["front"],
            queue="all",
        )
    )
    got = read_parameters(path)
    assert got.vocabulary.names == ("road", "car") and got.vocabulary.background_id == 0
    assert (got.settings.keep_fraction, got.settings.full_resolution) == (0.5, 160)
    assert (got.model, got.device, got.dtype) == ("toytown", "cpu", "float32")


def test_the_node_s_own_section_wins_over_the_general_one(file):
    content = {
        "activesam": {"ros__parameters": {"max_active": 7}},
        "/**": {"ros__parameters": {"max_active": 5, "bucket_size": 4}},
        "another": {"ros__parameters": {"max_active": 6}},
    }
    settings = read_parameters(file(content)).settings
    assert (settings.max_active, settings.bucket_size) == (7, 4)


def test_an_assignment_wins_over_the_file(file):
    got = read_parameters(file(of_node(max_active=7, keep_fraction=0.5)), ["max_active=3", "model=toytown"])
    assert (got.settings.max_active, got.settings.keep_fraction, got.model) == (3, 0.5, "toytown")


def test_a_vocabulary_wins_over_both(file):
    got = read_parameters(
        file(of_node(vocabulary=["floor"])), ["vocabulary=[wall, door]"], "road; car, automobile"
    )
    assert [one.prompts for one in got.vocabulary.classes] == [("road",), ("car", "automobile")]
    got = read_parameters(file(of_node(vocabulary_file="indoor")), vocabulary="cityscapes")
    assert got.vocabulary == load_vocabulary_file("cityscapes").vocabulary()


def test_a_preset_brings_its_background_and_threshold():
    preset = load_vocabulary_file("voc21")
    got = read_parameters(vocabulary="voc21")
    assert got.vocabulary.background_id is not None
    assert got.settings.background_threshold == preset.background_threshold > 0
    assert read_parameters(None, ["background_threshold=0.7"], "voc21").settings.background_threshold == 0.7


def test_a_file_of_words(tmp_path):
    path = tmp_path / "words, mine.txt"
    path.write_text("floor\nchair, stool\n")
    assert read_parameters(vocabulary=str(path)).vocabulary.names == ("floor", "chair")


def test_one_class_with_aliases_ends_in_a_semicolon():
    assert read_parameters(vocabulary="person, pedestrian;").vocabulary.names == ("person",)
    with pytest.raises(VocabularyError, match=r"'road, car, sky' would be one class.*semicolons"):
        read_parameters(vocabulary="road, car, sky")


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        ("keep_fraction", "'keep_fraction' sets nothing; expected NAME=VALUE"),
        ("=3", "'=3' sets nothing"),
        ("speed=3", "no parameter 'speed'.*keep_fraction"),
        ("queue=all", "no parameter 'queue' that a recording could use"),
        ("keep_fraction=[", "not NAME=VALUE with a value in YAML"),
        ("keep_fraction=2.0", "keep_fraction"),
        ("keep_fraction=much", "keep_fraction is 'much'"),
        ("max_active=1.5", "max_active is 1.5"),
        ("background_class=", "background_class is None"),
        ("model=3", "model is 3"),
    ],
)
def test_what_is_wrong_with_an_assignment_is_said(assignment, said):
    with pytest.raises(ActiveSamError, match=said) as refused:
        read_parameters(assignments=[assignment])
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "cannot be read"),
        ("just words", "no parameters for the node; expected /activesam or"),
        ("", "no parameters for the node"),
        (of_node(), "no parameters for the node"),
        ({"another": {"ros__parameters": {"max_active": 3}}}, "no parameters for the node"),
        (of_node(keep_fraction="much"), "keep_fraction is 'much'"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(file, content, said):
    with pytest.raises(SettingsError, match=said) as refused:
        read_parameters(file(content))
    assert "\n" not in str(refused.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(SettingsError, match=r"parameter file .*missing.yaml cannot be read"):
        read_parameters(tmp_path / "missing.yaml")
    with pytest.raises(VocabularyError, match="nonexistent"):
        read_parameters(vocabulary="nonexistent")


def test_every_parameter_of_a_running_node_may_be_in_the_file(file):
    dump = {name: list(value) if isinstance(value, tuple) else value for name, value in DEFAULTS.items()}
    dump["qos_overrides"] = {"/image": {"subscription": {"depth": 3}}}
    assert read_parameters(file({"/activesam": {"ros__parameters": dump}})) == read_parameters()


@pytest.mark.parametrize("name", GOVERNED)
@pytest.mark.parametrize("where", ["file", "assignment"])
def test_a_given_value_wins_over_the_profile_also_when_it_is_the_default(file, name, where):
    default = dict(DEFAULTS)[name]
    assert read_parameters(None, ["profile=realtime"]).settings != read_parameters().settings
    if where == "file":
        got = read_parameters(file(of_node(profile="realtime", **{name: default})))
    else:
        got = read_parameters(file(of_node(profile="realtime")), [f"{name}={default}"])
    expected = read_parameters(None, ["profile=realtime"]).settings
    given = getattr(read_parameters().settings, name)
    assert got.settings == replace(expected, **{name: given})


def test_sections_and_names_are_read_as_the_node_reads_them(tmp_path, caplog):
    file = tmp_path / "file.yaml"
    parameters = "{vocabulary: [road], max_rate: 5.0, vocabluary: [sky], qos_overrides: {/image: {depth: 1}}}"
    for section in ("/**/activesam", "/*", "activesam", "/activesam"):
        caplog.clear()
        file.write_text(f"{section}: {{ros__parameters: {parameters}}}")
        assert read_parameters(file).vocabulary.names == ("road",)
        (warning,) = caplog.messages
        assert "no parameter 'vocabluary', so it has no effect; did you mean vocabulary?" in warning
    file.write_text("/robot/segmenter: {ros__parameters: {model: toytown}}")
    with pytest.raises(SettingsError, match="no parameters for the node, but for /robot/segmenter"):
        read_parameters(file)
    file.write_text("/**: {ros__parameters: {vocabulary: {classes: [road]}}}")
    caplog.clear()
    assert "classes" not in read_parameters(file).vocabulary.names
    assert (
        "no parameter 'vocabulary.classes', so it has no effect; vocabulary takes no mapping" in caplog.text
    )
    with pytest.raises(SettingsError, match="did you mean keep_fraction"):
        read_parameters(None, ["keep_fracton=0.5"])
