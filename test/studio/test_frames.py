"""The pictures of a studio: of a folder, of a recording at random, and those that cannot be read."""

import cv2
import numpy as np
import pytest

from activesam_ros.datasets.recordings import Recording
from activesam_ros.errors import DatasetError, EvaluationError, ImageError
from activesam_ros.studio.frames import BagFrames, DemoFrames, FolderFrames


def grey(value):
    return np.full((6, 8, 3), value, np.uint8)


def test_a_folder_in_natural_order_and_nothing_outside_of_it(tmp_path):
    inside, outside = tmp_path / "in", tmp_path / "out"
    (inside / "sub").mkdir(parents=True)
    outside.mkdir()
    cv2.imwrite(str(outside / "secret.png"), grey(1))
    for name, value in (("2.png", 2), ("10.png", 10), ("sub/1.png", 1)):
        cv2.imwrite(str(inside / name), grey(value))
    (inside / "3.png").symlink_to(outside / "secret.png")
    (inside / "4.png").write_bytes(b"no image")
    frames = FolderFrames(inside, 1000)
    assert [frames.name(index) for index in range(len(frames))] == ["2.png", "4.png", "10.png", "sub/1.png"]
    assert frames.read(2)[0, 0, 0] == 10
    with pytest.raises(ImageError):
        frames.read(1)
    with pytest.raises(ImageError, match="pixels"):
        FolderFrames(inside, 10).read(0)
    with pytest.raises(DatasetError, match="has no images"):
        FolderFrames(tmp_path / "none", 10)


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_a_recording_at_random(bags, storage):
    times = [0, 100_000_001, 100_000_001, 250_000_000_003]
    messages = [bags.image("/a", grey(10 * index), "rgb8", time) for index, time in enumerate(times)]
    messages.insert(2, bags.image("/b", grey(200), "rgb8", 100_000_001))
    messages.append(bags.image("/a", grey(0), "nonsense", 260_000_000_000))
    with Recording(bags.write(messages, storage)) as recording:
        with pytest.raises(EvaluationError, match="several topics"):
            BagFrames(recording, None, 1000)
        frames = BagFrames(recording, "/a", 1000)
        assert len(frames) == 5 and frames.name(3) == "250.00 s"
        for index in (3, 0, 2, 1, 3):
            assert frames.read(index)[0, 0, 0] == 10 * index
        with pytest.raises(ImageError, match=r"the image at 260\.00 s cannot be read"):
            frames.read(4)


def test_the_demo_is_a_drive():
    frames = DemoFrames(3, 64, 48)
    assert frames.read(0).shape == (48, 64, 3) and (frames.read(0) != frames.read(len(frames) - 1)).any()
