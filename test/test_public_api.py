"""What a program reaches from the package's root: import, labels of any image, streams, drawn and saved results."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

import activesam_ros
from activesam_ros import ActiveSegmenter, SegmentationResult, SegmenterSettings, Vocabulary
from activesam_ros.errors import ActiveSamError, ImageError, SettingsError, VocabularyError
from activesam_ros.results import result_paths
from activesam_ros.settings import PROFILES
from activesam_ros.stages.temporal_reuse import StreamMemory
from activesam_ros.toytown import CLASSES, DEMO_CLASSES


def test_importing_the_package_loads_neither_torch_nor_rclpy():
    code = (
        "import sys, json, activesam_ros; activesam_ros.SegmenterSettings, activesam_ros.SegmentationResult;"
        "print(json.dumps([name for name in ('torch', 'transformers', 'rclpy', 'cv2') if name in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []


def test_every_public_name_is_there():
    assert all(getattr(activesam_ros, name) for name in activesam_ros.__all__)
    assert set(activesam_ros.__all__) <= set(dir(activesam_ros))
    with pytest.raises(AttributeError, match="no attribute 'Segmenter'"):
        activesam_ros.Segmenter  # noqa: B018


@pytest.fixture
def make(toytown_checkpoint):
    def build(words=CLASSES, **settings):
        model = ActiveSegmenter(toytown_checkpoint, SegmenterSettings(**settings))
        model.set_vocabulary(list(words))
        return model

    return build


def same(one, other):
    return np.array_equal(one.labels, other.labels) and np.array_equal(one.confidence, other.confidence)


def test_the_same_image_in_every_form_gets_the_same_labels(make, street_image, tmp_path):
    model = make()
    Image.fromarray(street_image).save(tmp_path / "street.png")
    expected = model.segment(street_image)
    forms = [
        street_image,
        str(tmp_path / "street.png"),
        tmp_path / "street.png",
        Image.fromarray(street_image),
        torch.from_numpy(street_image).permute(2, 0, 1),
    ]
    for form in forms:
        result = model(form)
        assert isinstance(result, SegmentationResult) and same(result, expected)
    assert result.class_names == CLASSES


def test_a_list_is_one_batch(make, street_image, tmp_path):
    model = make(DEMO_CLASSES)
    Image.fromarray(street_image[:, ::-1]).save(tmp_path / "mirrored.png")
    first, second = model([street_image, tmp_path / "mirrored.png"])
    assert np.array_equal(first.labels, model(street_image).labels)
    assert np.array_equal(second.labels, model(street_image[:, ::-1]).labels)
    assert (first.name, second.name) == ("image", "mirrored")
    assert model([]) == [] and len(model((street_image,))) == 1


def test_one_bad_image_is_one_sentence(make, tmp_path):
    with pytest.raises(ImageError, match="there is no image"):
        make()(tmp_path / "missing.png")
    with pytest.raises(ImageError, match="is a dict; expected"):
        make()({})
    with pytest.raises(ImageError, match="30x40 = 1200 pixels; at most 1000"):
        make(max_pixels=1000)(np.zeros((40, 30, 3), np.uint8))


def test_a_vocabulary_in_every_form(make, tmp_path):
    model = make()
    (tmp_path / "yard.txt").write_text("road\ncar, automobile\nsky\n")
    names = ("road", "car", "sky")
    for given in (
        ["road", "car, automobile", "sky"],
        ("road", "car, automobile", "sky"),
        "road; car, automobile; sky",
        tmp_path / "yard.txt",
        str(tmp_path / "yard.txt"),
        Vocabulary.from_names(["road", "car, automobile", "sky"]),
    ):
        model.set_vocabulary(given)
        assert model.vocabulary.names == names
    model.set_vocabulary("cityscapes")
    assert "traffic light" in model.vocabulary.names
    model.set_vocabulary(["road", "nothing else"], background="nothing else")
    assert model.vocabulary.background_id == 1
    with pytest.raises(VocabularyError, match="states its own"):
        model.set_vocabulary("cityscapes", background="sky")
    with pytest.raises(VocabularyError, match=r"no vocabulary file nowhere\.yaml"):
        model.set_vocabulary("nowhere.yaml")
    with pytest.raises(VocabularyError, match="list of names, but got 3"):
        model.set_vocabulary(3)


def test_a_result_draws_itself(make, street_image):
    result = make()(street_image)
    picture = result.plot()
    assert isinstance(picture, Image.Image) and picture.width == 320 and picture.height > 240
    assert picture.tobytes() == result.plot(street_image).tobytes()
    blank = np.zeros_like(street_image)
    assert picture.tobytes() != result.plot(blank).tobytes()


def test_a_result_saves_itself(make, street_image, tmp_path):
    result = make(background_threshold=0.4)(street_image)
    paths = result.save(tmp_path / "out")
    assert paths == result_paths(tmp_path / "out", "image", confidence=True)
    labels = cv2.imread(str(paths["labels"]), cv2.IMREAD_UNCHANGED)
    assert labels.dtype == result.labels.dtype and np.array_equal(labels, result.labels)
    confidence = cv2.imread(str(paths["confidence"]), cv2.IMREAD_UNCHANGED)
    unlabeled = result.labels == result.unlabeled_id
    assert unlabeled.any() and not confidence[unlabeled].any()
    assert np.abs(confidence[~unlabeled] / 255 - result.confidence[~unlabeled]).max() < 0.003
    with Image.open(paths["overlay"]) as overlay:
        assert np.array_equal(np.array(overlay), np.array(result.plot()))
    assert set(result.save(tmp_path, "left", confidence=False)) == {"overlay", "labels"}
    (tmp_path / "file").touch()
    with pytest.raises(ActiveSamError, match=r"cannot be written .* choose another folder"):
        result.save(tmp_path / "file")


def test_a_stream_has_the_settings_of_its_profile_and_those_given(make):
    model = make(confidence_threshold=0.1, keep_fraction=0.5)
    before = model.settings
    with model.stream() as stream:
        assert stream.settings == SegmenterSettings(**{**PROFILES["realtime"], "confidence_threshold": 0.1})
    with model.stream("realtime", preview_period=1, confidence_threshold=0.2) as stream:
        assert stream.settings.preview_period == 1 and stream.settings.confidence_threshold == 0.2
        assert stream.settings.presence_floor == PROFILES["realtime"]["presence_floor"]
    assert model.settings == before
    for profile, given, words in (
        ("quick", {}, "profile is 'quick'; expected one of paper, fast, realtime"),
        ("paper", {"period": 3}, "no setting 'period'"),
        ("paper", {"preview_period": 0}, "preview_period is 0"),
    ):
        with pytest.raises(SettingsError, match=words):
            model.stream(profile, **given)


def test_a_stream_keeps_its_memory_and_follows_the_vocabulary(make, street_image):
    model = make(DEMO_CLASSES)
    memory, own = StreamMemory(), model.with_settings(SegmenterSettings(**PROFILES["realtime"]))
    with model.stream(neighbor_tokens=1) as fewer, model.stream() as stream:
        for frame in range(3):
            result = stream(street_image, stamp=frame / 10)
            assert same(result, own.segment(street_image, memory))
            assert result.schedule.mode == ("share" if frame else "full")
        # An image beside the stream neither disturbs it, nor is labelled as a part of it.
        assert model(street_image).schedule.mode == "full"
        assert stream(street_image).schedule.mode == "share"
        prompts = model.prompts
        model.set_vocabulary(["road", "sky", "car"])
        result = stream(street_image)
        assert result.class_names == ("road", "sky", "car") and result.schedule.mode == "full"
        assert fewer(street_image).class_names == ("road", "sky", "car")
        model.use(prompts)
        assert stream(street_image).class_names == DEMO_CLASSES
        stream.reset()
        assert stream(street_image).schedule.mode == "full"
    with pytest.raises(ActiveSamError, match="the stream is closed"):
        stream(street_image)


def test_stamps(make, street_image):
    start = datetime(2026, 1, 1, tzinfo=UTC)
    for first, soon, late in (
        (7, 7.5, 13),
        (np.float64(7), np.int64(8), 14.0),
        (start, start + timedelta(seconds=1), start + timedelta(seconds=10)),
        (9.0, 9.0, 8.9),
    ):
        with make(DEMO_CLASSES).stream() as stream:
            modes = [stream(street_image, stamp=stamp).schedule.mode for stamp in (first, soon, late)]
        assert modes == ["full", "share", "full"], late


@pytest.mark.parametrize(
    ("stamp", "words"),
    [
        ("12:30", "stamp is '12:30'; expected seconds as a finite number, or a datetime"),
        (True, "stamp is True"),
        (float("nan"), "stamp is nan"),
        (float("inf"), "stamp is inf"),
        (1_700_000_000_000_000_000, "expected seconds, so divide nanoseconds by 1e9"),
    ],
)
def test_bad_stamps_are_refused(make, street_image, stamp, words):
    with make().stream() as stream, pytest.raises(ImageError, match=words):
        stream(street_image, stamp=stamp)
