"""Image files: their pixels, and themselves."""

import numpy as np
import pytest
from PIL import Image

from activesam_ros.datasets.image_files import has_exif_rotation, read_image
from activesam_ros.errors import DatasetError


@pytest.mark.parametrize(("name", "kind"), [("a.png", "png"), ("a.jpg", "jpeg")])
def test_pixels_and_bytes(tree, name, kind):
    path = tree.picture(name, seed=3)
    picture = read_image(path)
    assert (picture.encoded.data, picture.encoded.format) == (path.read_bytes(), kind)
    assert picture.rgb.dtype == np.uint8
    assert np.array_equal(picture.rgb, np.asarray(Image.open(path)))
    assert not has_exif_rotation(path)


def test_what_a_file_is_counts_and_not_its_name(tree):
    path = tree.picture("a.png")
    renamed = path.rename(path.with_suffix(".jpg"))
    assert read_image(renamed).encoded.format == "png"


def test_other_kinds_have_pixels_only(tree):
    path = tree.picture("a.bmp", seed=3)
    picture = read_image(path)
    assert picture.encoded is None
    assert np.array_equal(picture.rgb, np.asarray(Image.open(path)))


@pytest.mark.parametrize("palette", [False, True])
def test_grey_and_palettes_become_colours(tree, palette):
    path = tree.labels("a.png", 0, 100, 200, palette=palette)
    expected = [[0, 255, 0], [100, 155, 50], [200, 55, 100]] if palette else [[0] * 3, [100] * 3, [200] * 3]
    assert read_image(path).rgb[0, :3].tolist() == expected


def test_16_bit_become_8(tree):
    assert read_image(tree.labels("a.png", 0, 256, 65535)).rgb[0, :3].tolist() == [
        [0] * 3,
        [1] * 3,
        [255] * 3,
    ]


def test_a_turned_camera_is_noted_and_not_applied(tree):
    path = tree.picture("a.jpg", size=(6, 4))
    image = Image.open(path)
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(path, exif=exif)
    assert has_exif_rotation(path)
    assert read_image(path).rgb.shape == (4, 6, 3)


def test_damaged_notes_of_a_camera_do_no_harm(tree):
    path = tree.picture("a.jpg", seed=3)
    image = Image.open(path)
    image.save(path, exif=b"Exif\x00\x00 no notes at all")
    assert np.array_equal(read_image(path).rgb, np.asarray(Image.open(path)))
    assert not has_exif_rotation(path)
    assert not has_exif_rotation(tree.text("no_picture.jpg", ""))


@pytest.mark.parametrize("cut", [0, 60])
def test_damaged_files(tree, cut):
    path = tree.picture("a.png")
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(DatasetError, match="the image .*a.png cannot be read"):
        read_image(path)
