"""The vocabulary benchmark: its classes, its parts, and the whole on a tiny vocabulary."""

import json
import time
from dataclasses import asdict
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from activesam_ros.benchmarks.inputs import coco_stuff_names
from activesam_ros.benchmarks.vocabulary import (
    NEW_CLASSES,
    VocabularyOptions,
    measure_changes,
    measure_stream,
    measure_vocabulary,
    other_names,
    to_markdown,
    with_one_changed,
)
from activesam_ros.errors import VocabularyError
from activesam_ros.model.checkpoint import open_text_checkpoint
from activesam_ros.prompts.hypernyms import TableHypernyms
from activesam_ros.prompts.prompt_set import needed_prompts
from activesam_ros.prompts.text_encoder import fill_prompt_cache
from activesam_ros.segmenter import ActiveSegmenter
from activesam_ros.vocabulary import Vocabulary
from activesam_ros.vocabulary.canonical import canonical_name, match_key
from activesam_ros.vocabulary.files import load_vocabulary_file, preset_names

TINY = VocabularyOptions(
    classes=4, repeats=1, threads=1, stream_classes=2, stream_resolution=64, stream_frames=2, stream_edits=1
)
IMAGE = np.zeros((24, 32, 3), np.uint8)


def keys(names):
    return {match_key(canonical_name(name)) for name in names}


def phrases(names):
    return needed_prompts([Vocabulary.from_names(names)], [TableHypernyms.shipped()])


def test_171_classes_and_171_others():
    names = coco_stuff_names()
    others = other_names(names)
    assert len(keys(names)) == len(keys(others)) == len(others) == 171
    assert not keys(names) & keys(others)


def test_new_classes_are_in_no_preset():
    # But in the demo model's, which takes its classes from everywhere, and which nothing is measured with.
    presets = set(preset_names()) - {"toytown"}
    known = set().union(*(keys(load_vocabulary_file(preset).vocabulary().prompts) for preset in presets))
    assert len(keys(NEW_CLASSES)) == len(NEW_CLASSES)
    assert not keys(NEW_CLASSES) & known


def test_one_class_changes():
    names = coco_stuff_names(5)
    assert with_one_changed(names, "anvil").names == (*names[:2], "anvil", *names[3:])


def test_changes_encode_what_is_new(tmp_path):
    names = coco_stuff_names(4)
    fill_prompt_cache(open_text_checkpoint("toytown"), tmp_path, phrases(names), torch.device("cpu"))
    files = sorted(tmp_path.rglob("*"))
    one, every, back = measure_changes("toytown", tmp_path, names, repeats=1)
    assert sorted(tmp_path.rglob("*")) == files

    known = set(phrases(names))
    changed = [*names[:2], NEW_CLASSES[0], *names[3:]]
    assert one.name == "one class of 4, new" and one.phrases == len(phrases(changed))
    assert one.release.encoded == len(set(phrases(changed)) - known)
    assert one.everything.encoded == len(phrases(changed))
    other = phrases(other_names(names))
    assert every.phrases == every.everything.encoded == len(other)
    assert every.release.encoded == every.keep.encoded == len(set(other) - known)
    assert back.phrases == len(known) and back.release.encoded == back.keep.encoded == 0
    for change in (one, every, back):
        assert min(change.release.seconds, change.keep.seconds, change.everything.seconds) > 0


@pytest.mark.parametrize("repeats", [0, len(NEW_CLASSES)])
def test_every_repeat_needs_classes_of_its_own(tmp_path, repeats):
    with pytest.raises(ValueError, match="repeats"):
        measure_changes("toytown", tmp_path, coco_stuff_names(4), repeats)


class Paced:
    """Images take 5 ms, also the one that an encoding falls into; the encoding makes that one wait."""

    def __init__(self):
        self.used, self.images, self._busy = [], 0, False

    def segment(self, rgb, instances):
        self.images += 1
        time.sleep(0.005)
        while self._busy:
            time.sleep(0.001)

    def encode(self, vocabulary):
        self._busy = True
        time.sleep(0.2)
        self._busy = False
        return SimpleNamespace(vocabulary=vocabulary)

    def use(self, prompts):
        self.used.append(prompts.vocabulary)


def test_the_latency_while_encoding_is_told_from_the_others():
    segmenter = Paced()
    found = measure_stream(segmenter, IMAGE, ["one", "two"], frames=5)
    assert segmenter.used == ["one", "two"] and found.edits == 2
    assert found.frames >= 15
    assert found.median < 0.2 < found.largest
    assert found.encoding >= 0.2
    assert found.median <= found.largest_quiet


def test_a_stream_of_the_demo_model(toytown_checkpoint):
    segmenter = ActiveSegmenter(toytown_checkpoint, prompt_cache=None)
    segmenter.set_vocabulary(Vocabulary.from_names(["road", "sky"]))
    found = measure_stream(segmenter, IMAGE, [Vocabulary.from_names(["road", "anvil"])], frames=2)
    assert segmenter.vocabulary.names == ("road", "anvil")
    assert 0 < found.median <= found.largest_quiet


def test_a_failing_stream_ends_the_measurement(toytown_checkpoint):
    class Failing(Paced):
        def segment(self, rgb, instances):
            if self.images == 2:
                raise ValueError("the third image")
            super().segment(rgb, instances)

    with pytest.raises(ValueError, match="the third image"):
        measure_stream(Failing(), IMAGE, ["one"], frames=5)
    with pytest.raises(VocabularyError, match="set_vocabulary"):
        measure_stream(ActiveSegmenter(toytown_checkpoint, prompt_cache=None), IMAGE, [], frames=2)


def test_the_whole_benchmark():
    def here(work, *arguments, threads, **named):
        """In place of a process for each part, which takes seconds to import torch."""
        return work(*arguments, **named)

    parts = []
    found = measure_vocabulary(TINY, parts.append, here)
    assert len(parts) == 7
    assert (found.warm.encoded, found.warm.text_encoder_loaded) == (0, False)
    assert (found.cold.encoded, found.cold.text_encoder_loaded) == (found.filling.misses, True)
    assert (found.met.encoded, found.met.text_encoder_loaded) == (1, False)
    assert set(found.gaps) == {"release", "keep"}
    json.dumps(asdict(found))
    printed = to_markdown(found)
    for title in ("one class of 4, new", "warm cache", "after an unknown class", "`release`", "`keep`"):
        assert f"| {title}" in printed
