"""Data sets and instances: what their own readers find in them is what was labelled."""

from __future__ import annotations

import io
import json
import sys

import cv2
import numpy as np
import pytest
import yaml
from PIL import Image

pytest.importorskip("rosbags")

from bags import SECOND, Bags

from activesam_ros.cli.label import main
from activesam_ros.datasets.recordings import Recording
from activesam_ros.datasets.samples import image_to_ids
from activesam_ros.errors import DatasetError
from activesam_ros.images.raw import image_to_rgb
from activesam_ros.labelling.job import LabelConfig
from activesam_ros.labelling.label import label
from activesam_ros.labelling.png import rgb_png
from activesam_ros.labelling.to_yolo import polygons
from activesam_ros.segmenter import ActiveSegmenter, IdCounter, StreamMemory
from activesam_ros.settings import SegmenterSettings, settings_for
from activesam_ros.toytown.world import World
from activesam_ros.vocabulary import Vocabulary

FRAMES = 3
TOPIC = "/camera/image"
NAMES = ("road", "car, automobile", "sky", "person", "building", "vegetation")


@pytest.fixture(scope="module")
def drive(tmp_path_factory):
    bags = Bags(tmp_path_factory.mktemp("drive"))
    world = World(3, 192, 128)
    rgb = [world.render(index / 4).rgb for index in range(FRAMES)]
    return bags.write([bags.image(TOPIC, one, "rgb8", place * SECOND) for place, one in enumerate(rgb)])


@pytest.fixture(scope="module")
def segmenter():
    model = ActiveSegmenter.from_pretrained("toytown", device="cpu", prompt_cache=None)
    model.set_vocabulary(Vocabulary.from_names(NAMES))
    return model


@pytest.fixture(scope="module")
def expected(drive, segmenter):
    with Recording(drive) as recording:
        images = [image_to_rgb(one.message) for one in recording.messages([TOPIC])]
    return [segmenter.segment(one) for one in images]


@pytest.fixture
def made(drive, tmp_path, segmenter, monkeypatch):
    """Labels the drive and returns the folder."""
    monkeypatch.setattr(ActiveSegmenter, "from_pretrained", lambda *_, **__: segmenter)

    def label_to(format, **changed):
        vocabulary = Vocabulary.from_names(NAMES)
        asked = LabelConfig((drive,), tmp_path / "out", "toytown", vocabulary, SegmenterSettings(), "cpu")
        return label(LabelConfig(**{**asked.__dict__, "format": format, **changed})).out

    return label_to


def test_coco_tells_every_pixel_once(made, expected):
    coco = pytest.importorskip("pycocotools.coco")
    folder = made("coco", instances=True, stuff=("road", "sky"), review=1)
    read = coco.COCO(str(folder / "annotations/instances_default.json"))
    panoptic = json.loads((folder / "annotations/panoptic_default.json").read_bytes())
    isthing = {one["name"]: one["isthing"] for one in panoptic["categories"]}
    assert isthing == {"road": 0, "car": 1, "sky": 0, "person": 1, "building": 1, "vegetation": 1}
    assert sum(len(one.instances) for one in expected) > FRAMES
    tracks = []
    for image_id, result, about in zip(sorted(read.imgs), expected, panoptic["annotations"], strict=True):
        labels, counts = np.full(result.labels.shape, 255), np.zeros(result.labels.shape, int)
        found = read.loadAnns(read.getAnnIds(image_id))
        for one in found:
            mask = read.annToMask(one).astype(bool)
            assert mask.sum() == one["area"]
            labels[mask] = one["category_id"] - 1
            counts += mask
        assert counts.max() == 1 and np.array_equal(labels, result.labels)
        assert Image.open(folder / "images" / read.imgs[image_id]["file_name"]).size == (192, 128)

        colours = np.asarray(Image.open(folder / "annotations/panoptic_default" / about["file_name"]), int)
        ids = colours @ (1, 256, 65536)
        assert set(np.unique(ids)) - {0} == {one["id"] for one in about["segments_info"]}
        for one in about["segments_info"]:
            assert set(result.labels[ids == one["id"]]) == {one["category_id"] - 1}
            assert (ids == one["id"]).sum() == one["area"]

        single = {tuple(np.flatnonzero(result.instance_ids == one.id)) for one in result.instances}
        things = [one for one in found if "score" in one]
        assert {one["category_id"] for one in things}.isdisjoint({1, 3})  # road and sky
        tracks.append({one["track_id"] for one in things})
        assert len(tracks[-1]) == len(things)
        assert all(one["attributes"] == {"track_id": one["track_id"]} for one in things)
        assert {tuple(np.flatnonzero(read.annToMask(one))) for one in things} <= single
    assert tracks[0] & tracks[1], "what stays in view keeps its id"
    review = coco.COCO(str(folder / "annotations/instances_review.json"))
    assert len(review.imgs) == 1 and review.getAnnIds()
    assert not list(folder.rglob("*.annotations"))


def test_yolo_polygons_cover_what_was_labelled(made, expected):
    folder = made("yolo", review=2)
    data = yaml.safe_load((folder / "data.yaml").read_text())
    assert data["names"] == dict(enumerate(("road", "car", "sky", "person", "building", "vegetation")))
    assert len((folder / data["review"]).read_text().split()) == 2
    texts = sorted((folder / "labels").iterdir())
    assert [one.stem for one in texts] == sorted(one.stem for one in (folder / "images").iterdir())
    for text, result in zip(texts, expected, strict=True):
        drawn = {}
        for line in text.read_text().splitlines():
            number, *numbers = line.split()
            points = np.array(numbers, float).reshape(-1, 2)
            assert len(points) >= 3 and points.min() > 0 and points.max() < 1
            canvas = drawn.setdefault(int(number), np.zeros(result.labels.shape, np.uint8))
            cv2.fillPoly(canvas, [np.rint(points * (192, 128) - 0.5).astype(int)], 1)
        for class_id, canvas in drawn.items():
            own = result.labels == class_id
            assert (own & (canvas > 0)).sum() > 0.95 * own.sum()
        assert {0, 2} <= set(drawn)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 1), (48, 64)])
def test_an_image_is_written_as_it_is(size):
    rgb = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    assert np.array_equal(Image.open(io.BytesIO(rgb_png(rgb))), rgb)
    assert np.array_equal(
        cv2.imdecode(np.frombuffer(rgb_png(rgb), np.uint8), cv2.IMREAD_COLOR)[..., ::-1], rgb
    )


def test_no_region_is_too_thin_for_a_polygon():
    random = np.random.default_rng(0)
    for share in (0.02, 0.1, 0.3, 0.7) * 10:
        height, width = random.integers(1, 40, 2)
        mask = random.random((height, width)) < share
        drawn = np.zeros(mask.shape, np.uint8)
        for polygon in polygons(mask):
            assert len(polygon) >= 3 and polygon.min() > 0 and polygon.max() < 1
            assert cv2.contourArea((polygon * (width, height)).astype(np.float32)) > 0
            cv2.fillPoly(drawn, [(polygon * (width, height)).astype(np.int32)], 1)  # as trainers do
        assert drawn[mask].all()


@pytest.mark.parametrize("profile", ["paper", "realtime"])
def test_instances_are_recorded_as_the_node_publishes_them(made, drive, segmenter, monkeypatch, profile):
    segmenter = segmenter.with_settings(settings_for(profile, {"occlusion_frames": 1}))
    monkeypatch.setattr(ActiveSegmenter, "from_pretrained", lambda *_, **__: segmenter)
    memory, expected = StreamMemory(IdCounter()), []  # as the node's cameras have
    with Recording(drive) as recording:
        for one in recording.messages([TOPIC]):
            memory.at(one.time_ns)
            expected.append(segmenter.segment(image_to_rgb(one.message), memory))
    ids = [[one.id for one in result.instances] for result in expected]
    assert len({*ids[0], *ids[1], *ids[2]}) < sum(map(len, ids)) and ids[1] != list(range(1, len(ids[1]) + 1))
    with Recording(made("bag", instances=True, settings=segmenter.settings)) as recording:
        read = {
            name: list(recording.messages([f"/activesam/{name}"]))
            for name in ("detections", "instances", "panoptic")
        }
        raw = [data for *_, data in recording.serialised(["/activesam/detections"])]
    for result, found, ids, panoptic in zip(expected, *read.values(), strict=True):
        assert ids.message.encoding == "16UC1" and panoptic.message.encoding == "32SC1"
        assert np.array_equal(image_to_ids(ids.message), result.instance_ids)
        both = panoptic.message.data.view(np.int32).reshape(result.labels.shape)
        assert np.array_equal(both >> 16, result.labels)
        assert np.array_equal(both & 0xFFFF, result.instance_ids)
        assert [one.id for one in found.message.detections] == [str(one.id) for one in result.instances]
    # ROS's own reader, where there is ROS.
    vision_msgs = pytest.importorskip("vision_msgs.msg")
    if not hasattr(vision_msgs, "Detection2DArray"):
        pytest.skip("this vision_msgs has no detections")
    deserialize = pytest.importorskip("rclpy.serialization").deserialize_message
    for result, data in zip(expected, raw, strict=True):
        message = deserialize(data, vision_msgs.Detection2DArray)
        for one, instance in zip(message.detections, result.instances, strict=True):
            box, left = one.bbox, instance.box[0]
            assert one.results[0].hypothesis.class_id == instance.name
            assert one.results[0].hypothesis.score == pytest.approx(instance.score)
            assert box.center.position.x - box.size_x / 2 == pytest.approx(left)
            assert one.results[0].pose.pose.orientation.w == 1


def test_ray_that_is_missing_or_elsewhere_is_said_in_a_sentence(drive, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    arguments = [
        str(drive),
        "--vocabulary",
        "road; car",
        "--model",
        "toytown",
        "--out",
        str(tmp_path / "out"),
    ]
    assert main([*arguments, "--ray"]) == 2
    assert "pip install 'ray[data]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("drive --ray --shard 1/2", "leave out --shard"),
        ("drive --workers 2", "give --ray"),
        ("drive --stuff road --to coco", "give --instances"),
        ("drive --stuff road --instances", "--to coco or yolo"),
        ("drive --prefix activesam", "expected the beginning of topics"),
        ("drive --prefix /a//b", "expected the beginning of topics"),
        ("drive --prefix /a/1b", "expected the beginning of topics"),
        ("drive --prefix /a --to masks", "write --to bag"),
        ("drive --image 1=/camera/image", "NAME=TOPIC"),
        ("drive --start 2 --end 1", "not before --end"),
        ("drive --merge", "leave out recordings"),
        ("--merge --to coco", "leave out --to"),
        ("--merge --prompt-cache x", "leave out --prompt-cache"),
        ("--model toytown", "nothing to label is given"),
    ],
)
def test_options_that_contradict_each_other_are_refused(options, said, capsys):
    with pytest.raises(SystemExit):
        main([*options.split(), "--out", "out"])
    assert said in capsys.readouterr().err


@pytest.mark.slow
def test_ray_writes_the_same_bytes(drive, tmp_path, monkeypatch):
    pytest.importorskip("ray.data")
    monkeypatch.chdir(tmp_path)
    arguments = [str(drive), "--vocabulary", "road; car; sky", "--model", "toytown", "--out", "out"]
    assert main(arguments) == 0
    files = {one.name: one.read_bytes() for one in (tmp_path / "out").iterdir()}
    (tmp_path / "out").rename(tmp_path / "single")
    assert main([*arguments, "--ray", "--workers", "2"]) == 0
    assert {one.name: one.read_bytes() for one in (tmp_path / "out").iterdir()} == files


def test_what_cannot_be_written_is_said_before_anything_is_labelled(made, monkeypatch):
    with pytest.raises(DatasetError, match="'sea', which is no class"):
        made("coco", stuff=("sea",))
    monkeypatch.setattr("activesam_ros.labelling.job.find_spec", lambda _: None)
    with pytest.raises(DatasetError, match="pip install pycocotools"):
        made("coco")
