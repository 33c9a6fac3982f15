from dataclasses import replace

import pytest

pytest.importorskip("rclpy", reason="rclpy is missing; source env.sh")

from activesam_ros.configuration import first_configuration
from activesam_ros.prompts.text_encoder import EncodingReport
from activesam_ros.ros.diagnostics import Level
from activesam_ros.ros.vocabulary_loader import LoadedVocabulary
from activesam_ros.ros.vocabulary_status import RULES, VocabularyView, vocabulary_status

from .documented import documented_rules, documented_values
from .fakes import FakePrompts, FakeSegmenter


def view(revision=3, **fields) -> VocabularyView:
    """A vocabulary in force, unless `revision` is None, but for what is given."""
    configuration = replace(
        first_configuration({"vocabulary": ["road", "car, automobile"]}), revision=revision or 0
    )
    prompts = FakePrompts(configuration.vocabulary, (2, 2), EncodingReport(2, 1, 0.5))
    served = LoadedVocabulary(configuration, FakeSegmenter(), prompts, 0.5) if revision else None
    given = {"accepted": 3, "loaded": True, "served": served, "prompt_cache": "/cache/prompts"}
    return VocabularyView(**{**given, **fields})


@pytest.mark.parametrize(
    ("fields", "level", "message"),
    [
        ({}, Level.OK, "revision 3 is in force"),
        ({"accepted": 5}, Level.OK, "revision 3 is in force, revision 5 is coming"),
        (
            {"accepted": 5, "preparing_seconds": 29.0},
            Level.OK,
            "revision 3 is in force, revision 5 is coming",
        ),
        (
            {"revision": None, "loaded": None, "prompt_cache": None},
            Level.OK,
            "no model is loaded, so none is in force",
        ),
        (
            {"error": "out of memory"},
            Level.ERROR,
            "the last change failed, revision 3 is in force: out of memory",
        ),
        (
            {"error": "out of memory", "preparing_seconds": 31.0, "late": True},
            Level.ERROR,
            "the last change failed, revision 3 is in force: out of memory",
        ),
        (
            {"accepted": 5, "preparing_seconds": 31.4, "late": True},
            Level.WARN,
            "words have been in preparation for 31 s, and later changes wait for them; revision 3 stays in force",
        ),
        (
            {"revision": None, "preparing_seconds": 31.4, "late": True},
            Level.WARN,
            "words have been in preparation for 31 s, and later changes wait for them; "
            "no vocabulary is in force yet",
        ),
        ({"revision": None, "loaded": False}, Level.WARN, "the model is loading"),
        ({"revision": None}, Level.WARN, "the first vocabulary is being encoded"),
        (
            {"revision": None, "error": "'x' has no tokens"},
            Level.WARN,
            "the first vocabulary is being encoded",
        ),
        ({"closing": True}, Level.WARN, "the model is being closed"),
        ({"closing": True, "revision": None, "loaded": False}, Level.WARN, "the model is being closed"),
        (
            {"closing": True, "error": "x", "preparing_seconds": 31.0, "late": True},
            Level.WARN,
            "the model is being closed",
        ),
    ],
)
def test_the_level_follows_from_the_rules(fields, level, message):
    told = vocabulary_status(view(**fields))
    assert (told.name, told.level, told.message) == ("vocabulary", level, message)


def test_what_is_in_force_is_told_in_figures():
    assert vocabulary_status(view()).values == {
        "revision": 3,
        "revision accepted": 3,
        "prompt cache": "/cache/prompts",
        "classes": 2,
        "prompts": 3,
        "phrases from the cache": 2,
        "phrases encoded": 1,
        "encoding seconds": 0.5,
        "text encoder loaded": False,
    }


def test_what_is_not_known_is_left_out():
    assert vocabulary_status(VocabularyView(accepted=2)).values == {"revision accepted": 2}


def test_the_documentation_has_these_rules_and_values():
    assert documented_rules("Vocabulary") == [(rule.level.name, rule.when) for rule in RULES]
    everything = vocabulary_status(view(error="x", preparing_seconds=31.0)).values
    assert documented_values("Vocabulary") == set(everything)
