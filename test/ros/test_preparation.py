import itertools
from dataclasses import replace

import pytest

from activesam_ros.errors import SettingsError, VocabularyError
from activesam_ros.ros.edits import first_request
from activesam_ros.ros.preparation import Preparer, swap

from .fakes import FakeSegmenter


def request(*names, **changes):
    return first_request({"vocabulary": names, **changes})


@pytest.fixture
def segmenter():
    return FakeSegmenter(request("road").settings)


@pytest.fixture
def preparer(segmenter):
    return Preparer(segmenter, itertools.count().__next__)


def test_words_are_encoded_once_however_the_settings_change(preparer, segmenter):
    first = preparer(request("road", "sky"))
    other = preparer(request("road", "sky", confidence_threshold=0.5))
    assert segmenter.encoded == [("road", "sky")]
    assert other.prompts is first.prompts
    assert other.segmenter.settings.confidence_threshold == 0.5 and preparer.last is other


def test_new_words_are_encoded_without_touching_the_ones_in_force(preparer):
    served = swap(preparer(request("road")))
    prepared = preparer(request("sky"))
    assert served.segmenter.prompts.vocabulary.names == ("road",)
    served = swap(prepared)
    assert served.segmenter.prompts.vocabulary.names == ("sky",)


def test_another_number_of_context_tokens_encodes_again(preparer, segmenter):
    swap(preparer(request("road")))
    prepared = preparer(request("road", neighbor_tokens=1))
    assert prepared.prompts.context == (1, 2) and prepared.segmenter.fits(prepared.prompts)
    assert segmenter.encoded == [("road",), ("road",)]
    assert swap(prepared).segmenter.prompts is prepared.prompts


def test_what_is_served_has_the_revision_and_the_report_of_its_vocabulary(preparer):
    served = swap(preparer(replace(request("road", "sky"), revision=7)))
    assert served.revision == 7 and served.vocabulary.names == ("road", "sky")
    assert (served.report.hits, served.report.misses) == (0, 2)


def test_a_compiled_model_is_warmed_up_once(preparer, segmenter):
    segmenter.compiled = True
    preparer(request("road", "sky"))
    preparer(request("road", "tree"))
    preparer(request("road", max_active=3))
    assert segmenter.done == ["warm up for road, sky"]


def test_a_failure_leaves_the_last_good_one(preparer):
    good = preparer(request("road"))
    with pytest.raises(VocabularyError, match="unspeakable"):
        preparer(request("unspeakable"))
    assert preparer.last is good
    assert preparer(request("road")).prompts is good.prompts


def test_what_the_model_refuses_is_known_without_preparing(preparer, segmenter):
    with pytest.raises(SettingsError, match="preview_resolution"):
        preparer.check(request("road", preview_resolution=671))
    with pytest.raises(VocabularyError, match="too long"):
        preparer.check(request("road", "word " * 40))
    preparer.check(request("road", preview_resolution=664))
    assert preparer.last is None and segmenter.encoded == []


def test_only_what_changes_is_checked(preparer, segmenter):
    preparer(request("road"))
    segmenter.checked.clear()
    preparer.check(request("road", max_active=3))
    assert segmenter.checked == []
    preparer.check(request("road", "sky"))
    assert segmenter.checked == [("road", "sky")]
