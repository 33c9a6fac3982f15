"""Image files and label files: their pixels, their values, and the class ids behind them."""

import numpy as np
import pytest
from pictures import png_row
from PIL import Image
from scipy.io import savemat

from activesam_ros.datasets.image_files import LabelIds, has_exif_rotation, read_image, read_labels
from activesam_ros.datasets.layouts import BENCHMARKS
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
    with pytest.raises(DatasetError, match=r"the image .*a.png cannot be read"):
        read_image(path)


def test_grey_and_palettes_give_their_numbers(tree):
    expected = tree.filled(0, 7, 255)
    assert np.array_equal(read_labels(tree.labels("grey.png", 0, 7, 255)), expected)
    values = read_labels(tree.labels("palette.png", 0, 7, 255, palette=True))
    assert values.dtype == np.uint8
    assert np.array_equal(values, expected)


def test_16_bit(tree):
    values = read_labels(tree.labels("deep.png", 0, 300, 65535))
    assert values.dtype == np.uint16
    assert np.array_equal(values, tree.filled(0, 300, 65535))


def test_one_bit(tree):
    tree.root.mkdir()
    path = tree.root / "bits.png"
    Image.fromarray(tree.filled(0, 1).astype(bool)).save(path)
    assert np.array_equal(read_labels(path), tree.filled(0, 1))


@pytest.mark.parametrize(
    ("bits", "row", "values"), [(2, b"\x1b", [0, 1, 2, 3]), (4, b"\x12\xef", [1, 2, 14, 15])]
)
def test_2_and_4_bit_are_not_scaled(tree, bits, row, values):
    path = tree.text("few.png", "")
    path.write_bytes(png_row(4, bits, row))
    assert read_labels(path).tolist() == [values]


def test_grey_levels_of_pgm_are_not_scaled(tree):
    path = tree.text("few.pgm", "")
    path.write_bytes(b"P5 4 1 11\n\x00\x01\x05\x0b")
    assert read_labels(path).tolist() == [[0, 1, 5, 11]]


@pytest.mark.parametrize(
    ("kind", "options"),
    [("JPEG", {}), ("JPEG2000", {}), ("TIFF", {"compression": "jpeg"}), ("WEBP", {"lossless": True})],
)
def test_formats_that_alter_class_numbers_are_refused_whatever_the_name_says(tree, kind, options):
    path = tree.labels("a.png", 0, 7, 255)
    Image.open(path).copy().save(path, kind, **options)
    with pytest.raises(
        DatasetError, match=rf"a.png is a {kind}, which may alter class numbers; expected a PNG"
    ):
        read_labels(path)


@pytest.mark.parametrize("benchmark", ["coco_stuff", "coco_object"])
def test_label_files_of_cocos_stuff_task_are_not_read_as_those_of_coco_stuff(benchmark):
    original = BENCHMARKS[benchmark].layouts[1].ids
    labels, unknown = original.convert(np.array([[0, 91, 181, 255]], np.uint8))
    assert (
        not unknown
        and labels.tolist() == {"coco_stuff": [[0, 80, 170, 255]], "coco_object": [[1, 0, 0, 0]]}[benchmark]
    )
    with pytest.raises(
        DatasetError, match=r"has the value 183, as those of COCO's stuff task have.*stuffthingmaps"
    ):
        original.convert(np.array([[0, 92, 183]], np.uint8))


def test_colours_are_refused(tree):
    with pytest.raises(DatasetError, match="is a picture of the mode RGB; expected class numbers"):
        read_labels(tree.picture("colour.png"))


@pytest.mark.parametrize("content", ["", "no picture at all"])
def test_no_picture(tree, content):
    with pytest.raises(DatasetError, match=r"the label file .* cannot be read"):
        read_labels(tree.text("damaged.png", content))


def test_a_truncated_picture(tree):
    path = tree.labels("cut.png", *range(200))
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DatasetError, match=r"the label file .* cannot be read"):
        read_labels(path)


def test_label_maps_of_pascal_context(tree):
    tree.root.mkdir()
    path = tree.root / "a.mat"
    savemat(path, {"LabelMap": tree.filled(2, 284, 459)}, do_compression=True)
    values = read_labels(path)
    assert values.dtype == np.uint16
    assert np.array_equal(values, tree.filled(2, 284, 459))
    # MATLAB's numbers are floating point unless one asks for others.
    savemat(path, {"LabelMap": tree.filled(2, 284, 459).astype(np.float64)})
    assert np.array_equal(read_labels(path), tree.filled(2, 284, 459))
    savemat(path, {"Other": np.zeros((2, 2))})
    with pytest.raises(DatasetError, match="has no variable LabelMap"):
        read_labels(path)
    path.write_text("no MATLAB")
    with pytest.raises(DatasetError, match=r"the label file .* cannot be read"):
        read_labels(path)


def test_classes_ignored_and_unknown_values():
    ids = LabelIds({7: 0, 8: 1}, frozenset({0, 255}))
    labels, unknown = ids.convert(np.array([[7, 8, 0], [255, 9, 9]], np.uint8))
    assert labels.dtype == np.uint8
    assert labels.tolist() == [[0, 1, 255], [255, 255, 255]]
    assert unknown == {9: 2}


def test_nothing_unknown():
    labels, unknown = LabelIds({0: 0}).convert(np.zeros((2, 2), np.uint8))
    assert not labels.any()
    assert unknown == {}


@pytest.mark.parametrize(("largest", "kind", "uncounted"), [(254, np.uint8, 255), (255, np.uint16, 65535)])
def test_large_ids_need_16_bit(largest, kind, uncounted):
    ids = LabelIds({300: largest}, frozenset({65535}))
    labels, unknown = ids.convert(np.array([[300, 65535]], np.uint16))
    assert (ids.dtype, ids.uncounted_id) == (kind, uncounted)
    assert labels.dtype == kind
    assert labels.tolist() == [[largest, uncounted]]
    assert unknown == {}


def test_the_values_given_stay_as_they_are():
    values = np.array([[1, 2]], np.uint8)
    LabelIds({1: 0, 2: 1}).convert(values)
    assert values.tolist() == [[1, 2]]


def test_what_cannot_be_recorded():
    with pytest.raises(DatasetError, match="there is no class left to evaluate"):
        LabelIds({}, frozenset({0}))
    with pytest.raises(DatasetError, match="the class id 65535 stands for pixels without a class"):
        LabelIds({0: 65535})
