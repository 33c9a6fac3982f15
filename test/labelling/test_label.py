"""Labelling: what is written, and that neither an end at any point nor a division changes a byte of it."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("rosbags")

from bags import SECOND, Bags

from activesam_ros.datasets.recordings import Recording
from activesam_ros.datasets.whole_folder import whole_folder
from activesam_ros.errors import ActiveSamError, DatasetError, SettingsError
from activesam_ros.images.raw import image_to_ids, image_to_rgb
from activesam_ros.labelling.job import LabelConfig
from activesam_ros.labelling.label import SUMMARY, label, merge
from activesam_ros.labelling.parts import PartFile, write_part
from activesam_ros.labelling.sources import Part
from activesam_ros.labelling.work import Shard, WorkFolder
from activesam_ros.segmenter import ActiveSegmenter, StreamMemory
from activesam_ros.settings import SegmenterSettings, settings_for
from activesam_ros.toytown.world import World
from activesam_ros.vocabulary import Vocabulary

if TYPE_CHECKING:
    from pathlib import Path

FRAMES = 6
BROKEN = 3
NAMES = ("road", "car, automobile", "sky", "person", "building")
CAMERA, REAR = "/camera/image", "/rear/image"


@pytest.fixture(scope="module")
def drive(tmp_path_factory) -> Path:
    """Two cameras at 5 Hz, recorded 10 ms after their stamps; and another topic."""
    bags = Bags(tmp_path_factory.mktemp("drive"))
    world = World(3, 96, 64)
    messages = []
    for index in range(FRAMES):
        stamp = index * SECOND // 5
        for topic, seconds in ((CAMERA, index / 5), (REAR, index / 5 + 40)):
            rgb = world.render(seconds).rgb
            late = stamp + SECOND // 100
            broken = {"data": np.zeros(5, np.uint8)} if topic == CAMERA and index == BROKEN else {}
            messages.append(bags.image(topic, rgb, "rgb8", stamp, late, **broken))
        messages.append(bags.label_info("/other", {0: "a"}, stamp))
    return bags.write(messages, name="drive")


@pytest.fixture(scope="module")
def segmenter() -> ActiveSegmenter:
    model = ActiveSegmenter.from_pretrained("toytown", device="cpu", prompt_cache=None)
    model.set_vocabulary(Vocabulary.from_names(NAMES))
    return model


@pytest.fixture
def config(drive, tmp_path, segmenter, monkeypatch):
    """Makes what is asked for; the model is loaded once for all tests."""
    monkeypatch.setattr(
        ActiveSegmenter,
        "from_pretrained",
        lambda model, device, dtype, settings, **_: segmenter.with_settings(settings),
    )

    def made(profile=None, out="out", **changed) -> LabelConfig:
        settings = settings_for(profile, {}) if profile else SegmenterSettings()
        given = {"topics": (("", CAMERA),), "device": "cpu", **changed}
        return LabelConfig(
            given.pop("sources", (drive,)),
            tmp_path / out,
            "toytown",
            Vocabulary.from_names(NAMES),
            settings,
            **given,
        )

    return made


def tree(folder: Path) -> dict[str, bytes]:
    """The files below a folder and what they hold."""
    return {str(one.relative_to(folder)): one.read_bytes() for one in folder.rglob("*") if one.is_file()}


def read(path, *topics):
    with Recording(path) as recording:
        return list(recording.messages(topics or recording.topics))


def test_a_recording_gets_the_nodes_topics_under_exact_headers_and_times(config, drive, segmenter):
    asked = config(keep=("/other", CAMERA), topics=(("front", CAMERA), ("rear", REAR)))
    outcome = label(asked)
    assert outcome.images == 2 * FRAMES and [name for name, _ in outcome.failed] == ["drive_front_000003"]
    with Recording(outcome.out) as labels, Recording(drive) as source:
        kinds = {name: topic.type for name, topic in labels.topics.items()}
        assert labels.notes == ()
        for topic in ("/other", CAMERA):  # copied to the byte
            copies, originals = ([*map(list, one.serialised([topic]))] for one in (labels, source))
            assert [(one[0], one[2]) for one in copies] == [(one[0], one[2]) for one in originals]
    assert kinds["/activesam/front/labels"] == kinds["/activesam/rear/confidence"] == "sensor_msgs/msg/Image"
    assert kinds["/activesam/label_info"] == "vision_msgs/msg/LabelInfo"
    assert kinds["/activesam/rear/active_classes"] == "activesam_ros/msg/ActiveClasses"

    images = [one for one in read(drive, CAMERA) if one.message.data.size > 5]
    labels, confidence, active = (
        read(outcome.out, f"/activesam/front/{name}") for name in ("labels", "confidence", "active_classes")
    )
    assert len(images) == len(labels) == len(confidence) == len(active) == FRAMES - 1
    for image, one, certain, classes in zip(images, labels, confidence, active, strict=True):
        expected = segmenter.segment(image_to_rgb(image.message))
        assert one.time_ns == certain.time_ns == classes.time_ns == image.time_ns
        assert one.message.header == certain.message.header == classes.message.header == image.message.header
        assert np.array_equal(image_to_ids(one.message), expected.labels)
        assert np.abs(image_to_ids(certain.message) / 255 - expected.confidence).max() < 0.003
        assert [each.name for each in classes.message.classes] == [each.name for each in expected.active]
        areas = [each.area * expected.labels.size for each in classes.message.classes]
        assert np.allclose(areas, [each.pixels for each in expected.active])

    (names,) = read(outcome.out, "/activesam/label_info")
    assert {one.class_id: one.class_name for one in names.message.class_map}[1] == "car"
    assert names.message.header == images[0].message.header
    (vocabulary,) = read(outcome.out, "/activesam/vocabulary")
    assert [list(one.prompts) for one in vocabulary.message.classes][1] == NAMES[1].split(", ")


def test_what_fails_is_listed_and_never_invented(config):
    outcome = label(config())
    ((name, error),) = outcome.failed
    assert name == f"drive_{BROKEN:06d}" and "5 bytes" in error
    (listed,) = json.loads((outcome.out / SUMMARY).read_bytes())["failed"]
    assert (listed["topic"], listed["index"], listed["error"]) == (CAMERA, BROKEN, error)
    outcome = label(config(out="none", part=only(BROKEN)))
    assert outcome.out is None and not config(out="none").out.exists()


def only(index):
    return Part(start=index / 5 - 0.001, end=index / 5 + 0.1)


def end_after(parts, error, asked):
    """Labels until so many images are done, then fails to write the next."""
    written = []

    def write(path, part):
        if len(written) == parts:
            raise error
        written.append(part)
        write_part(path, part)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("activesam_ros.labelling.work.write_part", write)
        label(asked)


@pytest.mark.parametrize("profile", [None, "realtime"])
@pytest.mark.parametrize("to", ["bag", "masks"])
def test_a_full_disk_or_ctrl_c_at_any_image_changes_no_byte(config, profile, to):
    asked = config(profile, format=to, topics=(("front", CAMERA), ("rear", REAR)), review=2)
    whole = label(asked)
    expected = tree(whole.out)
    whole.out.rename(whole.out.with_name("whole"))
    for parts, error in (
        (0, OSError(errno.ENOSPC, "no space left")),
        (3, KeyboardInterrupt()),
        (4, OSError()),
    ):
        with pytest.raises(type(error)):
            end_after(parts, error, asked)
        assert not asked.out.exists()
    kept = sorted((WorkFolder(asked.out).path / "parts").iterdir())
    assert len(kept) == 7
    kept[2].write_bytes(kept[2].read_bytes()[:-50])  # as a power cut may leave it
    assert label(asked) == whole and tree(whole.out) == expected
    assert not WorkFolder(asked.out).path.exists()
    assert label(asked) == whole and tree(whole.out) == expected  # nothing is left to do


def test_streams_go_on_as_if_they_had_not_been_cut(config, drive, segmenter):
    outcome = label(config(profile="realtime", topics=(("", REAR),)))
    model, memory = segmenter.with_settings(settings_for("realtime", {})), StreamMemory()
    for image, one in zip(read(drive, REAR), read(outcome.out, "/activesam/labels"), strict=True):
        memory.at(image.time_ns - 10_000_000)
        assert np.array_equal(
            model.segment(image_to_rgb(image.message), memory).labels, image_to_ids(one.message)
        )


@pytest.mark.parametrize("profile", [None, "realtime"])
def test_shards_write_the_same_bytes(config, profile):
    cameras = (("front", CAMERA), ("rear", REAR))
    asked = config(profile, topics=cameras, instances=True)
    expected = tree(label(asked).out)
    asked.out.rename(asked.out.with_name("single"))
    with pytest.raises(DatasetError, match="nothing to merge"):
        merge(asked.out)
    shards = [Shard(number, 3) for number in (3, 1, 2)]
    for shard in shards[:2]:
        assert label(asked, shard).out is None
    with pytest.raises(DatasetError, match="not complete: 2/3;"):
        merge(asked.out)
    label(asked, shards[2])
    assert tree(merge(asked.out).out) == expected
    assert merge(asked.out).out == asked.out  # again


def test_a_shard_checks_its_own_parts_alone(config, monkeypatch):
    checked = []
    whole = PartFile.whole.fget
    monkeypatch.setattr(PartFile, "whole", property(lambda part: checked.append(1) or whole(part)))
    label(config(), Shard(1, 2))
    label(config(), Shard(2, 2))
    assert not checked
    label(config(), Shard(2, 2))
    assert len(checked) == FRAMES // 2


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), "memory ran out at drive_000002"),
        (RuntimeError("CUDA error: an illegal memory access"), "the GPU failed at drive_000002"),
    ],
    ids=str,
)
def test_what_is_not_the_images_fault_ends_the_job_and_is_tried_again(config, monkeypatch, error, said):
    whole = label(config())
    expected = tree(whole.out)
    whole.out.rename(whole.out.with_name("whole"))
    segment, given = ActiveSegmenter.segment, []

    def failing(self, *args, **named):
        given.append(1)
        if len(given) == 3:
            raise error
        return segment(self, *args, **named)

    with monkeypatch.context() as patch:
        patch.setattr(ActiveSegmenter, "segment", failing)
        with pytest.raises(ActiveSamError, match=f"{said}.*run the same command"):
            label(config())
    assert len(list((WorkFolder(config().out).path / "parts").iterdir())) == 2
    assert label(config()) == whole and tree(whole.out) == expected


def test_a_model_with_other_weights_is_another_job(config, tmp_path):
    (tmp_path / "model").mkdir()
    weights = tmp_path / "model/model.safetensors"
    weights.write_bytes(b"some")
    asked = replace(config(), model=str(tmp_path / "model"))
    with pytest.raises(KeyboardInterrupt):
        end_after(2, KeyboardInterrupt(), asked)
    weights.write_bytes(b"same")
    with pytest.raises(DatasetError, match="another model"):
        label(asked)
    weights.write_bytes(b"some")
    assert label(asked).out == asked.out


def test_what_gets_its_name_is_on_the_disk(tmp_path, monkeypatch):
    sync, out, order = os.fsync, tmp_path / "out", []
    monkeypatch.setattr(
        os, "fsync", lambda file: order.append((os.fstat(file).st_ino, out.exists())) or sync(file)
    )
    with whole_folder(out) as folder:
        (folder / "below").mkdir(parents=True)
        (folder / "below/file").write_text("content")
    inside = [(path.stat().st_ino, False) for path in (out / "below/file", out / "below", out)]
    assert order == [*inside, (tmp_path.stat().st_ino, True)]


def test_another_job_is_not_mixed_in(config):
    with pytest.raises(KeyboardInterrupt):
        end_after(2, KeyboardInterrupt(), config())
    asked = config(part=only(1))
    with pytest.raises(DatasetError, match="another part"):
        label(asked)
    with WorkFolder(asked.out).locked(Shard()), pytest.raises(DatasetError, match="another process"):
        label(asked)


def test_what_is_there_is_only_replaced_if_it_is_ours_and_asked(config):
    first, other = config(part=only(1)), config(part=only(2))
    label(first)
    with pytest.raises(DatasetError, match="exists"):
        label(other)
    again = config(
        sources=(first.out,), topics=(("", "/activesam/labels"),), keep=("/activesam/*",), out="second"
    )
    with pytest.raises(DatasetError, match="--keep takes /activesam/"):
        label(again)
    label(other, overwrite=True)
    (other.out / SUMMARY).unlink()
    with pytest.raises(DatasetError, match="no folder of labels"):
        label(other, overwrite=True)
    assert (other.out / "metadata.yaml").exists()


def test_a_folder_of_images_becomes_a_data_set(config, tmp_path):
    photos = tmp_path / "my photos"
    (photos / "more").mkdir(parents=True)
    world = World(3, 96, 64)
    turned = Image.Exif()
    turned[0x0112] = 6
    for index, name in enumerate(("10.jpg", "9.jpg", "more/9.png", "9.bmp")):
        exif = {"exif": turned} if index == 0 else {}
        Image.fromarray(world.render(index).rgb).save(photos / name, **exif)
    (photos / "notes.jpg").write_text("no image")
    outcome = label(config(sources=(photos,), topics=(), format="masks", review=2))
    assert [name for name, _ in outcome.failed] == ["notes"]
    listed = (outcome.out / "ImageSets/Segmentation/default.txt").read_text().split()
    assert listed == ["9", "9-2", "10", "more_9"]
    images = {path.name for path in (outcome.out / "JPEGImages").iterdir()}
    assert images == {"9-2.jpg", "9.png", "10.png", "more_9.png"}
    assert (outcome.out / "JPEGImages/9-2.jpg").read_bytes() == (photos / "9.jpg").read_bytes()
    table = json.loads((outcome.out / "classes.json").read_bytes())
    colours = {one["id"]: one["colour"] for one in table["classes"]}
    for name in listed:
        with Image.open(outcome.out / "SegmentationClass" / f"{name}.png") as mask:
            assert mask.mode == "P" and mask.size == ((64, 96) if name == "10" else (96, 64))
            found = set(np.unique(mask)) - {table["unlabeled_id"]}
            assert found <= set(colours)
            assert all(mask.getpalette()[3 * one : 3 * one + 3] == colours[one] for one in found)
    review = json.loads((outcome.out / SUMMARY).read_bytes())["to_review"]
    assert (outcome.out / "ImageSets/Segmentation/review.txt").read_text().split() == [
        one["image"] for one in review
    ]
    assert review[0]["confidence"] <= review[1]["confidence"]


def test_folders_with_images_of_one_name_stay_apart(config, tmp_path):
    for number, name in enumerate(("left", "right")):
        (tmp_path / name).mkdir()
        Image.fromarray(World(number, 96, 64).render(0).rgb).save(tmp_path / name / "0001.png")
    outcome = label(config(sources=(tmp_path / "left", tmp_path / "right"), topics=(), format="masks"))
    assert outcome.out is not None
    for name in ("left", "right"):
        copied = (outcome.out / f"JPEGImages/{name}_0001.png").read_bytes()
        assert copied == (tmp_path / name / "0001.png").read_bytes()


def test_earlier_labels_stay_until_others_replace_them(config, monkeypatch):
    first, other = config(part=only(1)), config()
    label(first)
    before = (first.out / "metadata.yaml").read_bytes()
    segment, taken = ActiveSegmenter.segment, []

    def interrupted(self, *given, **named):
        if len(taken) == 4:
            raise KeyboardInterrupt
        taken.append(1)
        return segment(self, *given, **named)

    with monkeypatch.context() as patch:
        patch.setattr(ActiveSegmenter, "segment", interrupted)
        with pytest.raises(KeyboardInterrupt):
            label(other, overwrite=True)
    assert (first.out / "metadata.yaml").read_bytes() == before
    done = len(taken)
    monkeypatch.setattr(
        ActiveSegmenter, "segment", lambda self, *a, **b: taken.append(1) or segment(self, *a, **b)
    )
    outcome = label(other, overwrite=True)
    # Those that were done are not labelled again; those in work when it was interrupted are.
    assert done < len(taken) < 2 * outcome.images


def test_topics_to_keep_that_are_not_there_are_refused(config, tmp_path):
    with pytest.raises(
        DatasetError, match=r"--keep names '/camrea/\*', which is no topic of .*; expected .*/camera/image"
    ):
        label(config(keep=("/other", "/camrea/*")))
    with pytest.raises(DatasetError, match="write --to bag"):
        label(config(keep=("/other",), format="masks"))


@pytest.mark.slow
def test_a_killed_process_goes_on_with_the_same_bytes(drive, tmp_path):
    command = [
        sys.executable,
        "-m",
        "activesam_ros.cli.label",
        drive,
        "--image",
        CAMERA,
        "--model",
        "toytown",
    ]
    command += [
        "--vocabulary",
        "; ".join(NAMES),
        "--out",
        tmp_path / "labels",
        "--prompt-cache",
        tmp_path / "p",
    ]
    parts = tmp_path / ".labels.labelling" / "parts"
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and len(list(parts.glob("*.zip"))) < 2:
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
    assert not (tmp_path / "labels").exists()
    left = {path: path.stat().st_mtime_ns for path in parts.glob("*.zip")}
    assert len(left) >= 2
    resumed = subprocess.run(command, capture_output=True, text=True, check=False)
    assert resumed.returncode == 2 and "1 of 6 images could not be labelled" in resumed.stderr
    expected = tree(tmp_path / "labels")
    (tmp_path / "labels").rename(tmp_path / "first")
    subprocess.run(command, capture_output=True, check=False)
    assert tree(tmp_path / "labels") == expected


def test_labels_that_are_kept_do_not_move(config):
    asked = config("realtime")
    with pytest.raises(SettingsError, match=r"encode_every is 2.*expected 1"):
        label(replace(asked, settings=replace(asked.settings, encode_every=2)))
