"""The benchmark of streams: what it counts, on drives of two frames and a stand-in for the segmenter."""

from dataclasses import asdict
from types import SimpleNamespace

import numpy as np
import pytest

from activesam_ros.benchmarks import video
from activesam_ros.benchmarks.video import (
    FULL,
    MASKS,
    PREVIEW,
    TOKENS,
    FloorCost,
    SceneChanges,
    Tally,
    VideoOptions,
    VideoResult,
)
from activesam_ros.model.flops import Workload
from activesam_ros.results import EMPTY_SCHEDULE, ActiveClass, PooledMap, PreviewSchedule
from activesam_ros.settings import PROFILES, SegmenterSettings, settings_for


class Segmenter:
    """Decodes in each frame what it is told to, and asks what it is told to."""

    def __init__(self, *frames):
        self.frames = iter(frames)

    def segment(self, rgb, memory, instances):
        schedule, decoded = next(self.frames)
        preview = None
        if schedule.prompts:
            preview = np.full(25, np.nan, np.float32)
            preview[list(schedule.prompts)] = 0.25
        return SimpleNamespace(
            labels=np.where(np.arange(4) < 2, decoded[0], 255).reshape(2, 2),
            schedule=schedule,
            preview_presence=preview,
            preview_maps=(),
            active_prompts=decoded,
            prompt_presence=(0.75,) * len(decoded),
            active=tuple(ActiveClass(one, str(one), 0.75, None, 0) for one in decoded),
        )


class Work:
    def frame(self, asked):
        return SimpleNamespace(total=asked.previewed * 100 + asked.presence_only * 10 + len(asked.decoded))


def drive(*frames):
    return [SimpleNamespace(rgb=None, labels=np.array(truth).reshape(2, 2)) for truth in frames]


def test_what_is_counted():
    frames = drive([1, 1, 2, 255], [1, 1, 3, 3], [1, 1, 3, 4], [1, 1, 3, 3], [1, 1, 3, 3])
    segmenter = Segmenter(
        (PreviewSchedule("full", tuple(range(25))), (1, 2)),
        (PreviewSchedule("share", (5, 6)), (1, 2)),
        (EMPTY_SCHEDULE, (1,)),
        (PreviewSchedule("sweep", (3, 4, 5)), (1, 3)),
        (EMPTY_SCHEDULE, (1, 3)),
    )
    tally = video.measure_drives(segmenter, [frames], Work())
    assert (tally.frames, tally.full, tally.swept, tally.asked_small, tally.asked_full) == (5, 1, 1, 28, 2)
    assert tally.work == [22, 1, 302, 2]
    assert tally.pairs == [(0.25, 0.75)] * 2
    # 3 came up in the second frame and was decoded two later; 4 went undecoded.
    assert (tally.delays, tally.never) == ([2], 1)
    assert (tally.present, tally.found) == (2 + 2 + 3 + 2 + 2, 2 + 1 + 1 + 2 + 2)
    row = tally.row("some")
    assert row.work == pytest.approx(327 / 4) and row.work_highest == 302
    assert (row.delay, row.delay_highest, row.never) == (2.0, 2, 0.5)
    assert row.recall == pytest.approx(8 / 11)


def test_sam3_is_asked_what_the_demo_model_was():
    result = SimpleNamespace(
        schedule=PreviewSchedule("share", (4, 5, 6)), active_prompts=(1, 2), preview_maps=()
    )
    assert video.workload(result) == Workload(
        FULL, PREVIEW, 0, TOKENS, ((TOKENS, MASKS),) * 2, presence_only=3
    )
    result.schedule, result.active_prompts = PreviewSchedule("sweep", (4, 5, 6)), (1,)
    assert video.workload(result) == Workload(FULL, PREVIEW, 3, TOKENS, ((TOKENS, MASKS),), presence_only=0)
    # A third of the demo model's map of 24 cells is a third of SAM 3's 72.
    result.preview_maps = (PooledMap(8, 24, 3), PooledMap(24, 24, 1))
    assert video.workload(result) == Workload(
        FULL, PREVIEW, 0, TOKENS, ((TOKENS, MASKS),), pooled=((24, 3), (72, 1))
    )


def test_a_floor_is_wrong_about_what_decoding_finds():
    row = FloorCost.of(0.3, [(0.1, 0.2), (0.1, 0.9), (0.2, 0.1), (0.8, 0.1)], _tally().row("x"))
    assert row.under == 0.75 and row.wrong == pytest.approx(1 / 3)
    assert FloorCost.of(0.0, [(0.1, 0.2)], row.measured).wrong == 0


def _tally():
    tally = Tally(frames=2, decoded=3, present=4, found=3, work=[10, 20])
    tally.confusion.add(np.zeros((2, 2), int), np.zeros((2, 2), int))
    return tally


def test_the_tables():
    row = _tally().row("some")
    floors = (FloorCost.of(0.1, [(0.0, 0.5)], row),)
    found = VideoResult(VideoOptions(), floors, (row,))
    lines = video.to_markdown(found).splitlines()
    assert "| 0.1 | 100.0% | 100.0% | 1.5 | 1.0000 | 0.7500 | 0.00 |" in lines
    assert lines[-1].startswith("| some | 0.00 | 0.00 | 1.5 | 0.0 | 0.0 | 0.0% | 1.0000 | 0.7500 | – | – |")
    assert asdict(found)["profiles"][0]["recall"] == 0.75
    found = VideoResult(VideoOptions(), floors, (row,), (SceneChanges("of a drive", 0.1, 0.2, 0.3, 0.05),))
    assert video.to_markdown(found).splitlines()[-1] == "| of a drive | 0.10 | 0.20 | 0.30 | 5.0% |"


def test_the_change_detector_is_measured_on_drives_cuts_turns_and_light():
    random = np.random.default_rng(1)
    # Each stands still before a scene of its own.
    drives = [[random.integers(20, 160, (48, 64, 3), dtype=np.uint8)] * 4 for _ in range(3)]
    rows = {row.pairs: row for row in video.measure_scene_changes(drives)}
    assert [name for name in rows if name.startswith("of a drive")] == [
        f"of a drive, at {rate} Hz" for rate in (6, 3, 2)
    ]
    assert rows["of a drive, at 2 Hz"].high == pytest.approx(0, abs=1e-6)
    assert rows["of two drives"].cuts == rows["one, and itself turned by a third of its width"].cuts == 1
    assert rows["one, and itself with half the light"].high < 0.2
    assert len(rows) == 7 and len(video.measure_scene_changes(drives[:1])) == 6


def test_every_variant_is_one_of_the_profile():
    for variant in video.VARIANTS:
        SegmenterSettings(**{**PROFILES["realtime"], **variant})
        usual = settings_for("realtime", {})
        assert any(getattr(usual, name) != value for name, value in variant.items())
