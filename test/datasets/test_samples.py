"""Frames and their ground truth, matched by stamp."""

import random
import tracemalloc

import cv2
import numpy as np
import pytest
from mcap.writer import CompressionType

from activesam_ros.datasets.recordings import Recording
from activesam_ros.datasets.samples import (
    SampleReader,
    default_image_topic,
    default_labels_topic,
    match_stamps,
)
from activesam_ros.errors import EvaluationError

MS = 1_000_000
TENTH = 100 * MS
HEIGHT, WIDTH = 6, 8


def picture(index: int) -> np.ndarray:
    return np.full((HEIGHT, WIDTH, 3), (index, 2 * index, 255 - index), np.uint8)


def truth(index: int, dtype=np.uint8) -> np.ndarray:
    return np.full((HEIGHT, WIDTH), index, dtype)


@pytest.fixture
def drive(bags):
    """Makes a recording of frames every 0.1 s, whose truth is stamped `late` ms later; both values tell the frame."""

    def make(frames=10, late=0, encoding="mono8", storage="mcap", damage=None, **changed):
        messages = []
        for index in range(frames):
            messages.append(bags.image("/camera", picture(index), "rgb8", index * TENTH))
            pixels = truth(index, np.uint16 if "16" in encoding else np.uint8)
            stamp = index * TENTH + late * MS
            time = index * TENTH + max(late, 0) * MS + 1
            messages.append(bags.image("/truth/labels", pixels, encoding, stamp, time, **changed))
        options = {} if damage is None else {"damage": damage}
        return Recording(bags.write(messages, storage, **options))

    return make


def read(source, **options):
    return list(SampleReader(source, "/camera", "/truth/labels", **options))


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
@pytest.mark.parametrize("encoding", ["mono8", "8UC1", "mono16", "16UC1"])
def test_frames_come_in_order_with_their_truth(bags, drive, storage, encoding):
    with drive(storage=storage, encoding=encoding) as source:
        found = read(source)
    assert [one.index for one in found] == list(range(10))
    for index, one in enumerate(found):
        assert one.stamp == bags.start + index * TENTH and one.error is None
        assert (
            np.array_equal(one.rgb, picture(index)) and one.rgb.flags.writeable and one.rgb.flags.c_contiguous
        )
        assert np.array_equal(one.truth, truth(index))
        assert one.truth.dtype == (np.uint16 if "16" in encoding else np.uint8)


@pytest.mark.parametrize("late", [-20, -7, 0, 19, 20])
def test_truth_within_the_tolerance_is_the_frames(drive, late):
    with drive(late=late) as source:
        assert [one.truth[0, 0] for one in read(source)] == list(range(10))


def test_truth_beyond_the_tolerance_is_refused_with_the_distance(drive):
    with drive(late=21) as source:
        with pytest.raises(EvaluationError) as refusal:
            SampleReader(source, "/camera", "/truth/labels")
        assert "no label image of /truth/labels is within 0.02 s of an image of /camera" in str(refusal.value)
        assert "the nearest are 0.021 s apart" in str(refusal.value)
        assert [one.truth[0, 0] for one in read(source, tolerance_s=0.021)] == list(range(10))


def test_images_without_a_clock_are_refused_if_there_is_truth(bags):
    messages = []
    for index in range(20):
        messages.append(bags.image("/camera", picture(index), "rgb8", 0, index * TENTH))
        messages.append(bags.image("/truth/labels", truth(index), "mono8", 0, index * TENTH + 1))
    with Recording(bags.write(messages)) as source:
        with pytest.raises(EvaluationError, match="20 of 20 images of /camera have the same stamp"):
            SampleReader(source, "/camera", "/truth/labels")
        assert len(list(SampleReader(source, "/camera"))) == 20


def test_a_few_equal_stamps_get_truth_in_their_order(bags):
    stamps = [0, 0, TENTH, 2 * TENTH, 2 * TENTH]
    messages = []
    for index, stamp in enumerate(stamps):
        messages.append(bags.image("/camera", picture(index), "rgb8", stamp, index * TENTH))
        messages.append(bags.image("/truth/labels", truth(index), "mono8", stamp, index * TENTH + 1))
    with Recording(bags.write(messages)) as source:
        assert [one.truth[0, 0] for one in read(source)] == [0, 1, 2, 3, 4]


def test_without_truth_there_are_only_frames(drive):
    with drive() as source:
        found = list(SampleReader(source, "/camera"))
    assert len(found) == 10 and all(one.truth is None and one.error is None for one in found)


def test_every_so_many_frames_keep_their_numbers_and_their_truth(drive):
    with drive() as source:
        found = read(source, every=3, tolerance_s=1.0)
        assert [(one.index, one.truth[0, 0]) for one in found] == [(0, 0), (3, 3), (6, 6), (9, 9)]
        assert (
            len(SampleReader(source, "/camera", every=3)) == 4 and len(SampleReader(source, "/camera")) == 10
        )


def test_a_part_of_the_recording(drive):
    with drive(late=5) as source:
        found = read(source, start_s=0.3, end_s=0.7)
        assert [(one.index, one.truth[0, 0]) for one in found] == [(0, 3), (1, 4), (2, 5), (3, 6)]
        assert len(SampleReader(source, "/camera", every=3, start_s=0.3, end_s=0.7)) == 2


def test_truth_is_used_once_and_by_the_nearest(bags):
    messages = [bags.image("/camera", picture(index), "rgb8", index * 30 * MS) for index in range(6)]
    # Truth for every third frame, a little late: 10 ms from its own frame and 20 ms from the next.
    messages += [
        bags.image("/truth/labels", truth(index), "mono8", (index * 30 + 10) * MS, index * 30 * MS + 5)
        for index in (0, 3)
    ]
    with Recording(bags.write(sorted(messages, key=lambda one: one.time))) as source:
        found = [None if one.truth is None else int(one.truth[0, 0]) for one in read(source)]
    assert found == [0, None, None, 3, None, None]


def test_pairs_are_those_of_trying_all_by_distance():
    dice = random.Random(11)
    for _ in range(200):
        images = [dice.choice([None, dice.randrange(100)]) for _ in range(dice.randint(0, 6))]
        truths = [dice.choice([None, dice.randrange(100)]) for _ in range(dice.randint(0, 6))]
        tolerance = dice.randrange(40)
        found = match_stamps(images, truths, tolerance)
        assert len(set(found.values())) == len(found)
        distances = {
            (i, t): abs(image - one)
            for i, image in enumerate(images)
            for t, one in enumerate(truths)
            if image is not None and one is not None and abs(image - one) <= tolerance
        }
        for (i, t), distance in distances.items():
            # No pair that both sides would rather be in.
            mine = distances[i, found[i]] if i in found else tolerance + 1
            theirs = min((distances[j, u] for j, u in found.items() if u == t), default=tolerance + 1)
            assert distance >= min(mine, theirs)


def test_truth_recorded_much_later_or_sooner_is_found(bags):
    for name, shift in (("sooner", -3), ("later", 3)):
        messages = []
        for index in range(20):
            messages.append(
                bags.image("/camera", picture(index), "rgb8", index * TENTH, 5000 * MS + index * TENTH)
            )
            time = (5000 + shift * 1000) * MS + index * TENTH
            messages.append(bags.image("/truth/labels", truth(index), "mono8", index * TENTH, time))
        path = bags.write(sorted(messages, key=lambda one: one.time), name=name)
        with Recording(path) as source:
            assert [one.truth[0, 0] for one in read(source)] == list(range(20))


def test_truth_in_another_order_is_found_while_it_is_near(bags):
    messages = [bags.image("/camera", picture(index), "rgb8", index * TENTH) for index in range(100)]
    order = [*range(9, -1, -1), *range(99, 9, -1)]
    for place, index in enumerate(order):
        messages.append(bags.image("/truth/labels", truth(index), "mono8", index * TENTH, place * TENTH + 1))
    with Recording(bags.write(sorted(messages, key=lambda one: one.time))) as source:
        found = read(source)
    assert [one.truth[0, 0] for one in found[:10]] == list(range(10))
    # Turning 90 frames round needs more of them than are held.
    lost = [one for one in found if one.truth is None]
    assert lost and all(
        one.error == "the ground truth cannot be read: it was recorded too far out of order" for one in lost
    )
    assert all(one.truth[0, 0] == one.index for one in found if one.truth is not None)


def test_what_cannot_be_read_is_said_in_its_sample(drive):
    # Messages by turns: images are even, truths odd.
    with drive(damage=lambda index, raw: raw[:50] if index in (2, 7) else raw) as source:
        found = read(source)
    assert len(found) == 10
    assert found[1].rgb is None and found[1].truth is None and "is no sensor_msgs/msg/Image" in found[1].error
    assert found[3].rgb is not None and found[3].truth is None and "the ground truth cannot" in found[3].error
    good = [one for one in found if one.index not in (1, 3)]
    assert all(one.error is None and one.truth[0, 0] == one.index for one in good)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"encoding": "rgb8"}, "the ground truth cannot be read: the encoding 'rgb8' holds no class ids"),
        ({"encoding": "32FC1"}, "the ground truth cannot be read: the encoding '32FC1' holds no class ids"),
        ({"height": 3, "width": 8}, "the ground truth is 8x3, the image 8x6"),
        ({"height": 0}, "the ground truth cannot be read: the image is empty (8x0 pixels)"),
    ],
)
def test_truth_that_does_not_fit_is_said_and_the_frame_stays(drive, changed, said):
    with drive(frames=2, **changed) as source:
        for one in read(source):
            assert one.rgb is not None and one.truth is None and said in one.error


def test_broken_images_are_said(bags):
    messages = [
        bags.image("/camera", picture(0), "rgb8", 0, step=3),
        bags.image("/camera", picture(1), "hsv8", TENTH),
        bags.image("/camera", picture(2), "rgb8", 2 * TENTH),
    ]
    with Recording(bags.write(messages)) as source:
        found = list(SampleReader(source, "/camera"))
        assert "step is 3 bytes" in found[0].error and "'hsv8' is not known" in found[1].error
        assert found[2].error is None
        assert "at most 47 are taken" in list(SampleReader(source, "/camera", max_pixels=47))[2].error


def test_compressed_images_and_truth(bags):
    messages = []
    for index in range(4):
        png = cv2.imencode(".png", picture(index)[..., ::-1])[1].tobytes()
        messages.append(
            bags.compressed("/camera/compressed", png, "rgb8; png compressed bgr8", index * TENTH)
        )
        ids = cv2.imencode(".png", truth(index))[1].tobytes()
        ids = ids[:-20] if index == 2 else ids
        messages.append(bags.compressed("/truth/compressed", ids, "mono8; png compressed ", index * TENTH))
    with Recording(bags.write(messages)) as source:
        found = list(SampleReader(source, "/camera/compressed", "/truth/compressed"))
    for index, one in enumerate(found):
        assert np.array_equal(one.rgb, picture(index))
        assert (one.truth is None) == (index == 2)
    assert "the ground truth cannot be read: the compressed image" in found[2].error


def test_topics_that_are_missing_or_hold_something_else_are_refused_at_once(bags, drive):
    with drive() as source:
        with pytest.raises(
            EvaluationError, match=r"no topic /front; it has /camera \(sensor_msgs/msg/Image\)"
        ):
            SampleReader(source, "/front")
        with pytest.raises(EvaluationError, match="no topic /gone; it has"):
            SampleReader(source, "/camera", "/gone")
    infos = bags.write([bags.label_info("/info", {0: "road"})], name="info")
    expected = pytest.raises(EvaluationError, match="/info holds vision_msgs/msg/LabelInfo, not images")
    with Recording(infos) as source, expected:
        SampleReader(source, "/info")


@pytest.mark.parametrize(
    "options",
    [{"compression": CompressionType.LZ4, "chunk_size": 500}, {"use_chunking": False}],
    ids=["chunks", "unchunked"],
)
@pytest.mark.parametrize("cut", [False, True])
def test_images_and_truth_are_read_alongside_in_every_kind_of_file(bags, options, cut):
    messages = []
    for index in range(30):
        messages.append(bags.image("/camera", picture(index), "rgb8", index * TENTH))
        messages.append(bags.image("/truth/labels", truth(index), "mono8", index * TENTH, index * TENTH + 1))
    path = bags.write_mcap(messages, **options)
    if cut:
        path.write_bytes(path.read_bytes()[: -path.stat().st_size // 2])
    with Recording(path) as source:
        found = read(source)
        assert (source.cut is not None) == cut and (len(found) < 30) == cut and len(found) > 5
        assert all(one.truth[0, 0] == one.index for one in found[:-1])


def test_the_only_pictures_are_the_default(bags, drive):
    with drive() as source:
        assert default_image_topic(source, "/truth/labels") == "/camera"
        with pytest.raises(
            EvaluationError, match="several topics with images, name one: /camera, /truth/labels"
        ):
            default_image_topic(source)
    jpeg = cv2.imencode(".jpg", picture(1))[1].tobytes()
    messages = [
        bags.image("/front/image", picture(1), "rgb8", 0),
        bags.compressed("/front/image/compressed", jpeg, "jpeg", 0),
        bags.compressed("/depth/image/compressed", jpeg, "16UC1; compressedDepth", 0),
        bags.image("/depth/image", truth(1, np.uint16), "16UC1", 0),
    ]
    with Recording(bags.write(messages, name="robot")) as source:
        assert default_image_topic(source) == "/front/image"
    with Recording(bags.write(messages[1:], name="small")) as source:
        assert default_image_topic(source) == "/front/image/compressed"
    infos = bags.write([bags.label_info("/info", {0: "road"})], name="info")
    expected = pytest.raises(EvaluationError, match=r"no topic with pictures; it has /info \(vision_msgs")
    with Recording(infos) as source, expected:
        default_image_topic(source)


def test_a_labelled_bags_truth_is_the_default(bags, drive):
    with drive() as source:
        assert default_labels_topic(source, None) is None
        assert default_labels_topic(source, "/truth/labels") == "/truth/labels"
        with pytest.raises(EvaluationError, match="has no topic /gone"):
            default_labels_topic(source, "/gone")
    made = [
        bags.image("/camera/image", picture(1), "rgb8", 0),
        bags.image("/ground_truth/labels", truth(1), "mono8", 0),
    ]
    with Recording(bags.write(made, name="made")) as source:
        assert default_labels_topic(source, None) == "/ground_truth/labels"
        assert default_labels_topic(source, "none") is None
        assert default_image_topic(source) == "/camera/image"


def test_topics_without_messages_are_no_choice(bags):
    from mcap.writer import Writer

    path = bags.folder / "empty.mcap"
    with path.open("wb") as file:
        writer = Writer(file)
        writer.start(profile="ros2")
        for topic in ("/camera", "/other", "/ground_truth/labels"):
            writer.register_channel(topic, "cdr", writer.register_schema(bags.IMAGE, "ros2msg", b""))
        schema = writer.register_schema(bags.COMPRESSED, "ros2msg", b"")
        channel = writer.register_channel("/camera/compressed", "cdr", schema)
        writer.add_message(channel, 1, bags.raw(bags.compressed("", b"", "jpeg", 0)), 1)
        writer.finish()
    with Recording(path) as source:
        assert default_image_topic(source) == "/camera/compressed"
        assert default_labels_topic(source, None) is None


@pytest.mark.parametrize(
    ("kind", "encoding", "said"),
    [
        (
            "foxglove_msgs/msg/CompressedVideo",
            "cdr",
            r"packets of a video .* -p in_transport:=foxglove .* -r in/foxg",
        ),
        (
            "ffmpeg_image_transport_msgs/msg/FFMPEGPacket",
            "cdr",
            ".*-p in_transport:=ffmpeg .* record /camera/image",
        ),
        ("sensor_msgs/Image", "ros1", "images of ROS 1 .*rosbags-convert"),
    ],
)
def test_what_cannot_be_read_as_images_names_the_way(bags, kind, encoding, said):
    from mcap.writer import Writer

    path = bags.folder / "video.mcap"
    with path.open("wb") as file:
        writer = Writer(file)
        writer.start(profile="ros2")
        channel = writer.register_channel(
            "/film", encoding, writer.register_schema(kind, "ros2msg", b"uint8[] data")
        )
        writer.add_message(channel, 1, b"\0\1\0\0", 1)
        writer.finish()
    with Recording(path) as source:
        for ask in (lambda: default_image_topic(source), lambda: SampleReader(source, "/film")):
            with pytest.raises(EvaluationError, match=f"/film holds {said}"):
                ask()


def test_memory_stays_bounded_over_a_long_recording(bags):
    large = np.zeros((200, 300, 3), np.uint8)
    messages = []
    for index in range(120):
        messages.append(bags.image("/camera", large, "rgb8", index * TENTH))
        messages.append(bags.image("/truth/labels", large[..., 0], "mono8", index * TENTH))
    with Recording(bags.write(messages)) as source:
        del messages
        for _ in zip(range(5), SampleReader(source, "/camera", "/truth/labels"), strict=False):
            pass  # what is loaded once
        tracemalloc.start()
        count = sum(1 for _ in SampleReader(source, "/camera", "/truth/labels"))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    # All frames are 29 MB; a chunk of rosbags is 1 MB, read and copied for images and for truth.
    assert count == 120 and peak < 12_000_000
