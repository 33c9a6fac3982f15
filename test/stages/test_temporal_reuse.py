"""Temporal reuse: deadlines of every prompt, entering and leaving the active set, scene changes and stored memories."""

import json

import numpy as np
import pytest

from activesam_ros.errors import SettingsError
from activesam_ros.settings import SegmenterSettings
from activesam_ros.stages.association import LONGEST_GAP
from activesam_ros.stages.temporal_reuse import (
    StreamMemory,
    require_distinct,
    scene_change,
    thumbnail,
)
from activesam_ros.toytown.world import World

SCENE = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)
THRESHOLD = SegmenterSettings().change_threshold
OTHER_SCENE = SCENE[:, ::-1, ::-1]


def settings_of(**changes):
    given = {
        "preview_period": 8,
        "presence_floor": 0.5,
        "keep_fraction": 1.0,
        "max_active": 6,
        "leave_after": 3,
    }
    return SegmenterSettings(**{**given, **changes})


class Stream:
    """Plays the segmenter: scores what a plan schedules by the true presence of each frame."""

    def __init__(self, settings, count=20, memory=None):
        self.settings = settings
        self.prompts = tuple(f"word {index}" for index in range(count))
        self.memory = memory or StreamMemory()
        self.schedules = []

    def frame(self, presence, rgb=SCENE, fails=False):
        """The prompts that are decoded, and those that were scored or decoded."""
        presence = np.asarray(presence, np.float32)
        plan = self.memory.plan(rgb, self.prompts, self.settings)
        self.schedules.append(plan.schedule)
        asked = None
        if plan.schedule.prompts:
            asked = np.full(len(presence), np.nan, np.float32)
            asked[list(plan.schedule.prompts)] = presence[list(plan.schedule.prompts)]
        selected, active = plan.active_set(asked)
        if not fails:
            plan.keep(asked, selected, {prompt: float(presence[prompt]) for prompt in active})
        return set(active), set(active) | set(plan.schedule.prompts)


def shows(*present, count=20):
    return [0.9 if prompt in present else 0.01 for prompt in range(count)]


WAYS = pytest.mark.parametrize("way", ["share", "sweep"])


@WAYS
@pytest.mark.parametrize(("period", "every"), [(2, 1), (3, 1), (8, 1), (50, 1), (8, 3), (50, 2), (5, 9)])
@pytest.mark.parametrize("max_active", [1, 6, 40])
def test_every_prompt_is_seen_within_the_period(way, period, every, max_active):
    random = np.random.default_rng(period * 100 + max_active)
    settings = settings_of(preview_way=way, preview_period=period, max_active=max_active, encode_every=every)
    stream = Stream(settings)
    unseen = np.zeros(20, int)
    for _ in range(160):
        fails = random.random() < 0.1
        active, seen = stream.frame(random.random(20) ** 3, fails=fails)
        assert 1 <= len(active) <= max_active
        if not fails:  # who did not get an answer has seen nothing
            unseen += settings.frames_per_encoding
            unseen[list(seen)] = 0
            # The frames to which its labels move come after it.
            assert unseen.max() + settings.frames_per_encoding - 1 < period


@WAYS
@pytest.mark.parametrize("newcomer", range(2, 20, 3))
def test_an_appearing_prompt_is_decoded_in_the_frame_that_scores_it(way, newcomer):
    stream = Stream(settings_of(preview_way=way))
    for _ in range(5):
        assert stream.frame(shows(0, 1))[0] == {0, 1}
    for _ in range(8):
        active, seen = stream.frame(shows(0, 1, newcomer))
        assert (newcomer in seen) == (newcomer in active)
        if newcomer in active:
            break
    assert newcomer in active
    assert stream.frame(shows(0, 1, newcomer))[0] == {0, 1, newcomer}


def test_the_share_is_even():
    stream = Stream(settings_of())
    for _ in range(30):
        stream.frame(shows(0, 1))
    asked = [len(schedule.prompts) for schedule in stream.schedules]
    assert asked[0] == 20 and stream.schedules[0].mode == "full"
    assert set(asked[1:]) <= {2, 3} and sum(asked[1:25]) == 3 * 18
    assert {schedule.mode for schedule in stream.schedules[1:]} == {"share"}


def test_a_sweep_comes_once_in_a_period():
    stream = Stream(settings_of(preview_way="sweep"))
    for _ in range(17):
        stream.frame(shows(0, 1))
    assert [schedule.mode for schedule in stream.schedules] == [
        "full",
        *["none"] * 7,
        "sweep",
        *["none"] * 7,
        "sweep",
    ]
    assert stream.schedules[8].prompts == tuple(range(2, 20))


@WAYS
@pytest.mark.parametrize("leave_after", [1, 3])
def test_a_disappeared_prompt_leaves_after_so_many_frames(way, leave_after):
    stream = Stream(settings_of(preview_way=way, leave_after=leave_after, preview_period=50))
    stream.frame(shows(0, 1))
    # The frame that decodes it tells that it is gone; so many more bear that out.
    stayed = [1 in stream.frame(shows(0))[0] for _ in range(6)]
    assert stayed == [True] * leave_after + [False] * (6 - leave_after)


def test_what_comes_back_in_time_has_not_left():
    stream = Stream(settings_of(preview_period=50))
    stream.frame(shows(0, 1))
    for present in ([0], [0], [0, 1], [0], [0], [0, 1]):
        assert 1 in stream.frame(shows(*present))[0]


def test_those_that_stay_for_their_past_make_room_for_those_that_are_there():
    stream = Stream(settings_of(preview_period=2, preview_way="sweep"))
    assert stream.frame(shows(*range(6)))[0] == set(range(6))
    stream.frame(shows())
    presence = shows(10, 11, 12, 13)
    presence[4], presence[5] = 0.4, 0.3
    stream.memory._known.presence[4:6] = 0.4, 0.3
    assert stream.frame(presence)[0] == {4, 5, 10, 11, 12, 13}


def test_of_a_scene_without_anything_the_likeliest_is_decoded():
    stream = Stream(settings_of())
    presence = np.full(20, 0.02)
    presence[7] = 0.03
    assert [stream.frame(presence)[0] for _ in range(20)] == [{7}] * 20


@pytest.mark.parametrize(("floor", "first"), [(0.5, "full"), (0.0, "none")])
def test_a_small_vocabulary_is_pruned_by_a_floor_alone(floor, first):
    stream = Stream(settings_of(max_active=20, presence_floor=floor))
    decoded = [stream.frame(shows(3, 4))[0] for _ in range(4)]
    assert stream.schedules[0].mode == first
    assert decoded == [{3, 4} if floor else set(range(20))] * 4


def test_with_a_period_of_one_every_frame_is_for_itself():
    stream = Stream(SegmenterSettings(max_active=6))
    for present in ([0, 1], [2, 3], [2, 3]):
        assert stream.frame(shows(*present))[1] == set(range(20))
    assert [schedule.mode for schedule in stream.schedules] == ["full"] * 3
    assert stream.memory.state() is None


def settled(**changes):
    stream = Stream(settings_of(**changes))
    for _ in range(3):
        stream.frame(shows(0, 1))
    assert [schedule.mode for schedule in stream.schedules] == ["full", "share", "share"]
    return stream


def test_a_scene_change_scores_all_again():
    stream = settled()
    assert stream.frame(shows(5), OTHER_SCENE)[0] == {5}
    assert stream.schedules[-1].mode == "full" and stream.memory.frames_since_full == 0
    stream.frame(shows(5), OTHER_SCENE)
    assert stream.schedules[-1].mode == "share" and stream.memory.frames_since_full == 1


def test_changes_may_be_left_to_the_period():
    stream = settled(change_threshold=1.0)
    stream.frame(shows(5), OTHER_SCENE)
    assert stream.schedules[-1].mode == "share"


def test_other_prompts_and_settings_score_all_again():
    stream = settled()
    for other in (
        Stream(stream.settings, 19, stream.memory),
        Stream(settings_of(presence_floor=0.4), 19, stream.memory),
    ):
        other.frame(shows(1, count=19))
        assert other.schedules[-1].mode == "full"
        other.frame(shows(1, count=19))
        assert other.schedules[-1].mode == "share"


@pytest.mark.parametrize(
    "between", [{"preview_period": 1}, {"presence_floor": 0.0}], ids=["alone", "unpruned"]
)
@pytest.mark.parametrize("fails", [False, True])
def test_settings_that_remember_nothing_leave_nothing_behind(between, fails):
    stream = settled(max_active=40)
    other = Stream(settings_of(max_active=40, **between), memory=stream.memory)
    assert other.frame(shows(5), fails=fails)[0] == set(range(20))
    assert stream.memory.state() is None
    assert stream.frame(shows(6))[0] == {6}
    assert stream.schedules[-1].mode == "full"


@pytest.mark.parametrize("gap", [LONGEST_GAP + 1, -1])
def test_a_frame_that_fails_counts_for_no_time(gap):
    stream = settled()
    stream.memory.at(7)
    stream.frame(shows(0, 1))
    before = stream.memory.state()
    stream.memory.at(7 + gap)
    stream.frame(shows(5), fails=True)
    assert stream.schedules[-1].mode == "full" and stream.memory.state() == before
    stream.memory.at(8)
    stream.frame(shows(0, 1))
    assert stream.schedules[-1].mode == "share"


def test_a_long_gap_scores_all_again():
    stream = settled()
    for stamp, way in ((5, "share"), (5 + LONGEST_GAP, "share"), (6 + 2 * LONGEST_GAP, "full")):
        stream.memory.at(stamp)
        stream.frame(shows(0, 1))
        assert stream.schedules[-1].mode == way, stamp


def test_time_that_jumps_back_scores_all_again():
    stream = settled()
    for stamp, way in ((5, "share"), (6, "share"), (6, "share"), (5, "full"), (7, "share")):
        stream.memory.at(stamp)
        stream.frame(shows(0, 1))
        assert stream.schedules[-1].mode == way, stamp


def test_what_is_forgotten_while_a_frame_is_in_work_stays_so():
    stream = settled()
    plan = stream.memory.plan(SCENE, stream.prompts, stream.settings)
    stream.memory.forget()
    plan.keep(None, (0,), {0: 0.9})
    assert stream.memory.frames_since_full is None


def test_a_frame_that_was_overtaken_changes_nothing():
    stream = settled()
    plan = stream.memory.plan(SCENE, stream.prompts, stream.settings)
    stream.frame(shows(0, 1))
    before = stream.memory.state()
    plan.keep(None, (0,), {0: 0.9})
    assert stream.memory.state() == before


@WAYS
def test_a_restored_memory_continues_identically(way):
    random = np.random.default_rng(3)
    frames = random.random((40, 20)) ** 2
    whole, broken = (Stream(settings_of(preview_way=way)) for _ in range(2))
    for number, presence in enumerate(frames):
        if number % 7 == 3:
            state = json.loads(json.dumps(broken.memory.state()))
            broken.memory = StreamMemory.restored(state, broken.prompts, broken.settings)
        assert whole.frame(presence) == broken.frame(presence)
    assert whole.schedules == broken.schedules


def test_a_memory_of_other_words_is_refused():
    state = settled().memory.state()
    with pytest.raises(ValueError, match="expected 3"):
        StreamMemory.restored(state, ("a", "b", "c"), settings_of())
    assert StreamMemory.restored(None, ("a",), settings_of()).state() is None
    # Labels that move are not part of it.
    with pytest.raises(ValueError, match="encode_every 1"):
        StreamMemory.restored(state, settled().prompts, settings_of(encode_every=2))


@pytest.mark.parametrize(
    "damage",
    [
        {"stamp": 1.5},
        {"stamp": True},
        {"frame": -1},
        {"frame": 1.0},
        {"frame": 1},  # fewer than were seen
        {"presence": [0.5] * 19},
        {"presence": [float("nan")] * 20},
        {"expected": [0.5]},
        {"expected": [1.5] * 20},
        {"seen": [0.5] * 20},
        {"seen": [-1] * 20},
        {"seen": [10**30] * 20},
        {"unwanted": [[20, 0]]},
        {"unwanted": [[-1, 0]]},
        {"unwanted": [[0, -1]]},
        {"unwanted": [[0]]},
        {"thumbnail": [0.5]},
        {"thumbnail": [[[float("inf")] * 3] * 8] * 6},
    ],
    ids=str,
)
def test_a_damaged_memory_is_refused(damage):
    stream = settled()
    state = stream.memory.state()
    assert StreamMemory.restored(state, stream.prompts, stream.settings).state() == state
    with pytest.raises(ValueError):  # noqa: PT011, since numpy words some of them
        StreamMemory.restored({**state, **damage}, stream.prompts, stream.settings)


def test_a_batch_has_one_image_of_a_stream():
    memory = StreamMemory()
    require_distinct([memory, None, None, StreamMemory()])
    with pytest.raises(SettingsError, match="same memory"):
        require_distinct([memory, None, memory])


def test_the_likely_are_asked_more_often_and_the_others_in_time():
    stream = Stream(settings_of(preview_period=18, preview_likely=2, presence_floor=0.5))
    presence = [0.9, 0.9, 0.3, 0.3, 0.3, *[0.001] * 15]
    times = np.zeros(20, int)
    for _ in range(72):
        _, seen = stream.frame(presence)
        times[list(seen)] += 1
    assert {len(schedule.prompts) for schedule in stream.schedules[1:]} <= {2, 3, 4}
    assert min(times[2:5]) > 30
    assert min(times[5:]) >= 4 and max(times[5:]) < 10


def test_what_was_there_is_expected_back():
    stream = Stream(settings_of(preview_period=100, preview_likely=1, leave_after=1))
    stream.frame(shows(0, 7))
    for _ in range(8):
        stream.frame(shows(0))
    assert 7 in stream.frame(shows(0, 7))[0]


@pytest.fixture(scope="module")
def drives():
    """The beginnings of four drives, at 4 frames a second."""
    return [[World(10_100_000 + seed).render(index / 4).rgb for index in range(8)] for seed in (1, 2, 5, 8)]


def changes(images, others):
    return [scene_change(thumbnail(one), thumbnail(other)) for one, other in zip(images, others, strict=True)]


def test_driving_on_is_no_change_and_a_cut_is(drives):
    on = [each for drive in drives for each in changes(drive, drive[1:] + drive[-1:])]
    cuts = [each for one in drives for other in drives if one is not other for each in changes(one, other)]
    # A bus that passes close by fills the image.
    assert np.mean(np.array(on) < THRESHOLD) > 0.9
    assert np.mean(np.array(cuts) > THRESHOLD) > 0.8


def test_a_camera_that_turned_has_changed(drives):
    for drive in drives:
        for rgb in drive[::3]:
            assert scene_change(thumbnail(rgb), thumbnail(rgb[:, ::-1])) > scene_change(
                thumbnail(rgb), thumbnail(rgb)
            )
    turned = [each for drive in drives for each in changes(drive, [np.roll(rgb, 160, 1) for rgb in drive])]
    assert np.median(turned) > THRESHOLD


@pytest.mark.parametrize("factor", [0.5, 1.2])
def test_brightness_is_no_change(drives, factor):
    for drive in drives:
        brighter = [np.clip(rgb * factor, 0, 255).astype(np.uint8) for rgb in drive]
        assert max(changes(drive, brighter)) < 0.1


def test_any_size_makes_the_same_thumbnail(drives):
    rgb = drives[0][0]
    large = np.repeat(np.repeat(rgb, 4, 0), 4, 1)
    assert thumbnail(rgb).shape == thumbnail(large).shape == thumbnail(rgb[:2, :1]).shape == (6, 8, 3)
    assert scene_change(thumbnail(rgb), thumbnail(large)) < 0.01


def test_images_of_one_grey():
    dark, bright = (thumbnail(np.full((40, 60, 3), value, np.uint8)) for value in (0, 255))
    assert scene_change(dark, dark) == 0 and scene_change(bright, bright) == 0
    red = np.zeros((40, 60, 3), np.uint8)
    red[..., 0] = 255
    assert scene_change(thumbnail(red), thumbnail(red)) == pytest.approx(0, abs=1e-6)
    red[:20] = 128
    assert scene_change(bright, thumbnail(red)) == pytest.approx(1)


@pytest.mark.parametrize("level", [0, 10, 30, 128, 240, "fog"])
@pytest.mark.parametrize("shape", [(480, 640, 3), (192, 192, 3)])
def test_the_noise_of_a_camera_that_sees_next_to_nothing_is_no_change(level, shape):
    random = np.random.default_rng(7)
    even = np.linspace(180, 205, shape[0])[:, None, None] if level == "fog" else level
    frames = [np.clip(np.rint(even + random.normal(0, 3, shape)), 0, 255).astype(np.uint8) for _ in range(6)]
    assert max(changes(frames, frames[1:] + frames[:1])) < THRESHOLD / 2


def test_a_cap_that_is_taken_off_is_a_change(drives):
    for drive in drives:
        capped = [np.full_like(rgb, 3) for rgb in drive]
        assert min(changes(capped, drive) + changes(drive, capped)) > THRESHOLD
