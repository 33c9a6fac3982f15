"""Finding images and label files in every layout, and saying what is missing where."""

import shutil

import pytest

from activesam_ros.datasets.layouts import BENCHMARKS, benchmark_pairs, benchmark_pairs_in, own_pairs
from activesam_ros.errors import DatasetError

VOC = ("JPEGImages/{}.jpg", "SegmentationClass/{}.png", "ImageSets/Segmentation/val.txt")
CONTEXT = (
    "JPEGImages/{}.jpg",
    "SegmentationClassContext/{}.png",
    "ImageSets/SegmentationContext/val.txt",
)
CONTEXT_ORIGINAL = ("JPEGImages/{}.jpg", "trainval/{}.mat", "ImageSets/Main/val.txt")
STUFF = ("images/val2017/{}.jpg", "annotations/val2017/{}_labelTrainIds.png", None)
STUFF_ORIGINAL = ("images/val2017/{}.jpg", "annotations/val2017/{}.png", None)
STUFF_UNPACKED = ("val2017/{}.jpg", "stuffthingmaps_trainval2017/val2017/{}.png", None)
OBJECT = ("images/val2017/{}.jpg", "annotations/val2017/{}_instanceTrainIds.png", None)
CITY = ("leftImg8bit/val/bonn/{}_leftImg8bit.png", "gtFine/val/bonn/{}_gtFine_labelTrainIds.png", None)
CITY_ORIGINAL = ("leftImg8bit/val/bonn/{}_leftImg8bit.png", "gtFine/val/bonn/{}_gtFine_labelIds.png", None)
ADE = ("images/validation/{}.jpg", "annotations/validation/{}.png", None)

LAYOUTS = [
    ("voc20", VOC, 0, ""),
    ("voc21", VOC, 0, "VOCdevkit/VOC2012/"),
    ("context59", CONTEXT, 0, "VOCdevkit/VOC2010/"),
    ("context60", CONTEXT, 0, ""),
    ("context59", CONTEXT_ORIGINAL, 1, "VOC2010/"),
    ("context60", CONTEXT_ORIGINAL, 1, ""),
    ("coco_stuff", STUFF, 0, ""),
    ("coco_stuff", STUFF_ORIGINAL, 1, "coco_stuff164k/"),
    ("coco_stuff", STUFF_UNPACKED, 1, ""),
    ("coco_object", OBJECT, 0, "coco_object/"),
    ("coco_object", STUFF_ORIGINAL, 1, ""),
    ("coco_object", STUFF_UNPACKED, 1, ""),
    ("cityscapes", CITY, 0, "cityscapes/"),
    ("cityscapes", CITY_ORIGINAL, 1, ""),
    ("ade20k", ADE, 0, "ADEChallengeData2016/"),
    ("ade20k", ADE, 0, ""),
]


def lay_out(tree, layout, prefix="", names=("b", "a")):
    """Files of a layout; the list, if there is one, does not sort them and has less than the folder."""
    image, label, listing = layout
    for name in names:
        tree.text(prefix + image.format(name), "")
        tree.text(prefix + label.format(name), "")
    if listing:
        tree.text(prefix + image.format("unlisted"), "")
        tree.text(prefix + listing, "".join(f"{name}\n" for name in names))


@pytest.mark.parametrize(("benchmark", "layout", "index", "prefix"), LAYOUTS)
def test_layouts(tree, benchmark, layout, index, prefix):
    lay_out(tree, layout, prefix)
    image, label, listing = layout
    found = benchmark_pairs(BENCHMARKS[benchmark], tree.root, "val")
    names = ["b", "a"] if listing else ["a", "b"]
    assert [pair.image for pair in found.pairs] == [
        tree.root / (prefix + image.format(name)) for name in names
    ]
    assert [pair.label for pair in found.pairs] == [
        tree.root / (prefix + label.format(name)) for name in names
    ]
    assert found.ids is BENCHMARKS[benchmark].layouts[index].ids


@pytest.mark.parametrize(
    ("benchmark", "prepared", "original"),
    [
        ("context60", CONTEXT, CONTEXT_ORIGINAL),
        ("coco_stuff", STUFF, STUFF_ORIGINAL),
        ("coco_object", OBJECT, STUFF_ORIGINAL),
        ("cityscapes", CITY, CITY_ORIGINAL),
    ],
)
def test_what_was_prepared_is_preferred(tree, benchmark, prepared, original):
    lay_out(tree, prepared)
    lay_out(tree, original)
    found = benchmark_pairs(BENCHMARKS[benchmark], tree.root, "val")
    assert found.ids is BENCHMARKS[benchmark].layouts[0].ids
    assert (
        found.pairs[-1].label.name
        == prepared[1].format(found.pairs[-1].image.stem.split("_")[0]).split("/")[-1]
    )


def test_another_split(tree):
    tree.text("images/training/x.jpg", "")
    tree.text("annotations/training/x.png", "")
    (pair,) = benchmark_pairs(BENCHMARKS["ade20k"], tree.root, "train").pairs
    assert pair.image.name == "x.jpg"


@pytest.mark.parametrize("benchmark", sorted(BENCHMARKS))
def test_a_wrong_layout_is_one_sentence_that_says_what_was_expected(tree, benchmark):
    tree.text("photos/a.jpg", "")
    with pytest.raises(DatasetError) as error:
        benchmark_pairs(BENCHMARKS[benchmark], tree.root, "val")
    message = str(error.value)
    assert "\n" not in message
    assert message.startswith(
        f"{tree.root} is not laid out as {BENCHMARKS[benchmark].title}: expected for the split"
    )
    assert message.endswith("; found photos")
    layout = BENCHMARKS[benchmark].layouts[0]
    assert layout.image_suffix in message
    assert layout.label_suffix in message


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            lambda root: (root / "SegmentationClass" / "a.png").unlink(),
            "1 of 2 label files are missing, the first is ",
        ),
        (lambda root: (root / "JPEGImages" / "b.jpg").unlink(), "1 of 2 images are missing, the first is "),
        (lambda root: (root / "ImageSets/Segmentation/val.txt").write_text("\n"), "the list .* is empty"),
        (lambda root: (root / "ImageSets/Segmentation/val.txt").unlink(), "is not laid out as Pascal VOC"),
        (lambda root: shutil.rmtree(root), "there is no folder"),
    ],
)
def test_missing_files(tree, change, reason):
    lay_out(tree, VOC)
    change(tree.root)
    with pytest.raises(DatasetError, match=reason):
        benchmark_pairs(BENCHMARKS["voc21"], tree.root, "val")


def test_an_unknown_split(tree):
    with pytest.raises(DatasetError, match="ADE20K has no split 'test'; expected one of train, val"):
        benchmark_pairs(BENCHMARKS["ade20k"], tree.root, "test")


def test_lists_with_a_second_column(tree):
    lay_out(tree, CONTEXT_ORIGINAL)
    tree.text("ImageSets/Main/val.txt", "a  1\nb -1\n")
    found = benchmark_pairs(BENCHMARKS["context60"], tree.root, "val")
    assert [pair.image.stem for pair in found.pairs] == ["a", "b"]


def test_folders_of_a_benchmark_that_do_not_lie_together(tree):
    lay_out(tree, ("voc/JPEGImages/{}.jpg", "elsewhere/{}.mat", "voc/ImageSets/Main/val.txt"))
    images, labels = tree.root / "voc" / "JPEGImages", tree.root / "elsewhere"
    found = benchmark_pairs_in(BENCHMARKS["context59"], images, labels, "val")
    assert [pair.label for pair in found.pairs] == [labels / "b.mat", labels / "a.mat"]
    assert found.ids is BENCHMARKS["context59"].layouts[1].ids
    chosen = tree.text("my.txt", "a\n")
    found = benchmark_pairs_in(BENCHMARKS["context59"], images, labels, "val", chosen)
    assert [pair.image.stem for pair in found.pairs] == ["a"]
    (tree.root / "voc" / "ImageSets/Main/val.txt").unlink()
    with pytest.raises(DatasetError, match="Main/val.txt is missing, .*; give it with --list"):
        benchmark_pairs_in(BENCHMARKS["context59"], images, labels, "val")
    with pytest.raises(DatasetError, match=r"has no label files of ADE20K; expected \*\.png"):
        benchmark_pairs_in(BENCHMARKS["ade20k"], images, labels, "val")


def test_own_images_may_lack_labels(tree):
    for name in (
        "images/b.PNG",
        "images/a.jpg",
        "images/day2/a.jpeg",
        "images/.hidden.jpg",
        "images/notes.txt",
    ):
        tree.text(name, "")
    tree.text("labels/a.png", "")
    tree.text("labels/day2/a.png", "")
    pairs = own_pairs(tree.root / "images", tree.root / "labels")
    assert [pair.image.relative_to(tree.root / "images").as_posix() for pair in pairs] == [
        "a.jpg",
        "b.PNG",
        "day2/a.jpeg",
    ]
    assert [pair.label and pair.label.relative_to(tree.root).as_posix() for pair in pairs] == [
        "labels/a.png",
        None,
        "labels/day2/a.png",
    ]


def test_own_images_and_labels_in_one_folder(tree):
    for name in ("1_rgb.png", "1_labels.png", "2_rgb.png", "2_labels.png"):
        tree.text(name, "")
    pairs = own_pairs(tree.root, tree.root, "_rgb.png", "_labels.png")
    assert [(pair.image.name, pair.label.name) for pair in pairs] == [
        ("1_rgb.png", "1_labels.png"),
        ("2_rgb.png", "2_labels.png"),
    ]
    tree.text("3.jpg", "")
    tree.text("3_labels.png", "")
    pairs = own_pairs(tree.root, tree.root, None, "_labels.png")
    assert [pair.image.name for pair in pairs if pair.label] == ["3.jpg"]


def test_own_images_by_a_list(tree):
    for name in ("images/a.jpg", "images/b.jpg", "labels/a.png", "labels/b.png"):
        tree.text(name, "")
    listing = tree.text("list.txt", "b\na\n")
    pairs = own_pairs(tree.root / "images", tree.root / "labels", listing=listing)
    assert [pair.image.name for pair in pairs] == ["b.jpg", "a.jpg"]
    listing.write_text("c\n")
    with pytest.raises(DatasetError, match="list.txt names the image c, which is not in"):
        own_pairs(tree.root / "images", tree.root / "labels", listing=listing)


def test_own_folders_that_do_not_fit(tree):
    tree.text("images/a.jpg", "")
    tree.text("labels/a_mask.png", "")
    images, labels = tree.root / "images", tree.root / "labels"
    with pytest.raises(DatasetError, match="none of the 1 images .* expected for a.jpg the file a.png"):
        own_pairs(images, labels)
    assert own_pairs(images, labels, None, "_mask.png")[0].label == labels / "a_mask.png"
    with pytest.raises(DatasetError, match="has no images; expected names that end in .jpg"):
        own_pairs(labels, images, ".jpg")
    with pytest.raises(DatasetError, match="there is no folder .*nowhere; expected the folder of the images"):
        own_pairs(tree.root / "nowhere", labels)
