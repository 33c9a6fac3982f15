"""Counted work of real images: what the formula says, and what torch counts while they are segmented."""

from dataclasses import replace

import pytest
from torch.nn.attention import SDPBackend, sdpa_kernel

from activesam_ros.evaluation.methods import METHODS, FlopsCounter, workload_of
from activesam_ros.model.flops import counted
from activesam_ros.prompts.hypernyms import TableHypernyms
from activesam_ros.segmenter import ActiveSegmenter, SegmenterSettings, StreamMemory
from activesam_ros.settings import CHOICES
from activesam_ros.toytown import DEMO_CLASSES
from activesam_ros.vocabulary import Vocabulary

WORDS = Vocabulary.from_names([*DEMO_CLASSES[:10], "cargo ship, freight ship"])


@pytest.fixture
def segmenter(toytown_checkpoint):
    return ActiveSegmenter(
        toytown_checkpoint,
        # A low threshold, so that instance masks are kept.
        SegmenterSettings(max_active=6, keep_fraction=0.4, confidence_threshold=0.1),
        TableHypernyms.shipped(),
        prompt_cache=None,
    )


@pytest.fixture(scope="module")
def flops(toytown_checkpoint):
    return FlopsCounter(toytown_checkpoint.config)


@pytest.mark.parametrize("name", METHODS)
def test_the_formula_equals_a_counted_run(segmenter, flops, street_image, name):
    method = METHODS[name]
    labeller = method.build(segmenter, WORDS)
    # What depends on the resolution alone is worked out once in a program's life.
    labeller.segment(street_image)
    results = []
    with sdpa_kernel(SDPBackend.MATH):
        operations = counted(lambda: results.append(labeller.segment(street_image)))
    assert flops.count(method, labeller, results[0]).total == operations
    assert sum(results[0].instances) > 0


@pytest.mark.parametrize("way", CHOICES["preview_way"])
def test_the_formula_equals_a_counted_video(segmenter, flops, street_image, way):
    rolling = {"preview_way": way, "preview_period": 3, "presence_floor": 0.3}
    video = segmenter.with_settings(replace(segmenter.settings, **rolling))
    video.set_vocabulary(WORDS)
    video.segment(street_image)
    memory = StreamMemory()
    ways = []
    for _ in range(4):
        results = []
        with sdpa_kernel(SDPBackend.MATH):
            operations = counted(lambda: results.append(video.segment(street_image, memory)))
        asked = workload_of(video, results[0])
        ways.append((asked.previewed > 0, asked.presence_only > 0))
        assert flops.count(METHODS["active"], video, results[0]).total == operations
    # First everything, then nothing but what is due.
    assert ways[0] == (True, False)
    assert ((True, False) in ways[1:]) == (way == "sweep") and ((False, True) in ways) == (way == "share")


def test_what_was_asked(segmenter, street_image):
    segmenter.set_vocabulary(WORDS)
    result = segmenter.segment(street_image)
    asked = workload_of(segmenter, result)
    assert (asked.full_resolution, asked.preview_resolution, asked.encodings) == (192, 128, 1)
    assert asked.previewed == 12
    assert asked.preview_tokens == segmenter.prompts.text.shape[1] + 1
    assert asked.decoded == tuple((asked.preview_tokens + 4, kept) for kept in result.instances)
    assert len(asked.decoded) == len(result.active_prompts) < 12


def test_what_cannot_be_counted(segmenter, street_image):
    segmenter.set_vocabulary(WORDS)
    result = segmenter.segment(street_image[::4, ::4])
    with pytest.raises(ValueError, match="how many instance masks"):
        workload_of(segmenter, replace(result, instances=None))
    segmenter.set_vocabulary(Vocabulary.from_names(["road"]))
    with pytest.raises(ValueError, match="another vocabulary"):
        workload_of(segmenter, result)
