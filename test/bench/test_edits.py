"""What is measured when words change: the right phrases are encoded."""

import pytest

from activesam_ros.benchmarks.edits import measure_edits
from activesam_ros.benchmarks.words import NEW_WORDS, base_names, other_names
from activesam_ros.model.checkpoint import open_text_checkpoint
from activesam_ros.prompts.hypernyms import TableHypernyms
from activesam_ros.prompts.prompt_set import needed_prompts
from activesam_ros.prompts.text_encoder import fill_prompt_cache
from activesam_ros.vocabulary import Vocabulary

CLASSES = 4


@pytest.fixture(scope="module")
def text():
    return open_text_checkpoint("toytown")


def phrases(names):
    return needed_prompts([Vocabulary.from_names(names)], [TableHypernyms.shipped()])


def test_edits(text, tmp_path):
    import torch

    names = base_names(CLASSES)
    fill_prompt_cache(text, tmp_path, phrases(names), torch.device("cpu"))
    files = sorted(tmp_path.rglob("*"))
    one, every, back = measure_edits(text, tmp_path, names, repeats=1)
    assert sorted(tmp_path.rglob("*")) == files

    known = set(phrases(names))
    changed = [*names[:2], NEW_WORDS[0], *names[3:]]
    assert one.name == "one word of 4, new" and one.phrases == len(phrases(changed))
    assert one.release.encoded == len(set(phrases(changed)) - known)
    assert one.everything.encoded == len(phrases(changed))
    other = phrases(other_names(names))
    assert every.phrases == every.everything.encoded == len(other)
    assert every.release.encoded == every.keep.encoded == len(set(other) - known)
    assert back.phrases == len(known) and back.release.encoded == back.keep.encoded == 0
    for edit in (one, every, back):
        assert min(edit.release.seconds, edit.keep.seconds, edit.everything.seconds) > 0


@pytest.mark.parametrize("repeats", [0, len(NEW_WORDS)])
def test_every_repeat_needs_words_of_its_own(text, tmp_path, repeats):
    with pytest.raises(ValueError, match="repeats"):
        measure_edits(text, tmp_path, base_names(CLASSES), repeats)
