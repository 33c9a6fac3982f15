"""The YAML form: what its keys mean, and refusals that name the line."""

import pytest

from activesam_ros.errors import VocabularyError
from activesam_ros.vocabulary import ClassSpec
from activesam_ros.vocabulary.formats import FormatError, parse_yaml


def parse(text):
    try:
        return parse_yaml(text)
    except FormatError as error:
        raise error.located_in("v.yaml") from error


def test_strings_and_mappings_make_classes():
    content = parse(
        """\
        description: >-
          Two lines
          of prose.
        source: our own
        background: Ground
        background_threshold: 0.25
        classes:
          - " car ,  motor   car"
          - {name: plants, prompts: [tree, low  hedge], colour: [1, 2, 3]}
          - name: ground
            prompts: soil, sand
          - name: sky
        """
    )
    assert content.classes == (
        ClassSpec("car", ("car", "motor car")),
        ClassSpec("plants", ("tree", "low hedge"), (1, 2, 3)),
        ClassSpec("ground", ("soil", "sand")),
        ClassSpec("sky", ("sky",)),
    )
    assert content.background == "ground"
    assert content.background_threshold == 0.25
    assert content.description == "Two lines of prose."
    assert content.origin == "our own"


def test_what_is_left_out_is_not_named():
    content = parse("classes: [road]")
    assert (content.background, content.background_threshold) == (None, None)
    assert (content.description, content.origin) == ("", "")


@pytest.mark.parametrize(("written", "threshold"), [("0", 0.0), ("1", 1.0), ("4.0e-1", 0.4)])
def test_thresholds(written, threshold):
    value = parse(f"background_threshold: {written}\nclasses: [road]").background_threshold
    assert value == threshold
    assert isinstance(value, float)


def test_a_group_becomes_one_class_in_the_place_of_its_first_member():
    content = parse(
        """\
        classes: [road, "car, automobile", sky, {name: lorry, prompts: [truck, automobile]}, bus, cat]
        background: Vehicle
        groups:
          vehicle: [lorry, car, Bus]
          pet: {classes: [cat], colour: [9, 8, 7]}
        """
    )
    assert content.classes == (
        ClassSpec("road", ("road",)),
        ClassSpec("vehicle", ("truck", "automobile", "car", "bus"), None, ("lorry", "car", "bus")),
        ClassSpec("sky", ("sky",)),
        ClassSpec("pet", ("cat",), (9, 8, 7), ("cat",)),
    )
    assert content.background == "vehicle"


def test_a_group_may_have_the_name_of_its_member():
    content = parse("classes: [car, truck]\ngroups: {car: [truck, car]}")
    assert content.classes == (ClassSpec("car", ("truck", "car"), None, ("truck", "car")),)


def test_an_alias_of_yaml_is_what_it_stands_for():
    content = parse("classes: [{name: a, colour: &grey [5, 5, 5]}, {name: b, colour: *grey}]")
    assert [entry.colour for entry in content.classes] == [(5, 5, 5), (5, 5, 5)]


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("classes: [road\n", 2, r"this is not YAML \(expected ',' or ']'"),
        ("classes:\n\t- road\n", 2, r"not YAML \(found character '\\t'"),
        ("classes: [road]\n---\nclasses: [car]\n", 2, "expected a single document"),
        ("classes:\n- road\n- a\x01b\n", 3, r"not YAML \(special characters are not allowed: #x0001"),
        ("classes: [*road]", 1, "undefined alias"),
        ("- road\n- car\n", 1, "a vocabulary file is not a mapping"),
        ("description: road\n", 1, "the key classes is missing"),
        ("classes: [road]\ncolours: {}\n", 2, "unknown key 'colours'"),
        ("classes: [road]\nbackgroud: road\n", 2, r"'backgroud' \(did you mean 'background'\?\)"),
        ("classes: [road]\nclasses: [car]\n", 2, r"the key 'classes' twice \(first in line 1\)"),
        ("classes: [road]\n7: x\n", 2, "a key of a vocabulary file is '7', which YAML reads as a number"),
        ("classes: road\n", 1, "classes is not a list"),
        ("classes: []\n", 1, "classes is empty"),
        ("classes:\n- road\n- 7\n", 3, "the class is '7', which YAML reads as a number; put it in quotes"),
        ("classes:\n- no\n", 2, "'no', which YAML reads as a truth value"),
        ("classes:\n- 2024-05-01\n", 2, "reads as a date"),
        ("classes:\n- road\n-\n", 3, "the class is missing"),
        ("classes:\n- [road]\n", 2, "a class is not a mapping"),
        ("classes:\n- &a [*a]\n", 2, "a class is not a mapping"),
        ("classes:\n- !!python/object:os.system x\n", 2, "which YAML reads as .*python/object"),
        ("classes:\n- ''\n", 2, "blank name"),
        ("classes:\n- road\n- car,, auto\n", 3, "blank alias"),
        ("classes:\n- car, '!'\n", 2, "no letter or digit"),
        ("classes:\n- {prompts: [car]}\n", 2, "the class has no name"),
        ("classes:\n- {name: car, color: [1, 2, 3]}\n", 2, r"'color' \(did you mean 'colour'\?\)"),
        ("classes:\n- {name: 'car, auto'}\n", 2, "name is 'car, auto'; expected one phrase"),
        ("classes:\n- {name: ' '}\n", 2, "name is blank"),
        ("classes:\n- {name: '?!'}\n", 2, "no letter or digit"),
        ("classes:\n- name: car\n  prompts: []\n", 3, "prompts is empty"),
        ("classes:\n- name: car\n  prompts:\n  - auto\n  - [x]\n", 5, "the prompt is a list"),
        ("classes:\n- name: car\n  prompts: ['auto, car']\n", 3, "list prompts one by one"),
        ("classes:\n- name: car\n  prompts: {a: b}\n", 3, "prompts is not a list"),
        ("classes:\n- name: car\n  colour: red\n", 3, r"the colour is not \[red, green, blue\]"),
        ("classes:\n- name: car\n  colour: [1, 2]\n", 3, "three whole numbers"),
        ("classes:\n- name: car\n  colour: [1, 2, 256]\n", 3, "three whole numbers"),
        ("classes:\n- name: car\n  colour: [1, -2, 3]\n", 3, "three whole numbers"),
        ("classes:\n- name: car\n  colour: [1, 2.0, 3]\n", 3, "three whole numbers"),
        ("classes:\n- name: car\n  colour: [1, yes, 3]\n", 3, "three whole numbers"),
        ("classes:\n- road\n- car\n- Road\n", 4, r"'Road' has the same name as 'road' \(line 2\)"),
        ("classes:\n- car, auto\n- truck, Auto\n", 3, r"'truck' and 'car' \(line 2\) both ask for 'Auto'"),
        ("classes:\n- toy\n- plaything\n", 3, "both ask for 'toy'"),
        ("classes:\n- car, auto\n- bus\n- auto\ngroups: {g: [bus, car]}\n", 4, "'auto' and 'car' "),
        ("classes:\n- a, x\n- b, x\ngroups: {g: [a], h: [b]}\n", 3, "'b' and 'a' .* both ask for 'x'"),
        ("classes: [a]\nbackground: b\n", 2, "the background 'b' is not the name of a class"),
        ("classes: [floor]\nbackground: flor\n", 2, "did you mean 'floor'"),
        ("classes: [a]\nbackground:\n", 2, "background is missing"),
        ("classes: [a]\nbackground: ''\n", 2, "background is blank"),
        ("classes: [a, b]\nbackground: a\ngroups: {g: [a, b]}\n", 2, r"member of the group 'g' \(line 3\)"),
        ("classes: [a]\nbackground_threshold: 1.5\n", 2, "is '1.5'; expected a number from 0 to 1"),
        ("classes: [a]\nbackground_threshold: .nan\n", 2, "is '.nan'; expected"),
        ("classes: [a]\nbackground_threshold: yes\n", 2, "is 'yes'; expected"),
        ("classes: [a]\nbackground_threshold: '0.4'\n", 2, "is '0.4'; expected"),
        ("classes: [a]\nbackground_threshold: [0]\n", 2, "is no number; expected"),
        ("classes: [a]\ngroups: [a]\n", 2, "groups is not a mapping"),
        ("classes: [a]\ngroups:\n  g: a\n", 3, "the group 'g' is not a list"),
        ("classes: [a]\ngroups:\n  g: []\n", 3, "the group 'g' is empty"),
        ("classes: [a]\ngroups:\n  g:\n  - a\n  - bus\n", 5, "the member 'bus', which is not in classes"),
        ("classes: [a]\ngroups:\n  g:\n  - a\n  - A\n", 5, "the member 'A' twice"),
        ("classes: [a, b]\ngroups:\n  g: [a]\n  h: [b, a]\n", 4, r"'a' is in the group 'g' \(line 3\) too"),
        ("classes: [a, b]\ngroups:\n  g: [a]\n  h: [g, b]\n", 4, "the member 'g', which is not in classes"),
        ("classes: [a, b]\ngroups:\n  b: [a]\n", 3, r"'b' has the same name as 'b' \(line 1\)"),
        ("classes: [a]\ngroups:\n  g: {colour: [1, 2, 3]}\n", 3, "lacks the key classes"),
        ("classes: [a]\ngroups:\n  g: {classes: [a], prompts: [b]}\n", 3, "unknown key 'prompts'"),
        ("classes: [a]\ngroups:\n  g: [a]\n  g: [a]\n", 4, "the key 'g' twice"),
        ("classes: [a]\ndescription: [x]\n", 2, "description is a list; expected text"),
    ],
)
def test_refusals_name_the_line(text, line, reason):
    with pytest.raises(VocabularyError, match=reason) as refusal:
        parse(text)
    assert str(refusal.value).startswith(f"v.yaml, line {line}: ")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n"])
def test_an_empty_file(text):
    with pytest.raises(VocabularyError, match=r"v\.yaml is empty"):
        parse(text)


def test_a_maze_of_brackets_is_refused():
    with pytest.raises(VocabularyError, match="nested too deeply"):
        parse("classes: " + "[" * 20_000 + "]" * 20_000)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("classes: [road]\nclasses: [car]\n", 2),
        ("classes:\n- {name: road, name: car}\n", 2),
        ("classes: [road, car]\ngroups:\n  a: [road]\n  a: [car]\n", 4),
    ],
)
def test_a_key_that_stands_twice_is_refused(text, line):
    with pytest.raises(VocabularyError, match=rf"line {line}: .* has the key .* twice"):
        parse(text)


def test_control_characters_are_refused():
    with pytest.raises(
        VocabularyError, match=r"line 2: 'ro\\x00ad' has the control character U\+0000; remove it"
    ):
        parse('classes:\n- "ro\\0ad"\n')
    with pytest.raises(VocabularyError, match=r"line 1: .*U\+001C"):
        parse('classes: [{name: road, prompts: ["a\\x1cb"]}]\n')


def test_a_mark_before_a_prompt_is_no_part_of_the_name():
    content = parse(
        "background: mouse\nclasses: ['=mouse, rat', {name: =tie}, {name: x, prompts: [=remote]}]\n"
    )
    assert content.classes == (
        ClassSpec("mouse", ("=mouse", "rat")),
        ClassSpec("tie", ("=tie",)),
        ClassSpec("x", ("=remote",)),
    )
    assert content.background == "mouse"
