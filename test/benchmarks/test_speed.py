"""Time and memory of the variants, here on few classes and small images."""

import json
from contextlib import contextmanager, nullcontext
from dataclasses import asdict

import numpy as np
import pytest

from activesam_ros.benchmarks import speed
from activesam_ros.benchmarks.speed import (
    VARIANTS,
    LabelledImage,
    Loaded,
    MeasuredSegmenter,
    SpeedOptions,
    class_names,
    drive_images,
    measure_speed,
)
from activesam_ros.cli.bench import SPEED_VARIANTS, main

TINY = SpeedOptions(("plain", "lean", "realtime"), classes=4, size=(64, 48), images=2, masks=3, max_active=3)


class Here:
    """A path in this process."""

    def __init__(self, path, name, asked):
        self._path, self._name, self._asked = path, name, asked

    def call(self, name, *arguments):
        self._asked.append((self._name, name))
        return getattr(self._path, name)(*arguments)


@pytest.fixture(scope="module")
def measured():
    """What was found, and which path was called for what."""
    asked = []

    @contextmanager
    def here(make, path, *arguments, threads=None):
        """In place of a process for each path, which takes seconds to import torch."""
        yield Here(make(path, *arguments), path.name, asked)

    return measure_speed(TINY, lambda text: None, here), asked


def test_paths_in_turns(measured):
    found, asked = measured
    turns = [path for path, name in asked if name == "run"]
    forth = ["plain", "lean", "realtime"]
    assert turns == forth[::-1] + forth + forth[::-1]
    assert list(found.paths) == forth
    plain, lean = found.paths["plain"], found.paths["lean"]
    assert plain.equal_pixels == plain.equal_sets == 1
    assert set(plain.ratio.values()) == {1.0}
    assert lean.equal_pixels > 0.999 and lean.equal_sets == 1
    assert set(lean.seconds) >= {"prepare", "encode", "decode", "fuse", "total", "processor"}
    # The threshold is chosen on the first image, and those that count are others: some of the 16 object queries.
    assert 1 <= plain.masks < 16 and lean.masks == pytest.approx(plain.masks, abs=0.2)
    assert plain.loaded.weights > 0 and plain.gpu_seconds is None
    json.dumps(asdict(found))
    page = speed.to_markdown(found)
    assert "| `lean` | cpu | float32 |" in page and "for 3 masks a prompt in `plain`" in page
    assert "at most 3 prompts decoded" in page and plain.active <= 3


class Counting:
    """A path whose n-th image takes n seconds."""

    def __init__(self):
        self.images = 0

    def call(self, name, *arguments):
        if name == "loaded":
            return Loaded("a machine", "cuda:0 (a GPU)", "bfloat16", 1008, 672, 2**30)
        self.images += 1
        seconds = float(self.images)
        return LabelledImage(
            {"encode": seconds, "total": seconds}, seconds / 2, 2**20, np.zeros((2, 2)), (0,), (1,)
        )


@pytest.mark.parametrize(("cold", "mean"), [(False, 3.0), (True, 2.0)])
def test_what_counts_of_the_images(cold, mean):
    options = SpeedOptions(("plain", "lean"), size=(16, 12), images=3, cold=cold)
    found = measure_speed(options, lambda text: None, lambda *_, threads: nullcontext(Counting()))
    lean = found.paths["lean"]
    assert lean.gpu_seconds <= lean.gpu_seconds_95 < 2 * lean.gpu_seconds
    assert lean.mean_seconds == lean.seconds["total"] == 2 * lean.gpu_seconds == mean
    assert lean.peak == 2**20 and lean.ratio == {"encode": 1.0, "total": 1.0}
    page = speed.to_markdown(found)
    assert "max_memory_allocated" in page and "cuda:0 (a GPU) | bfloat16" in page


def test_the_threshold_keeps_as_many_masks_as_asked(street_image, toytown_checkpoint):
    path = MeasuredSegmenter(VARIANTS["lean"], "toytown", "cpu", "float32", ["road", "sky", "car"], None)
    path.use_threshold(path.threshold_for(street_image, 5))
    assert sum(path.run(street_image).instance_counts) == 15


def test_a_system_that_does_not_forget_the_peak(monkeypatch, tmp_path, street_image):
    monkeypatch.setattr(speed, "_CLEAR_REFS", tmp_path / "no folder" / "clear_refs")
    path = MeasuredSegmenter(VARIANTS["lean"], "toytown", "cpu", "float32", ["road"], None)
    assert path.run(street_image[::4, ::4]).peak is None


def test_images_and_class_names():
    first, second = drive_images(2, (40, 30))
    assert first.shape == (30, 40, 3) and (first != second).any()
    assert len(class_names("toytown", 60)) == 60
    assert class_names("toytown", 171) == class_names("elsewhere", 171)


def test_the_command_line(measured, monkeypatch, tmp_path, capsys):
    given = []
    monkeypatch.setattr(speed, "measure_speed", lambda options, say: given.append(options) or measured[0])
    line = "speed --classes 9 --size 320x240 --images 3 --cold --threads 2 --paths lean,plain --dtype float32"
    line += " --max-active 5"
    assert main([*line.split(), "--out", str(tmp_path)]) == 0
    assert set(SPEED_VARIANTS) == set(VARIANTS)
    assert given == [
        SpeedOptions(
            ("lean", "plain"), "toytown", "auto", "float32", 9, (320, 240), 3, True, threads=2, max_active=5
        )
    ]
    assert {path.name for path in tmp_path.iterdir()} == {"speed.md", "speed.json"}
    assert capsys.readouterr().out == (tmp_path / "speed.md").read_text()
