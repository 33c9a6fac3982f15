"""The segmenter on streams of the demo model's world: what it asks, remembers, and says."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from activesam_ros.errors import OutOfMemoryError, SettingsError
from activesam_ros.evaluation.methods import workload_of
from activesam_ros.model.fused.heads import FusedMaskHead
from activesam_ros.prompts.hypernyms import TableHypernyms
from activesam_ros.segmenter import ActiveSegmenter
from activesam_ros.settings import PROFILES, SegmenterSettings
from activesam_ros.stages.association import IdCounter
from activesam_ros.stages.temporal_reuse import StreamMemory
from activesam_ros.toytown import CLASSES, DEMO_CLASSES
from activesam_ros.toytown.world import World
from activesam_ros.vocabulary import Vocabulary

TABLE = TableHypernyms.shipped()


@pytest.fixture(scope="module")
def drive():
    world = World(10_100_001)
    return [world.render(3 + index / 4).rgb[::2, ::2] for index in range(4)]


@pytest.fixture(scope="module")
def make(toytown_checkpoint):
    """Makes a segmenter with a vocabulary and the settings of `realtime` but for those given."""

    def build(words=DEMO_CLASSES, **settings):
        given = SegmenterSettings(**{**PROFILES["realtime"], "preview_period": 6, **settings})
        segmenter = ActiveSegmenter(toytown_checkpoint, given, TABLE)
        segmenter.set_vocabulary(Vocabulary.from_names(words))
        return segmenter

    return build


def same(one, other):
    assert np.array_equal(one.labels, other.labels)
    assert one.active_prompts == other.active_prompts and one.schedule == other.schedule


@pytest.mark.parametrize("source", ["image", "features"])
@pytest.mark.parametrize("way", ["share", "sweep"])
def test_a_stream_asks_little_and_says_what(make, drive, way, source):
    period = 2 if way == "sweep" else 6
    segmenter = make(preview_source=source, preview_way=way, preview_period=period)
    memory = StreamMemory()
    for number, rgb in enumerate(drive):
        result = segmenter.segment(rgb, memory)
        asked = set(result.schedule.prompts)
        if number == 0:
            assert result.schedule.mode == "full" and asked == set(range(60))
        elif way == "share":
            assert result.schedule.mode == "share" and 5 <= len(asked) <= 15
        else:
            assert result.schedule.mode == ("none" if number % 2 else "sweep")
        presence = result.preview_presence
        assert (presence is None) == (not asked)
        if asked:
            assert set(np.flatnonzero(~np.isnan(presence))) == asked
        for entry in result.active:
            before = None if entry.class_id not in asked else pytest.approx(presence[entry.class_id])
            assert entry.preview_presence == before
        assert len(result.prompt_presence) == len(result.active_prompts) <= 19
        work = workload_of(segmenter, result)
        if source == "features":
            maps = {1: (8,), 2: (8, 24)}[len(work.pooled)] if asked else ()
            assert tuple(side for side, _ in work.pooled) == maps
            assert sum(count for _, count in work.pooled[:1]) == len(asked)
            counts = (0, 0)
        else:
            counts = (len(asked), 0) if result.schedule.mode in ("full", "sweep") else (0, len(asked))
        assert (work.previewed, work.presence_only) == counts
        assert len(work.decoded) == len(result.active_prompts)


@pytest.mark.parametrize("way", ["share", "sweep"])
def test_every_word_is_asked_or_decoded_within_the_period(make, way):
    segmenter, memory = (
        make(DEMO_CLASSES[:24], preview_way=way, full_resolution=96, change_threshold=1.0),
        StreamMemory(),
    )
    world, period = World(10_100_001), segmenter.settings.preview_period
    reached, modes = [], []
    for index in range(14):
        result = segmenter.segment(world.render(3 + index / 4).rgb[::4, ::4], memory)
        modes.append(result.schedule.mode)
        reached.append({*result.schedule.prompts, *result.active_prompts})
    for first in range(len(reached) - period + 1):
        assert set().union(*reached[first : first + period]) == set(range(24)), first
    # It is the turns that reach them all, no frame but the first and, of a sweep, one in a period.
    assert (modes.count("full"), modes.count("sweep")) == ((1, 0) if way == "share" else (1, 2))


def test_what_is_asked_at_full_resolution_is_the_models_own_answer(make, drive):
    segmenter, memory = (
        make(
            preview_source="image",
            neighbor_tokens=0,
            hypernym_tokens=0,
            max_active=65_535,
            presence_floor=0.2,
        ),
        StreamMemory(),
    )
    everything = segmenter.with_settings(
        SegmenterSettings(neighbor_tokens=0, hypernym_tokens=0, max_active=65_535)
    )
    segmenter.segment(drive[0], memory)
    result = segmenter.segment(drive[1], memory)
    expected = everything.segment(drive[1])
    asked = list(result.schedule.prompts)
    np.testing.assert_allclose(
        result.preview_presence[asked], np.array(expected.prompt_presence)[asked], atol=1e-4
    )
    found = {query for query in asked if result.preview_presence[query] >= 0.2}
    assert found <= set(result.active_prompts)


def test_without_a_memory_and_with_a_period_of_one_images_are_for_themselves(make, drive):
    alone = [make().segment(rgb) for rgb in drive[:2]]
    memory = StreamMemory()
    paper = make(preview_period=1)
    for result, rgb in zip(alone, drive, strict=False):
        assert result.schedule.mode == "full"
        same(result, paper.segment(rgb, memory))
    same(alone[0], make().segment(drive[0], StreamMemory()))


def test_cameras_side_by_side_are_as_if_each_was_alone(make, drive):
    segmenter = make()
    alone = []
    for images in (drive, drive[::-1]):
        memory = StreamMemory()
        alone.append([segmenter.segment(rgb, memory) for rgb in images])
    memories = [StreamMemory(), StreamMemory(), None]
    for number, images in enumerate(zip(drive, drive[::-1], drive, strict=True)):
        encoded = segmenter.encode_images(images, memories)
        for stream, one in enumerate(encoded[:2]):
            result = segmenter.decode(one)
            same(result, alone[stream][number])
        assert encoded[2].plan.schedule.mode == "full"
    with pytest.raises(SettingsError, match="same memory"):
        segmenter.encode_images(drive[:2], [memories[0]] * 2)
    with pytest.raises(ValueError, match=r"shorter|longer"):
        segmenter.encode_images(drive[:2], [memories[0]])


def test_a_frame_that_fails_leaves_the_memory_as_it_was(make, drive, monkeypatch):
    segmenter, memory = make(), StreamMemory()
    segmenter.segment(drive[0], memory)
    before = memory.state()

    def out_of_memory(*_):
        raise torch.OutOfMemoryError("no room")

    with monkeypatch.context() as patch:
        patch.setattr(FusedMaskHead, "masks", out_of_memory)
        with pytest.raises(OutOfMemoryError):
            segmenter.segment(drive[1], memory)
    assert memory.state() == before
    # Encoded, and never decoded.
    segmenter.encode_images([drive[1]], [memory])
    assert memory.state() == before
    other = StreamMemory()
    for rgb in drive[:2]:
        expected = segmenter.segment(rgb, other)
    same(segmenter.segment(drive[1], memory), expected)


def test_other_words_and_settings_are_asked_anew(make, drive):
    segmenter, memory = make(), StreamMemory()
    segmenter.segment(drive[0], memory)
    other = segmenter.with_settings(SegmenterSettings(**{**PROFILES["realtime"], "preview_period": 7}))
    assert other.segment(drive[1], memory).schedule.mode == "full"
    other.set_vocabulary(Vocabulary.from_names([*CLASSES, "sofa, couch"]))
    result = other.segment(drive[2], memory)
    assert result.schedule.mode == "full" and len(result.schedule.prompts) == 21
    assert len(result.active_prompts) < 19


def test_a_decoded_class_never_scores_above_its_presence(make, drive):
    segmenter, memory = make(background_threshold=0.0), StreamMemory()
    for rgb in drive[:2]:
        result = segmenter.segment(rgb, memory)
        for entry in result.active:
            scores = result.confidence[result.labels == entry.class_id]
            assert scores.max(initial=0) <= entry.presence + 1e-6


def test_the_floor_acts_on_single_images_too(make, drive):
    (rgb, *_) = drive
    with_floor, without = (make(preview_period=1, presence_floor=floor).segment(rgb) for floor in (0.5, 0.0))
    above = {query for query in range(60) if with_floor.preview_presence[query] >= 0.5}
    assert set(with_floor.active_prompts) == above
    assert len(without.active_prompts) == 40
    (preview,) = make(preview_period=1, presence_floor=0.5).preview([rgb])
    assert preview.active_prompts == with_floor.active_prompts


def test_the_preview_of_few_words_says_what_a_stream_would_decode(make, drive):
    segmenter = make(CLASSES)
    (preview,) = segmenter.preview(drive[:1])
    result = segmenter.segment(drive[0], StreamMemory())
    assert preview.active_prompts == result.active_prompts and len(result.active_prompts) < 19
    assert segmenter.segment(drive[0]).active_prompts == tuple(range(19))


def test_instances_keep_their_ids_in_every_profile_and_labels_do_not_depend_on_it(make):
    world = World(10_100_001)
    frames = [world.render(3 + index / 10) for index in range(6)]
    for profile in PROFILES:
        segmenter = make()
        with segmenter.stream(profile) as stream:
            results = [stream(frame.rgb, stamp=index / 10) for index, frame in enumerate(frames)]
            # For each true thing the instance that covers most of it.
            held = {}
            for frame, result in zip(frames, results, strict=True):
                assert len({one.id for one in result.instances}) == len(result.instances)
                for number in set(np.unique(frame.instances)) - {0}:
                    ids = result.instance_ids[frame.instances == number]
                    if (ids > 0).mean() > 0.8:
                        held.setdefault(number, []).append(np.bincount(ids[ids > 0]).argmax())
            kept = [one == after for ids in held.values() for one, after in pairwise(ids)]
            assert len(kept) >= 10 and np.mean(kept) > 0.75
            alone = segmenter.with_settings(stream.settings).segment(frames[0].rgb)
            assert np.array_equal(alone.labels, results[0].labels)
            last = max(one.id for result in results for one in result.instances)
            later = stream(frames[0].rgb, stamp=60.0)
            assert min(one.id for one in later.instances) > last, "after a gap in time everything is new"


def test_frames_without_instances_count_as_hidden_and_ids_go_on(make, drive):
    # All classes are decoded in every frame, so that one image has the same instances each time.
    segmenter = make(CLASSES, occlusion_frames=1, presence_floor=0.0)
    memory = StreamMemory(IdCounter(499))
    first = segmenter.segment(drive[0], memory)
    assert min(one.id for one in first.instances) == 500
    segmenter.segment(drive[0], memory, instances=False)
    assert [one.id for one in segmenter.segment(drive[0], memory).instances] == [
        one.id for one in first.instances
    ]
    for _ in range(2):
        segmenter.segment(drive[0], memory, instances=False)
    again = segmenter.segment(drive[0], memory)
    assert min(one.id for one in again.instances) == 500 + len(first.instances)
    assert "associate" in again.timings and "associate" not in segmenter.segment(drive[0]).timings


def test_a_memory_that_goes_on_has_the_ids_and_neither_gives_one_of_the_other(make, drive):
    segmenter = make()
    memory = StreamMemory(IdCounter())
    memory.at(0)
    first = [one.id for one in segmenter.segment(drive[0], memory).instances]
    later = memory.successor()
    memory.forget()
    later.at(10**9)
    later.forget_presence()
    result = segmenter.segment(drive[0], later)
    assert [one.id for one in result.instances] == first and result.schedule.mode == "full"
    assert min(one.id for one in segmenter.segment(drive[0], memory).instances) == len(first) + 1
    late = memory.successor()
    late.at(10**11)
    assert min(one.id for one in segmenter.segment(drive[0], late).instances) > 2 * len(first)


@pytest.fixture(scope="module")
def panning():
    """A camera that turns: frames that show a wide picture ever farther to the right, by 4 pixels each."""
    wide = World(10_100_001, 480, 240).render(3).rgb
    return [wide[:, 4 * step : 320 + 4 * step] for step in range(4)]


def test_labels_move_with_the_image(make, panning):
    segmenter = make(encode_every=3)
    memory = StreamMemory(IdCounter())
    found = [segmenter.segment(rgb, memory) for rgb in panning]
    key = found[0]
    assert [one.schedule.mode for one in found] == ["full", "moved", "moved", "share"]
    assert np.array_equal(found[2].image, panning[2]) and "encode" not in found[2].timings
    for step in (1, 2):
        moved, own = found[step], segmenter.segment(panning[step])
        kept = moved.labels[:, : -4 * step] == key.labels[:, 4 * step :]
        assert kept.mean() > max(0.95, (moved.labels == key.labels).mean())
        assert (moved.labels == own.labels).mean() > (key.labels == own.labels).mean()
        assert moved.active_prompts == key.active_prompts and moved.confidence.shape == moved.labels.shape
        assert all(one.pixels == (moved.labels == one.class_id).sum() for one in moved.active)
        assert workload_of(segmenter, moved).decoded == () and workload_of(segmenter, moved).encodings == 0
        before = {one.id: one for one in key.instances}
        inside = [one for one in moved.instances if one.box[0] > 20 and one.box[2] < 300]
        assert inside
        assert {one.id for one in moved.instances} <= set(before)
        assert all(isinstance(edge, float) for one in moved.instances for edge in one.box)
        for one in inside:
            assert one.box[0] == pytest.approx(before[one.id].box[0] - 4 * step, abs=2)
            mask = before[one.id].mask[:, 4 * step :]
            assert (one.mask[:, : -4 * step] & mask).sum() > 0.7 * (one.mask[:, : -4 * step] | mask).sum()


def test_when_labels_do_not_move(make, panning):
    segmenter = make(encode_every=10)
    first, after = panning[:2]

    def second(image=after, seconds=0.1, instances=True, words=DEMO_CLASSES, forgets=False):
        memory = StreamMemory()
        memory.at(0)
        segmenter.set_vocabulary(Vocabulary.from_names(DEMO_CLASSES))
        segmenter.segment(first, memory, instances)
        if forgets:
            memory.forget()
        segmenter.set_vocabulary(Vocabulary.from_names(words))
        memory.at(int(seconds * 1e9))
        (encoded,) = segmenter.encode_images([image], [memory])
        return segmenter.decode(encoded).schedule.mode

    assert second() == "moved"
    assert second(seconds=0.2) == second(after[::2, ::2]) == "share"
    # The frame before was not asked for instances.
    assert second(instances=False) == "share"
    assert second(255 - after) == second(words=DEMO_CLASSES[:-1]) == "full"
    assert second(forgets=True) == "full"
