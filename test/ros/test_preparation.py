import itertools

import pytest

from activesam_ros.errors import SettingsError, VocabularyError
from activesam_ros.ros.parameters import CHANGEABLE, PARAMETERS, wanted
from activesam_ros.ros.preparation import Preparer, swap

from .fakes import FakeSegmenter


def request(*names, **changes):
    defaults = {spec.name: spec.default for spec in PARAMETERS if spec.name in CHANGEABLE}
    return wanted({**defaults, "vocabulary": names, **changes})


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
    served = swap(None, preparer(request("road")))
    prepared = preparer(request("sky"))
    assert served.segmenter.prompts.vocabulary.names == ("road",)
    served = swap(served, prepared)
    assert served.segmenter.prompts.vocabulary.names == ("sky",)


def test_another_number_of_context_tokens_encodes_again(preparer, segmenter):
    served = swap(None, preparer(request("road")))
    prepared = preparer(request("road", neighbor_tokens=1))
    assert prepared.prompts.context == (1, 2) and prepared.segmenter.fits(prepared.prompts)
    assert segmenter.encoded == [("road",), ("road",)]
    assert swap(served, prepared).segmenter.prompts is prepared.prompts


def test_the_revision_counts_vocabularies_not_settings(preparer):
    served = swap(None, preparer(request("road")))
    assert served.revision == 1
    served = swap(served, preparer(request("road", max_active=7)))
    assert served.revision == 1
    served = swap(served, preparer(request("sky")))
    assert served.revision == 2
    served = swap(served, preparer(request("sky", background_class="sky")))
    assert served.revision == 3


def test_a_failure_leaves_the_last_good_one(preparer):
    good = preparer(request("road"))
    with pytest.raises(VocabularyError, match="unspeakable"):
        preparer(request("unspeakable"))
    assert preparer.last is good
    assert preparer(request("road")).prompts is good.prompts


def test_resolutions_are_checked_without_preparing(preparer, segmenter):
    with pytest.raises(SettingsError, match="preview_resolution"):
        preparer.check(request("road", preview_resolution=671).settings)
    preparer.check(request("road", preview_resolution=664).settings)
    assert preparer.last is None and segmenter.encoded == []
