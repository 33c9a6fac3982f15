"""The session of a studio: what is labelled anew, what is kept, what is refused, and which request counts."""

import threading

import cv2
import numpy as np
import pytest
from studio_session import settled

from activesam_ros import segmenter as segmenter_module
from activesam_ros.errors import ActiveSamError, ImageError, VocabularyError
from activesam_ros.model.vision_encoder import VisionEncoder
from activesam_ros.segmenter import ActiveSegmenter
from activesam_ros.studio import pictures
from activesam_ros.studio.findings import at_pixel
from activesam_ros.studio.local import LocalSession
from activesam_ros.toytown import DEMO_CLASSES
from activesam_ros.toytown.world import World


@pytest.fixture
def encoded(monkeypatch):
    """The sides of the images that went through the vision encoder."""
    sides = []
    encode = VisionEncoder.encode

    def counted(self, pixels):
        sides.append(pixels.shape[-1])
        return encode(self, pixels)

    monkeypatch.setattr(VisionEncoder, "encode", counted)
    return sides


def test_an_image_is_encoded_once_for_many_words_and_settings(
    open_session, street_image, encoded, monkeypatch
):
    scored = []
    score = segmenter_module.score_presence
    monkeypatch.setattr(
        segmenter_module, "score_presence", lambda *given: (scored.append(len(given[3])), score(*given))[1]
    )
    session = open_session([street_image], vocabulary=list(DEMO_CLASSES))
    assert sorted(encoded) == [128, 192]
    session.edit(lambda now: now.added("stop sign"))
    session.edit(lambda now: now.with_values({"background_threshold": 0.1, "keep_fraction": 0.3}))
    view = settled(session)
    session.ask_phrase("tram stop")
    settled(session, lambda: session.probe is not None)
    assert 0 <= session.probe.presence <= 1 and session.probe.scores.shape == view.result.score_maps.shape[1:]
    assert sorted(encoded) == [128, 192]
    assert {"encode", "prepare"} <= view.reused and "decode" not in view.reused
    # Nor is a prompt scored twice.
    assert scored == [60, 1, 1]


def test_the_labels_are_those_of_the_segmenter(open_session, street_image, toytown_checkpoint):
    session = open_session([street_image], vocabulary=list(DEMO_CLASSES))
    session.edit(lambda now: now.renamed(0, "street").removed(1))
    view = settled(session)
    document = session.document
    segmenter = ActiveSegmenter(toytown_checkpoint, document.configuration.settings, prompt_cache=None)
    segmenter.set_vocabulary(document.vocabulary)
    expected = segmenter.segment(street_image)
    assert view.result.active_prompts == expected.active_prompts
    assert (view.result.labels == expected.labels).mean() > 0.9999
    np.testing.assert_allclose(view.result.preview_presence, expected.preview_presence, atol=1e-5)
    # A map has the scores that were fused, but for the resizing.
    index = [one.name for one in view.result.active].index("street")
    large = cv2.resize(view.result.score_maps[index].astype(np.float32), (320, 240))
    street = view.result.labels == view.result.active[index].class_id
    assert np.abs(large - view.result.confidence)[street].mean() < 0.05


def test_colours_are_changed_without_labelling(open_session, street_image, monkeypatch):
    session = open_session([street_image], vocabulary=["road", "sky"])
    before = session.view
    session.edit(lambda now: now.recoloured(0, (1, 2, 3)))
    view = settled(session)
    assert view.result.labels is before.result.labels and view.reused >= {"decode", "encode", "fuse"}
    png = cv2.imdecode(np.frombuffer(pictures.labels_png(view), np.uint8), cv2.IMREAD_UNCHANGED)
    assert (png[view.result.labels == 0][:, :3] == (3, 2, 1)).all(axis=1).mean() > 0.5


def test_every_class_says_why_it_was_not_decoded(open_session, street_image):
    session = open_session([street_image], vocabulary=list(DEMO_CLASSES))
    findings = session.view.findings
    assert sum(one.active for one in findings) == 12
    assert all(bool(one.reason) != one.active and one.presence is not None for one in findings)
    assert all("keep_fraction" in one.reason for one in findings if not one.active)
    session.edit(lambda now: now.with_values({"keep_fraction": 1.0, "presence_floor": 0.5}))
    assert any("presence_floor" in one.reason for one in settled(session).findings)
    session.edit(lambda now: now.with_values({"presence_floor": 0.0, "max_active": 5}))
    findings = settled(session).findings
    assert sum(one.active for one in findings) == 5 and any("max_active" in one.reason for one in findings)
    assert sum(one.share for one in findings) == pytest.approx(
        float((session.view.result.labels != session.view.result.unlabeled_id).mean())
    )


def test_a_pixel_tells_class_score_and_runner_up(open_session, street_image):
    session = open_session([street_image], vocabulary=list(DEMO_CLASSES))
    view = session.view
    rows, columns = np.nonzero(view.result.labels == 0)
    place = len(rows) // 2
    found = at_pixel(session.document, view.result, columns[place] / 320, rows[place] / 240)
    assert found.name == "road" and found.score > 0.5
    assert found.runner_up in DEMO_CLASSES[1:] and found.runner_up_score <= 1
    assert at_pixel(session.document, view.result, 7.0, -3.0)  # beyond the edge


def test_refused_words_change_nothing(open_session, street_image):
    session = open_session([street_image], vocabulary=["road", "sky"])
    before = session.document
    for text in ("road", "a " * 40):
        with pytest.raises(VocabularyError):
            session.edit(lambda now, text=text: now.added(text))
    assert session.document is before and not session.busy
    session.ask_phrase("sky")
    settled(session, lambda: session.probe is not None)
    assert "both ask for" in session.probe.refused


def test_a_picture_that_cannot_be_read_leaves_the_last_one(open_session, street_image):
    session = open_session([street_image, ImageError("it is broken")], vocabulary=["road", "sky"])
    before = session.view
    session.show_frame(1)
    settled(session, lambda: bool(session.message))
    assert session.message == "it is broken"
    assert (session.frame, session.view) == (0, before) and not session.busy
    session.edit(lambda now: now.added("car"))
    assert settled(session).document.vocabulary.names == ("road", "sky", "car") and session.message == ""


def test_of_many_requests_the_newest_counts(open_session, street_image, monkeypatch):
    session = open_session([street_image], vocabulary=["road", "sky"])
    labelled = []
    at_work, go_on = threading.Event(), threading.Event()
    decode = ActiveSegmenter.decode

    def slow(self, encoded, *arguments, **options):
        labelled.append(encoded.prompts.vocabulary.names[-1])
        at_work.set()
        go_on.wait(60)
        return decode(self, encoded, *arguments, **options)

    monkeypatch.setattr(ActiveSegmenter, "decode", slow)
    session.edit(lambda now: now.added("first"))
    assert at_work.wait(60)
    for name in ("second", "third", "fourth"):
        session.edit(lambda now, name=name: now.added(name))
    go_on.set()
    settled(session)
    assert labelled == ["first", "fourth"]


def test_the_score_of_a_class_that_is_not_decoded(open_session, street_image):
    session = open_session([street_image], vocabulary=list(DEMO_CLASSES))
    giraffe = DEMO_CLASSES.index("giraffe")
    session.ask_map(giraffe)
    key = (session.view.number, giraffe)
    settled(session, lambda: key in session.maps)
    assert (
        session.maps[key].shape == session.view.result.score_maps.shape[1:] and session.maps[key].max() < 0.5
    )


def test_a_score_that_cannot_be_made_is_asked_for_once_a_view(open_session, street_image, monkeypatch):
    session = open_session([street_image], vocabulary=list(DEMO_CLASSES))
    giraffe = DEMO_CLASSES.index("giraffe")
    tried = []

    def fail(self, *arguments):
        tried.append(arguments)
        raise ActiveSamError("no memory")

    monkeypatch.setattr(LocalSession, "_decode_only", fail)
    session.ask_map(giraffe)
    settled(session, lambda: session.message == "no memory")
    change = session.change
    for _ in range(3):
        session.ask_map(giraffe)
    assert session.change == change and len(tried) == 1
    session.edit(lambda now: now.with_values({"background_threshold": 0.1}))
    settled(session)
    session.ask_map(giraffe)
    settled(session, lambda: session.message == "no memory")
    assert len(tried) == 2


def test_a_scan_tells_which_classes_are_in_which_picture(open_session):
    images = [World(seed, 160, 120).render(0.0).rgb for seed in (3, 4, 5)]
    session = open_session([*images, ImageError("broken")], vocabulary=["road", "sky", "car", "giraffe"])
    session.start_scan()
    settled(session, lambda: session.scan.done)
    assert session.scan.shares[0][0] > 0.05 and session.scan.presence[3] == {} and not session.message
    rows = pictures.scan_rows(session.scan)
    assert set(rows) <= {0, 1, 2} and rows
    chart = cv2.imdecode(np.frombuffer(pictures.scan_png(session.scan, rows, {}), np.uint8), cv2.IMREAD_COLOR)
    assert chart.shape == (len(rows), 4, 3)
    session.edit(lambda now: now.added("tree"))
    settled(session)
    assert session.scan.presence == {} and not session.scanning


def test_a_scan_ends_with_what_is_no_fault_of_a_picture(open_session, street_image):
    session = open_session(
        [street_image, ActiveSamError("the recording is gone")], vocabulary=["road", "sky"]
    )
    session.start_scan()
    settled(session, lambda: bool(session.message))
    assert session.message == "the recording is gone" and not session.scanning
    assert set(session.scan.presence) == {0}


def test_pictures_for_the_browser_are_bounded():
    wide = np.zeros((400, 5000, 3), np.uint8)
    shown = cv2.imdecode(np.frombuffer(pictures.image_jpeg(wide), np.uint8), cv2.IMREAD_COLOR)
    assert shown.shape == (102, 1280, 3)
    scores = pictures.scores_png(np.zeros((48, 48), np.float16), (400, 5000))
    assert cv2.imdecode(np.frombuffer(scores, np.uint8), cv2.IMREAD_UNCHANGED).shape == (102, 1280, 4)
