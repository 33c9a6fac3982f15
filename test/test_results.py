"""The summary of active classes."""

import numpy as np

from activesam_ros.results import ActiveClass, active_classes
from activesam_ros.vocabulary import Vocabulary

WORDS = Vocabulary.from_names(["road", "car, automobile", "sky"])


def test_a_class_is_as_present_as_its_best_prompt():
    found = active_classes(WORDS, {1: 0.2, 2: 0.6, 3: 0.1}, [0.0, 0.5, 0.25, 0.75], np.array([1, 20, 300]))
    assert found == (ActiveClass(1, "car", 0.6, 0.5, 20), ActiveClass(2, "sky", 0.1, 0.75, 300))


def test_prompts_that_were_not_decoded_do_not_count():
    (found,) = active_classes(WORDS, {2: 0.25}, np.array([0.0, 0.75, 0.5, 0.0], np.float32), None)
    assert found == ActiveClass(1, "car", 0.25, 0.5, None)
    assert type(found.preview_presence) is float


def test_without_a_preview():
    (found,) = active_classes(WORDS, {0: 0.25}, None, np.array([7, 0, 0]))
    assert found == ActiveClass(0, "road", 0.25, None, 7)
