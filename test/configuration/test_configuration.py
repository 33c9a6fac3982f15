"""Vocabulary and settings from parameters, one call after the other."""

import random
from pathlib import Path
from typing import get_args

import pytest

from activesam_ros.configuration.configuration import (
    CONFIGURABLE,
    DEFAULTS,
    SPECS,
    ModelChoice,
    first_configuration,
    next_configuration,
    settings_of,
    specs_of,
)
from activesam_ros.errors import SettingsError, VocabularyError
from activesam_ros.prompts.text_encoder import Residence
from activesam_ros.settings import BOUNDS, CHOICES, GOVERNED, PROFILES, SegmenterSettings
from activesam_ros.vocabulary import ClassSpec
from activesam_ros.vocabulary.files import VocabularyFile

FILES = {
    "street": VocabularyFile(
        "street",
        Path("street.yaml"),
        (
            ClassSpec("road", ("road", "lane")),
            ClassSpec("plants", ("tree", "grass"), (1, 2, 3), ("tree", "lawn")),
        ),
        background="plants",
        background_threshold=0.1,
    ),
    "plain": VocabularyFile("plain", Path("plain.txt"), (ClassSpec("sky"), ClassSpec("road"))),
}


def load(source):
    if source not in FILES:
        raise VocabularyError(f"{source}, line 3: no such thing")
    return FILES[source]


def first(**given):
    return first_configuration(given, load)


def then(last, revision=None, **changes):
    return next_configuration(last, changes, revision or last.revision + 1, load)


def shown(request, *names):
    values = dict(request.values)
    return tuple(values[name] for name in names)


def ids(request):
    return {one.name: one.class_id for one in request.vocabulary.classes}


FILE_SETS = ("vocabulary_file", "vocabulary", "background_class", "background_threshold")


def test_without_parameters_the_defaults_are_wanted():
    request = first()
    assert dict(request.values) == DEFAULTS and request.given == frozenset()
    assert request.revision == 1 and request.vocabulary.class_ids == tuple(range(19))
    assert request.settings == SegmenterSettings(background_threshold=0.4)


def test_vocabulary_and_background_are_checked_together():
    request = first(vocabulary=["road", "other, thing"], background_class="other")
    assert request.vocabulary.background_id == 1
    with pytest.raises(VocabularyError, match="sky"):
        first(vocabulary=["road", "other"], background_class="sky")
    with pytest.raises(VocabularyError, match="other"):
        then(request, vocabulary=["road"])


@pytest.mark.parametrize(
    ("given", "said"), [([], "empty"), (["road", " "], "blank"), (["car", "Car"], "both"), ("road", "list")]
)
def test_a_vocabulary_that_is_none_is_refused_with_the_reason(given, said):
    with pytest.raises(VocabularyError, match=said):
        first(vocabulary=given)
    with pytest.raises(VocabularyError, match=said):
        then(first(), vocabulary=given)


def test_names_that_stay_keep_ids_and_colours():
    before = first(vocabulary=["road", "car", "sky"])
    after = then(before, vocabulary=["sky", "tree", "road"])
    assert ids(after) == {"sky": 2, "tree": 3, "road": 0} and after.revision == 2
    colours = dict(zip(before.vocabulary.names, before.vocabulary.colours, strict=True))
    assert after.vocabulary.colours[0] == colours["sky"] and after.vocabulary.colours[2] == colours["road"]
    again = then(after, vocabulary=["sky", "car", "road"])
    assert ids(again) == {"sky": 2, "car": 4, "road": 0} and again.revision == 3


def test_other_settings_and_the_same_words_keep_the_revision():
    before = first(vocabulary=["road", "car"])
    after = then(before, max_active=7)
    assert after.revision == 1 and after.vocabulary is before.vocabulary
    assert after.settings.max_active == 7 and shown(after, "max_active") == (7,)
    assert then(before, vocabulary=["road", "car"]) == before
    assert then(before, use_sim_time=True) == before


def test_a_file_sets_everything_it_names_in_one_revision():
    after = then(first(vocabulary=["sky", "road"]), vocabulary_file="street")
    assert after.revision == 2 and after.settings.background_threshold == 0.1
    # Shown with its aliases where the first of them is the name.
    assert shown(after, *FILE_SETS) == ("street", ("road, lane", "plants"), "plants", 0.1)
    road, plants = after.vocabulary.classes
    assert (road.class_id, road.prompts) == (1, ("road", "lane"))
    assert (plants.class_id, plants.prompts, plants.members) == (2, ("tree", "grass"), ("tree", "lawn"))
    assert plants.colour == (1, 2, 3) and after.vocabulary.background_id == 2


def test_a_file_without_background_empties_it_and_leaves_the_threshold():
    before = then(first(), vocabulary_file="street")
    after = then(before, vocabulary_file="plain")
    assert shown(after, *FILE_SETS) == ("plain", ("sky", "road"), "", 0.1)


def test_values_of_the_same_call_win_over_the_files():
    after = then(first(), vocabulary_file="street", background_class="", background_threshold=0.9)
    assert shown(after, *FILE_SETS[2:]) == ("", 0.9)
    assert after.vocabulary.background_id is None and after.settings.background_threshold == 0.9
    with pytest.raises(VocabularyError, match="zebra"):
        then(first(), vocabulary_file="street", background_class="zebra")


def test_the_last_one_set_wins():
    file = then(first(), vocabulary_file="plain")
    words = then(file, vocabulary=["sky", "car"])
    assert shown(words, "vocabulary_file", "vocabulary") == ("", ("sky", "car"))
    assert ids(words)["sky"] == ids(file)["sky"]
    both_said = then(file, vocabulary=["sky"], vocabulary_file="")
    assert shown(both_said, "vocabulary_file", "vocabulary") == ("", ("sky",))
    forgotten = then(file, vocabulary_file="")
    assert forgotten.vocabulary is file.vocabulary and forgotten.revision == file.revision
    assert shown(forgotten, *FILE_SETS) == ("", *shown(file, *FILE_SETS[1:]))


def test_another_background_or_order_is_another_vocabulary():
    background = then(first(vocabulary=["road", "car"]), background_class="car")
    assert background.revision == 2 and background.vocabulary.background_id == 1
    order = then(background, vocabulary=["car", "road"])
    assert order.revision == 3 and ids(order) == {"car": 1, "road": 0}
    file = then(first(), vocabulary_file="street")
    after = then(file, background_class="road")
    assert after.vocabulary.classes == file.vocabulary.classes and after.revision == file.revision + 1
    assert shown(after, "vocabulary_file", "background_class") == ("street", "road")


def test_the_same_file_again_is_read_again(monkeypatch):
    before = then(first(), vocabulary_file="plain")
    assert then(before, vocabulary_file="plain") == before
    changed = VocabularyFile("plain", Path("plain.txt"), (ClassSpec("road"), ClassSpec("zebra")))
    monkeypatch.setitem(FILES, "plain", changed)
    after = then(before, vocabulary_file="plain")
    assert after.vocabulary.names == ("road", "zebra") and after.revision == before.revision + 1
    assert ids(after)["road"] == ids(before)["road"]


def test_both_in_one_call_or_at_the_start_are_refused():
    with pytest.raises(SettingsError, match="vocabulary and vocabulary_file are both given"):
        then(first(), vocabulary=["road"], vocabulary_file="plain")
    with pytest.raises(SettingsError, match="vocabulary and vocabulary_file are both given"):
        first(vocabulary=["road"], vocabulary_file="plain")


def test_an_unreadable_file_is_refused_with_its_line():
    for request in (lambda **changes: then(first(), **changes), first):
        with pytest.raises(VocabularyError, match=r"bad\.yaml, line 3"):
            request(vocabulary_file="bad.yaml")


def test_at_the_start_a_given_value_wins_over_the_files_even_if_it_is_the_default():
    own = first(vocabulary_file="street", background_class="road", background_threshold=0.2)
    assert shown(own, *FILE_SETS[2:]) == ("road", 0.2) and own.vocabulary.background_id == 0
    same = first(vocabulary_file="street", background_class="", background_threshold=0.4)
    assert shown(same, *FILE_SETS[2:]) == ("", 0.4) and same.vocabulary.background_id is None


@pytest.mark.parametrize("seed", range(5))
def test_random_edits_keep_ids_colours_and_revisions_in_order(seed):
    chance = random.Random(seed)
    words = [f"thing {number}" for number in range(12)]
    last = first(vocabulary=words[:3])
    revisions = last.revision
    used = set(last.vocabulary.class_ids)
    for _ in range(60):
        changes = chance.choice(
            [
                {"vocabulary": chance.sample(words, chance.randint(1, 8))},
                {"vocabulary": chance.sample(words, chance.randint(1, 8)), "background_class": ""},
                {"vocabulary_file": chance.choice(["street", "plain", "none such"])},
                {"background_class": chance.choice(["", "road", *words])},
                {"max_active": chance.randint(1, 50)},
            ]
        )
        try:
            request = then(last, revision=revisions + 1, **changes)
        except VocabularyError:
            continue
        old = {one.name: one for one in last.vocabulary.classes}
        for one in request.vocabulary.classes:
            if one.name in old:
                assert one.class_id == old[one.name].class_id
                assert one.colour == old[one.name].colour or one.name == "plants"
            else:
                # Far fewer than 255 ids are needed here, so none comes back.
                assert one.class_id not in used
                used.add(one.class_id)
        assert (request.revision == last.revision) == (request.vocabulary == last.vocabulary)
        assert request.revision in (last.revision, revisions + 1)
        assert request == then(request, revision=99)
        revisions, last = max(revisions, request.revision), request


def test_a_dump_of_a_node_that_runs_from_a_file_starts_it_again():
    running = first(vocabulary_file="street")
    again = first(**dict(running.values))
    assert again.vocabulary == running.vocabulary and again.settings == running.settings
    assert shown(again, *FILE_SETS) == shown(running, *FILE_SETS)


@pytest.mark.parametrize("nothing", [None, [], (), DEFAULTS["vocabulary"]])
def test_an_empty_or_the_default_vocabulary_beside_a_file_counts_as_not_given(nothing):
    assert (
        first(vocabulary_file="street", vocabulary=nothing).vocabulary
        == first(vocabulary_file="street").vocabulary
    )


def test_a_background_that_a_file_set_is_named_when_new_words_lack_it():
    file = then(first(), vocabulary_file="street")
    with pytest.raises(
        VocabularyError, match="background_class is 'plants', as vocabulary_file 'street' set it"
    ):
        then(file, vocabulary=["floor", "door"])
    assert then(file, vocabulary=["floor", "door"], background_class="").vocabulary.background_id is None


def test_more_prompts_than_a_model_is_asked_are_refused():
    with pytest.raises(VocabularyError, match="10001 prompts"):
        then(first(), vocabulary=[f"word {index}" for index in range(10_001)])


OTHER = {
    "preview_source": "features",
    "preview_scale": 0.5,
    "preview_fine_scale": 0.75,
    "preview_floor": 0.05,
    "keep_fraction": 0.5,
    "presence_floor": 0.1,
    "preview_period": 30,
    "preview_way": "sweep",
    "preview_likely": 5,
    "leave_after": 4,
    "change_threshold": 0.5,
}


def governed(request):
    return {name: getattr(request.settings, name) for name in GOVERNED}


def test_a_profile_sets_the_settings_that_it_governs_and_no_others():
    request = then(first(confidence_threshold=0.4), profile="realtime")
    assert governed(request) == PROFILES["realtime"]
    assert shown(request, "profile", *GOVERNED) == ("realtime", *PROFILES["realtime"].values())
    assert request.settings.confidence_threshold == 0.4 and request.revision == 1
    request = then(request, profile="paper")
    assert governed(request) == PROFILES["paper"] and shown(request, "profile") == ("paper",)


@pytest.mark.parametrize("name", GOVERNED)
@pytest.mark.parametrize("value", ["the paper's", "the stream's", "another"])
def test_a_given_value_wins_over_a_profile_at_the_start_and_later(name, value):
    own = {"the paper's": PROFILES["paper"], "the stream's": PROFILES["realtime"], "another": OTHER}[value]
    given = {name: own[name]}
    expected = {**PROFILES["realtime"], **given}
    for request in (
        first(profile="realtime", **given),
        then(first(), profile="realtime", **given),
        then(first(profile="realtime"), **given),
        then(first(**given), profile="realtime"),
        then(then(first(), **given), profile="realtime"),
        then(then(first(profile="realtime", **given), profile="paper"), profile="realtime"),
    ):
        assert governed(request) == expected
        assert shown(request, "profile", name) == ("realtime", own[name])
        assert governed(then(request, profile="paper")) == {**PROFILES["paper"], **given}
        # A dump of the node starts where it was, and its profile can be changed as before.
        again = first(**dict(request.values))
        assert again.settings == request.settings and shown(again, "profile") == ("realtime",)
        if own[name] not in (PROFILES["paper"][name], PROFILES["realtime"][name]):
            assert governed(then(again, profile="paper")) == {**PROFILES["paper"], **given}


def test_an_empty_profile_keeps_the_values_and_forgets_which_were_given():
    request = then(first(profile="realtime", keep_fraction=0.5), profile="")
    assert governed(request) == {**PROFILES["realtime"], "keep_fraction": 0.5}
    assert shown(request, "profile") == ("",)
    assert first(**dict(request.values)).settings == request.settings
    for start in (request, first(**dict(request.values))):
        assert governed(then(start, profile="paper")) == PROFILES["paper"]
    # What the same call gives is given.
    assert governed(then(then(request, profile="", leave_after=3), profile="paper", keep_fraction=0.5)) == {
        **PROFILES["paper"],
        "keep_fraction": 0.5,
    }


def test_all_settings_of_a_profile_without_its_name_are_given():
    request = then(first(**PROFILES["paper"]), profile="realtime")
    assert governed(request) == PROFILES["paper"] and request.given == frozenset(GOVERNED)


def test_an_unknown_profile_is_refused():
    with pytest.raises(
        SettingsError, match="profile is 'quick'; expected one of paper, fast, realtime, an empty text"
    ):
        first(profile="quick")


READ = {spec.name: spec.read for spec in (*SPECS, *specs_of(ModelChoice))}
LIMITS = {spec.name: spec.limits for spec in SPECS if spec.limits}


def test_every_setting_of_the_segmenter_is_a_parameter_with_the_papers_default():
    assert set(CONFIGURABLE) == set(DEFAULTS) > set(BOUNDS) | set(CHOICES)
    assert set(LIMITS) == set(BOUNDS)
    assert settings_of(DEFAULTS) == SegmenterSettings(background_threshold=0.4)
    assert settings_of({**DEFAULTS, "full_resolution": 1008}).full_resolution == 1008
    assert all(READ[name](value) == value for name, value in DEFAULTS.items())
    (encoder,) = (spec for spec in specs_of(ModelChoice) if spec.name == "text_encoder")
    assert set(encoder.choices) == set(get_args(Residence))


@pytest.mark.parametrize("name", BOUNDS)
def test_the_declared_range_is_the_settings_own(name):
    low, high = LIMITS[name]
    settings_of({**DEFAULTS, name: high})
    for outside in (high + 1, low - 1, float("nan")):
        with pytest.raises(SettingsError, match=name):
            settings_of({**DEFAULTS, name: outside})


@pytest.mark.parametrize(
    ("name", "given", "error", "said"),
    [
        ("vocabulary", [b"r"], VocabularyError, "quotes"),
        ("vocabulary", [True, False], VocabularyError, "quotes"),
        ("vocabulary", "road", VocabularyError, "list"),
        ("vocabulary", 3, VocabularyError, "list"),
        ("keep_fraction", 2, SettingsError, "keep_fraction"),
        ("keep_fraction", True, SettingsError, "keep_fraction"),
        ("keep_fraction", "much", SettingsError, "keep_fraction"),
        ("keep_fraction", "nan", SettingsError, "keep_fraction"),
        ("vocabulary", "[road, no]", VocabularyError, "holds False, which is not text; put it into quotes"),
        ("max_active", 3.0, SettingsError, "max_active"),
        ("max_active", True, SettingsError, "max_active"),
        ("background_class", 7, SettingsError, "background_class"),
        ("text_encoder", "gone", SettingsError, "expected one of release, offload, keep"),
        ("preview_way", "other", SettingsError, "expected one of share, sweep"),
    ],
)
def test_a_value_of_another_type_or_none_of_the_choices_is_refused_by_name(name, given, error, said):
    with pytest.raises(error, match=said):
        READ[name](given)


@pytest.mark.parametrize(
    ("name", "given", "meant"),
    [
        ("keep_fraction", 1, 1.0),
        ("background_threshold", "1e-05", 1e-05),
        ("vocabulary", "[road, 'car, automobile']", ("road", "car, automobile")),
        ("prompt_cache", False, "memory"),
        ("prompt_cache", "off", "memory"),
    ],
)
def test_what_yaml_makes_of_a_value_is_read_as_it_was_meant(name, given, meant):
    assert READ[name](given) == meant and type(READ[name](given)) is type(meant)


@pytest.mark.parametrize("given", [[], b"", None])
def test_an_empty_list_arrives_in_several_forms(given):
    assert READ["vocabulary"](given) == ()
