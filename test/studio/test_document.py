"""What is edited in the studio: classes and settings, undo, files, and the same as calls to a node."""

import shlex

import pytest
import yaml

from activesam_ros.configuration.configuration import next_configuration
from activesam_ros.errors import ActiveSamError, SettingsError, VocabularyError
from activesam_ros.studio.document import (
    Document,
    History,
    changed_parameters,
    difference,
    from_hex,
    param_commands,
    start_document,
)
from activesam_ros.studio.sharing import Control, VocabularyFiles
from activesam_ros.vocabulary.files import load_vocabulary_file


@pytest.fixture
def yard():
    return start_document({"vocabulary": ["road", "car, automobile", "sky"], "background_class": "sky"})


def names(document):
    return document.vocabulary.names


def test_edits_keep_the_ids_and_colours_of_what_stays(yard):
    road, car, sky = yard.vocabulary.classes
    more = yard.added("tree, bush; 日本 <b>").removed(road.class_id)
    assert names(more) == ("car", "sky", "tree", "日本 <b>")
    assert more.vocabulary.classes[:2] == (car, sky) and more.background == "sky"
    renamed = yard.renamed(car.class_id, "  vehicle ").vocabulary.classes[1]
    assert (renamed.name, renamed.prompts, renamed.colour) == (
        "vehicle",
        ("vehicle", "automobile"),
        car.colour,
    )
    assert yard.renamed(sky.class_id, "heaven").background == "heaven"
    assert yard.removed(sky.class_id).background is None
    assert yard.asking(road.class_id, "asphalt, street").vocabulary.prompts[:2] == ("asphalt", "street")
    assert yard.asking(car.class_id, " ").vocabulary.classes[1].prompts == ("car",)
    assert names(yard.moved(sky.class_id, -5)) == ("sky", "road", "car")
    assert yard.moved(sky.class_id, -5).vocabulary.class_ids == (2, 0, 1)
    assert yard.recoloured(0, from_hex("#01ff10")).vocabulary.colours[0] == (1, 255, 16)


@pytest.mark.parametrize(
    ("step", "why"),
    [
        (lambda now: now.added("Road"), "both ask for"),
        (lambda now: now.added(" ; "), "no name is given"),
        (lambda now: now.added("tree,"), "blank alias"),
        (lambda now: now.renamed(1, "sky"), "both ask for"),
        (lambda now: now.renamed(1, "van, bus"), "has a comma"),
        (lambda now: now.renamed(9, "sky"), "no class has the id 9"),
        (lambda now: now.removed(0).removed(1).removed(2), "empty"),
        (lambda now: now.recoloured(0, from_hex("red")), "expected #rrggbb"),
        (lambda now: now.with_values({"keep_fraction": 2.0}), "keep_fraction is 2"),
        (lambda now: now.with_values({"vocabulary_file": "nowhere.yaml"}), "no vocabulary file"),
    ],
)
def test_what_is_wrong_is_refused_with_a_sentence(yard, step, why):
    with pytest.raises(ActiveSamError, match=why):
        step(yard)


def test_undo_and_redo(yard):
    history = History(yard)
    history = history.then(yard.added("tree")).then(history.now.added("tree").added("pole"))
    assert names(history.undone().now) == (*names(yard), "tree")
    assert history.undone().undone().undone().now is yard
    assert history.undone().redone().redone().now is history.now
    assert history.undone().then(yard).after == ()
    assert history.then(history.now) is history


def test_a_saved_vocabulary_is_read_again_as_it_was(yard, tmp_path):
    before = yard.asking(0, "asphalt").recoloured(2, (9, 8, 7)).with_values({"background_threshold": 0.25})
    path = VocabularyFiles([tmp_path]).save("my yard", before.as_yaml())
    assert path == tmp_path.resolve() / "my yard.yaml"
    file = load_vocabulary_file(path)
    assert (file.vocabulary(), file.background_threshold) == (before.vocabulary, 0.25)


def test_the_calls_bring_a_node_to_the_same_state(yard):
    now = yard.added("tree").removed(2).with_values({"profile": "fast", "background_threshold": 0.1})
    lines = param_commands(yard, now)
    configuration = yard.configuration
    for line in lines:
        _, _, _, node, name, value = shlex.split(line)
        assert node == "/activesam"
        configuration = next_configuration(configuration, {name: yaml.safe_load(value)}, 2)
    assert configuration.values == now.configuration.values
    assert configuration.vocabulary.names == names(now)
    assert difference(yard, now)[:2] == ["+ tree", "- sky"]
    assert "~ background_threshold is 0.1 (was: 0.4)" in difference(yard, now)


def test_what_parameters_cannot_say_needs_a_file(yard):
    first, second = param_commands(
        yard, yard.with_classes(yard.asking(0, "asphalt")._specs(), "sky").asking(0, "a, b")
    )
    assert "save the classes as a file" in first and "vocabulary_file" in second
    with pytest.raises(VocabularyError, match="takes colours from a file only"):
        changed_parameters(yard, yard.recoloured(0, (1, 2, 3)))


def test_files_stay_within_the_folders(tmp_path, yard):
    inside, outside = tmp_path / "in", tmp_path / "out"
    inside.mkdir()
    outside.mkdir()
    (outside / "secret.yaml").write_text("classes: [road]")
    (inside / "link.yaml").symlink_to(outside / "secret.yaml")
    (inside / "mine.txt").write_text("road")
    files = VocabularyFiles([inside])
    assert [name for name in files.names() if "/" in name] == [str(inside.resolve() / "mine.txt")]
    assert files.source("ade20k") == "ade20k"
    for name in (
        "../out/secret.yaml",
        str(outside / "secret.yaml"),
        str(inside / "link.yaml"),
        "/etc/passwd",
    ):
        with pytest.raises(VocabularyError, match="neither a preset nor"):
            files.source(name)
    for name in ("../x", "a/b", "", ".hidden", "link.yaml"):
        with pytest.raises(VocabularyError):
            files.save(name, yard.as_yaml())
    assert sorted(one.name for one in tmp_path.rglob("*.yaml")) == ["link.yaml", "secret.yaml"]
    with pytest.raises(VocabularyError, match="no folder was given"):
        VocabularyFiles([]).save("x", "")
    with pytest.raises(ActiveSamError, match="there is no folder"):
        VocabularyFiles([tmp_path / "gone"])


def test_one_changes_at_a_time():
    clock = [0.0]
    control = Control(lambda: clock[0])
    assert control.holds("one") and control.claim("one")
    assert not control.holds("two") and not control.claim("two")
    control.take("two")
    assert control.claim("two") and not control.claim("one")
    clock[0] = 1000.0
    assert control.claim("one") and not control.claim("two")
    control.release("two")
    assert not control.claim("two")
    control.release("one")
    assert control.claim("two")


def test_a_document_is_what_the_node_has_at_its_start():
    assert isinstance(start_document({}), Document)
    with pytest.raises(SettingsError):
        start_document({"profile": "best"})
