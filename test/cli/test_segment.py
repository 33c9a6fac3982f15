"""Labelling image files from the command line, with the demo model."""

import json

import cv2
import numpy as np
import pytest
from PIL import Image

from activesam_ros.cli import segment as segment_command
from activesam_ros.ros.parameters import DEFAULTS
from activesam_ros.segmenter import ActiveSegmenter, SegmenterSettings
from activesam_ros.toytown.world import World
from activesam_ros.vocabulary import Vocabulary

WORDS = ["road", "car", "sky", "building"]


@pytest.fixture(scope="module")
def street():
    """uint8 [120, 160, 3]."""
    return World(3, 160, 120).render(1.0).rgb


@pytest.fixture
def photo(tmp_path, street):
    path = tmp_path / "photo.png"
    cv2.imwrite(str(path), street[..., ::-1])
    return path


@pytest.fixture(scope="module")
def expected(street, toytown_checkpoint):
    settings = SegmenterSettings(background_threshold=0.4)
    segmenter = ActiveSegmenter(toytown_checkpoint, settings, prompt_cache=None)
    segmenter.set_vocabulary(Vocabulary.from_names(WORDS))
    return segmenter.segment(street)


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def command(*arguments):
        code = segment_command.main(
            [str(one) for one in (*arguments, "--model", "toytown", "--device", "cpu")]
        )
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return command


def refused(done) -> str:
    code, out, err = done
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    assert line.startswith("activesam-segment: ")
    return line


def read(path):
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)


def test_labels_confidence_and_overlay_are_those_of_the_segmenter(run, photo, expected, tmp_path):
    code, out, err = run(
        photo, "--words", "road, car, sky, building", "--confidence", "--out", tmp_path / "out"
    )
    assert (code, err) == (0, "")
    labels = read(tmp_path / "out" / "photo_labels.png")
    assert labels.dtype == np.uint8 and (labels == expected.labels).all()
    confidence = read(tmp_path / "out" / "photo_confidence.png")
    assert not confidence[labels == 255].any()
    assert np.abs(confidence - 255 * expected.confidence)[labels != 255].max() <= 0.5 + 1e-3
    overlay = read(tmp_path / "out" / "photo_overlay.png")
    assert overlay.shape[0] > 120 and overlay.shape[1] == 320
    # A pixel amid the sky has the colour of the sky blended in.
    assert expected.labels[5, 80] == 2
    assert tuple(overlay[5, 80]) != tuple(read(photo)[5, 80])
    found = {line.split()[1] for line in out.splitlines()[2:]}
    assert {"road", "sky"} <= found <= {*WORDS, "no"}


def test_json_says_what_ids_mean_and_what_was_found(run, photo, expected):
    code, out, _ = run(photo, "--vocabulary", "road; car, automobile; sky; building", "--json")
    told = json.loads(out)
    assert code == 0
    assert [(one["id"], one["name"]) for one in told["classes"]] == list(enumerate(WORDS))
    assert told["classes"][1]["prompts"] == ["car", "automobile"]
    (image,) = told["images"]
    labels = read(image["labels"])
    assert (image["width"], image["height"], image["unlabeled_id"]) == (160, 120, 255)
    areas = {one["id"]: one["area"] for one in image["classes"]}
    assert {key: pytest.approx((labels == key).mean()) for key in areas} == areas
    assert image["unlabeled_area"] == pytest.approx((labels == 255).mean())
    assert list(areas.values()) == sorted(areas.values(), reverse=True)


def test_instances_are_written_and_told(run, photo, expected):
    code, out, _ = run(photo, "--words", "road, car, sky, building", "--instances", "--json")
    (image,) = json.loads(out)["images"]
    ids = read(image["instances"])
    assert code == 0 and ids.dtype == np.uint16 and np.array_equal(ids, expected.instance_ids)
    assert [(one["id"], one["name"]) for one in image["found"]] == [
        (one.id, one.name) for one in expected.instances
    ]
    assert image["found"][0]["box"] == pytest.approx(expected.instances[0].box)


def test_a_vocabulary_file_brings_its_threshold_and_background(run, photo, tmp_path):
    file = tmp_path / "street.yaml"
    file.write_text("background: road\nbackground_threshold: 0.9\nclasses: [road, sky]\n")
    code, _, err = run(photo, "--vocabulary", file)
    assert (code, err) == (0, "")
    labels = read(tmp_path / "segmented" / "photo_labels.png")
    # What has no clear winner is road.
    assert set(np.unique(labels)) <= {0, 1}
    # Stated, it goes before the file's; so nothing has to be clear.
    assert run(photo, "--vocabulary", file, "--overwrite", "--background-threshold", "0")[0] == 0
    assert (read(tmp_path / "segmented" / "photo_labels.png") == 1).sum() > (labels == 1).sum()


def test_one_bad_file_does_not_cost_the_others(run, photo, tmp_path):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff nothing more")
    code, out, err = run(broken, photo, "--words", "road,sky")
    assert code == 2 and "photo.png" in out
    first, last = err.splitlines()
    assert "broken.jpg is not an image" in first and last.endswith("1 of 2 images could not be labelled")
    assert (tmp_path / "segmented" / "photo_labels.png").exists()
    assert not (tmp_path / "segmented" / "broken_labels.png").exists()


def test_what_cannot_be_done_is_refused_before_a_model_is_loaded(run, photo, tmp_path, monkeypatch):
    def load(*_, **__):
        raise AssertionError("a model was loaded")

    monkeypatch.setattr(ActiveSegmenter, "from_pretrained", load)
    twin = tmp_path / "more" / "photo.jpg"
    twin.parent.mkdir()
    twin.write_bytes(b"")
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "photo_labels.png").write_bytes(b"mine")
    for given, said in (
        ([photo, "--words", "road,,sky"], "class 1 has a blank name"),
        ([photo, "--vocabulary", "nowhere.yaml"], "there is no vocabulary file nowhere.yaml"),
        ([photo, "--vocabulary", "indoor", "--background", "wall"], "--background goes with words"),
        ([photo, "--words", "road", "--background", "sky"], "'sky' is not in the vocabulary"),
        ([photo, "--words", "road", "--background-threshold", "7"], "background_threshold is 7"),
        (["nothing.png", "--words", "road"], "there is no image nothing.png"),
        ([photo, twin, "--words", "road"], "would be written under one name, photo"),
        ([photo, "--words", "road", "--out", "there"], "photo_labels.png exists already; give --overwrite"),
    ):
        assert said in refused(run(*given)), said
    assert (tmp_path / "there" / "photo_labels.png").read_bytes() == b"mine"


def test_a_folder_that_cannot_be_written_is_named(run, photo, tmp_path):
    (tmp_path / "file").write_text("")
    line = refused(run(photo, "--words", "road", "--out", tmp_path / "file"))
    assert "photo_overlay.png cannot be written" in line and "--out" in line


def test_its_default_is_the_nodes():
    assert DEFAULTS["background_threshold"] == segment_command.BACKGROUND_THRESHOLD


def test_a_phones_photo_is_taken_as_it_is_looked_at(run, street, tmp_path):
    """12 megapixels, stored after a quarter turn to the left, beside a file that is none."""
    large = cv2.resize(street, (4000, 3000))
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.rot90(large)).save(tmp_path / "phone.jpg", exif=exif)
    (tmp_path / "notes.jpg").write_text("no picture")
    code, out, err = run("notes.jpg", "phone.jpg", "--words", ",".join(WORDS))
    assert code == 2 and "phone.jpg" in out
    assert "notes.jpg is not an image" in err and "1 of 2 images" in err
    labels = read(tmp_path / "segmented" / "phone_labels.png")
    assert labels.shape == (3000, 4000)
    # The sky is above, the road below.
    assert (labels[:1000] == WORDS.index("sky")).sum() > 3 * (labels[2000:] == WORDS.index("sky")).sum()
    assert (labels[2000:] == WORDS.index("road")).sum() > 3 * (labels[:1000] == WORDS.index("road")).sum()
