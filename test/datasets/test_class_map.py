"""Class maps from recordings and files, and which classes they share with a vocabulary."""

import numpy as np
import pytest

from activesam_ros.datasets.class_map import (
    NOT_COUNTED,
    ClassMap,
    match_classes,
    read_class_map,
    read_mapping,
    recorded_class_map,
)
from activesam_ros.datasets.recordings import Recording
from activesam_ros.errors import EvaluationError
from activesam_ros.vocabulary import ClassSpec, Vocabulary

VOCABULARY = Vocabulary.from_names(["road", "car, automobile", "Traffic Light", "sky"])


def matched(names, ignore=(), mapping=None, vocabulary=VOCABULARY):
    return match_classes(vocabulary, ClassMap(names, frozenset(ignore)), mapping)


def refusal(call, *arguments, **options) -> str:
    with pytest.raises(EvaluationError) as raised:
        call(*arguments, **options)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_names_match_before_aliases_whatever_their_case_and_punctuation():
    found = matched({3: "automobile", 7: "traffic-light", 9: "ROAD", 11: "unicorn"})
    # Evaluated classes stand in vocabulary order: road, car, traffic light.
    assert found.classes == ("road", "car", "Traffic Light")
    assert found.truth_index == {9: 0, 3: 1, 7: 2}
    assert found.label_index == {0: 0, 1: 1, 2: 2}
    assert found.unmatched_truth == ("unicorn",) and found.unmatched_vocabulary == ("sky",)


def test_a_display_name_goes_before_an_alias_of_another_class():
    vocabulary = Vocabulary.from_specs([ClassSpec("vehicle", ("car",)), ClassSpec("car", ("automobile",))])
    assert matched({5: "car"}, vocabulary=vocabulary).classes == ("car",)
    assert matched({5: "automobile"}, vocabulary=vocabulary).classes == ("car",)


def test_members_of_a_group_are_that_group():
    group = ClassSpec("vehicle", ("sedan", "lorry"), None, ("car", "truck"))
    found = matched({1: "car", 2: "truck", 3: "lorry"}, vocabulary=Vocabulary.from_specs([group]))
    assert found.classes == ("vehicle",) and found.truth_index == {1: 0, 2: 0, 3: 0}


def test_synonyms_in_the_truth_are_tried_one_by_one():
    found = matched({1: "motorcar; automobile", 2: "firmament,sky"})
    assert found.classes == ("car", "sky") and found.truth_index == {1: 0, 2: 1}


def test_ids_of_the_vocabulary_are_used_not_its_positions():
    edited = VOCABULARY.updated(["sky", "lake", "car"])
    found = matched({1: "sky", 2: "lake", 3: "car"}, vocabulary=edited)
    assert edited.class_ids == (3, 4, 1) and found.label_index == {3: 0, 4: 1, 1: 2}


def test_a_mapping_goes_before_and_can_leave_classes_out():
    mapping = {"Automobile": "sky", "lane": "road", "road": None}
    found = matched({1: "automobile", 2: "lane", 3: "road"}, mapping=mapping)
    assert found.classes == ("road", "sky") and found.truth_index == {1: 1, 2: 0}
    assert found.unmatched_truth == ("road",)


def test_a_mapping_with_unknown_names_is_refused():
    assert "'rode', which is no class of the ground truth (did you mean 'road'?)" in refusal(
        matched, {1: "road"}, mapping={"rode": "road"}
    )
    assert "'road' as 'skyy', which the vocabulary lacks (did you mean 'sky'?)" in refusal(
        matched, {1: "road"}, mapping={"road": "skyy"}
    )


def test_ignored_ids_do_not_count_and_are_not_listed():
    found = match_classes(VOCABULARY, ClassMap({0: "road", 1: "car", 2: "fog"}).ignoring([1, 2, 9]))
    assert found.classes == ("road",) and found.unmatched_truth == ()
    image = np.array([[0, 1, 2, 9, 7, 255]], np.uint8)
    assert found.truth_of(image).tolist() == [[0, -1, -1, -1, -1, -1]]
    assert found.unknown_ids(image) == {7: 1}


def test_nothing_in_common_is_refused():
    said = refusal(matched, {1: "cat", 2: "dog"})
    assert (
        "no class of the ground truth (cat, dog) is in the vocabulary (road, car, Traffic Light, sky)" in said
    )
    assert "and 4 more" in refusal(matched, {number: f"thing {number}" for number in range(12)})


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int64])
def test_images_become_evaluated_indices(dtype):
    found = matched({10: "sky", 20: "road", 30: "unicorn"})
    truth = np.array([[10, 20, 30], [40, 255, 20]], dtype)
    labels = np.array([[3, 0, 1], [2, 255, 9]], dtype)
    assert found.classes == ("road", "sky")
    true, predicted = found.truth_of(truth), found.labels_of(labels, 255)
    assert true.dtype == predicted.dtype == np.int32
    assert true.tolist() == [[1, 0, -1], [-1, -1, 0]] and NOT_COUNTED == -1
    assert predicted.tolist() == [[1, 0, 2], [2, 2, 2]]


def test_wide_and_negative_values_are_no_class():
    found = matched({60_000: "sky", 0: "road"})
    assert found.truth_of(np.array([60_000, 65_535], np.uint16)).tolist() == [1, -1]
    assert found.truth_of(np.array([-1, 70_000, 0])).tolist() == [-1, -1, 0]
    assert found.unknown_ids(np.array([60_000, 65_535, 5, 255], np.uint16)) == {5: 1, 255: 1}
    assert found.labels_of(np.array([3, 0], np.uint16), 3).tolist() == [2, 0]


@pytest.mark.parametrize(
    ("text", "names", "ignore"),
    [
        ("classes: {0: road, 5: car}\nignore: [255, 5]", {0: "road", 5: "car"}, {255, 5}),
        ("classes: [road, car]", {0: "road", 1: "car"}, set()),
        ("classes:\n  7: 'no'\n  8: 'no'\nignore:", {7: "no", 8: "no"}, set()),
    ],
)
def test_class_maps_from_yaml(tmp_path, text, names, ignore):
    file = tmp_path / "classes.yaml"
    file.write_text(text)
    assert read_class_map(file) == ClassMap(names, frozenset(ignore))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "names no classes; expected classes: {0: road, 1: car}"),
        ("- road", "names no classes"),
        ("classes: {}", "names no classes"),
        ("classes: road", "has 'road' as classes"),
        ("classes: [road]\nignored: [1]", "has the key 'ignored'; expected only classes and ignore"),
        ("classes: [road]\nignore: 255", "has 255 as ignore; expected a list of ids"),
        ("classes: {road: 0}", "has the id 'road'; expected a number from 0 to 65535"),
        ("classes: {-1: road}", "has the id -1"),
        ("classes: {true: road}", "has the id True"),
        ("classes: [road]\nignore: [70000]", "has the id 70000"),
        ("classes: [no]", "names the id 0 False; expected a name, in quotes if need be"),
        ("classes: ['--']", "names the id 0 '--'"),
        ("classes: [road", "cannot be read"),
    ],
)
def test_what_is_no_class_map_is_refused(tmp_path, text, said):
    file = tmp_path / "classes.yaml"
    file.write_text(text)
    assert said in refusal(read_class_map, file)


def test_missing_and_binary_files_are_refused(tmp_path):
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    for name in ("gone.yaml", "binary.yaml"):
        assert "cannot be read" in refusal(read_class_map, tmp_path / name)
        assert "cannot be read" in refusal(read_mapping, tmp_path / name)


def test_mappings_from_yaml(tmp_path):
    file = tmp_path / "map.yaml"
    file.write_text("automobile: car\nlane: null\n")
    assert read_mapping(file) == {"automobile": "car", "lane": None}
    for text, said in {
        "": "maps nothing",
        "[a]": "maps nothing",
        "car: no": "maps 'car' to False",
        "1: car": "maps 1",
    }.items():
        file.write_text(text)
        assert said in refusal(read_mapping, file)


class TestRecorded:
    """Class maps of recordings."""

    def source(self, bags, *infos, images=("/truth/labels",)):
        blank = np.zeros((4, 4), np.uint8)
        messages = [bags.image(topic, blank, "mono8", stamp) for topic in images for stamp in (100, 200)]
        messages += [bags.label_info(topic, names, time) for topic, names, time in infos]
        return Recording(bags.write(sorted(messages, key=lambda one: one.time)))

    def test_the_last_one_before_the_first_image_counts(self, bags):
        infos = [
            ("/truth/label_info", {0: name}, time) for name, time in (("old", 1), ("new", 50), ("late", 150))
        ]
        with self.source(bags, *infos) as source:
            assert recorded_class_map(source, "/truth/labels") == ClassMap({0: "new"})

    def test_one_that_comes_late_is_better_than_none(self, bags):
        infos = [("/truth/label_info", {0: "late"}, 150), ("/truth/label_info", {0: "later"}, 250)]
        with self.source(bags, *infos) as source:
            assert recorded_class_map(source, "/truth/labels").names == {0: "late"}

    def test_the_one_in_the_same_namespace_is_taken(self, bags):
        infos = [("/activesam/label_info", {0: "ours"}, 1), ("/truth/label_info", {0: "theirs"}, 2)]
        with self.source(bags, *infos) as source:
            assert recorded_class_map(source, "/truth/labels").names == {0: "theirs"}
            assert recorded_class_map(source, "/truth/labels", "/activesam/label_info").names == {0: "ours"}

    @pytest.mark.parametrize(
        ("labels", "info"), [("/labels", "/info"), ("/front/labels/image", "/front/label_info")]
    )
    def test_neighbouring_namespaces_will_do(self, bags, labels, info):
        with self.source(bags, (info, {0: "road"}, 1), images=(labels,)) as source:
            assert recorded_class_map(source, labels).names == {0: "road"}

    def test_what_is_not_clear_is_refused(self, bags):
        with self.source(bags, ("/activesam/label_info", {0: "ours"}, 1)) as source:
            assert "is not clear: there is /activesam/label_info; name one" in refusal(
                recorded_class_map, source, "/truth/labels"
            )
            assert "/gone; it has /activesam/label_info (vision_msgs/msg/LabelInfo)" in refusal(
                recorded_class_map, source, "/gone"
            )
            assert "is of type sensor_msgs/msg/Image, not vision_msgs/msg/LabelInfo" in refusal(
                recorded_class_map, source, "/truth/labels", "/truth/labels"
            )

    def test_two_in_the_same_namespace_are_not_clear(self, bags):
        infos = [("/truth/a", {0: "a"}, 1), ("/truth/b", {0: "b"}, 1)]
        with self.source(bags, *infos) as source:
            assert "/truth/a and /truth/b" in refusal(recorded_class_map, source, "/truth/labels")

    def test_none_at_all_is_refused(self, bags):
        with self.source(bags) as source:
            assert "so the ids in /truth/labels have no names" in refusal(
                recorded_class_map, source, "/truth/labels"
            )

    def test_one_that_cannot_be_read_is_refused(self, bags):
        messages = [
            bags.label_info("/truth/label_info", {0: "road"}),
            bags.image("/truth/labels", np.zeros((4, 4), np.uint8), "mono8", 1),
        ]
        path = bags.write(messages, damage=lambda index, raw: raw[:9] if index == 0 else raw)
        with Recording(path) as source:
            assert "/truth/label_info says nothing of the classes: the message (9 bytes) is no" in refusal(
                recorded_class_map, source, "/truth/labels"
            )


@pytest.mark.parametrize("read", [read_class_map, read_mapping])
def test_a_key_that_stands_twice_is_refused(tmp_path, read):
    path = tmp_path / "twice.yaml"
    path.write_text({read_class_map: "classes:\n  0: road\n  0: car\n", read_mapping: "\na: b\na: c\n"}[read])
    with pytest.raises(
        EvaluationError, match=r"twice.yaml cannot be read: .* stands twice \(first in line 2\)"
    ):
        read(path)
