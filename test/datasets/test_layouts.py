"""Layouts of data sets: files are found, and the mappings are complete and as their sources define them."""

import shutil
import unicodedata

import numpy as np
import pytest

from activesam_ros.datasets.layouts import BENCHMARKS, benchmark_pairs, benchmark_pairs_in, own_pairs
from activesam_ros.errors import DatasetError
from activesam_ros.vocabulary.files import load_vocabulary_file, preset_names

VOC = ("JPEGImages/{}.jpg", "SegmentationClass/{}.png", "ImageSets/Segmentation/val.txt")
CONTEXT = ("JPEGImages/{}.jpg", "SegmentationClassContext/{}.png", "ImageSets/SegmentationContext/val.txt")
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
        (
            lambda root: (root / "JPEGImages" / "b.jpg").unlink(),
            "1 of the 2 images that .* names are missing in .*JPEGImages, the first is b; unpack",
        ),
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
    with pytest.raises(DatasetError, match=r"Main/val.txt is missing, .*; give it with --list"):
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
    with pytest.raises(
        DatasetError, match=r"1 of the 1 images that .*list.txt names are missing in .*, the first is c;"
    ):
        own_pairs(tree.root / "images", tree.root / "labels", listing=listing)


def paired(tree, images="images", labels="labels", **options):
    pairs = own_pairs(tree.root / images, tree.root / labels, **options)
    return {
        one.image.relative_to(tree.root / images).as_posix(): one.label and one.label.name for one in pairs
    }


def test_linked_folders_are_followed_once_around(tree):
    tree.text("elsewhere/bonn/a.jpg", "")
    tree.text("labels/bonn/a.png", "")
    (tree.root / "images").mkdir()
    for link, target in {
        "images/bonn": "elsewhere/bonn",
        "elsewhere/bonn/up": "elsewhere",
        "elsewhere/bonn/around": "labels",
        "labels/back": "elsewhere/bonn",
        "images/self": "images/self",
        "images/gone.jpg": "nowhere.jpg",
    }.items():
        (tree.root / link).symlink_to(tree.root / target)
    found = paired(tree)
    assert found["bonn/a.jpg"] == "a.png" and len(found) < 9


def test_a_linked_city_is_not_left_out(tree):
    image, label, _ = CITY
    lay_out(tree, CITY)
    for folder in (image, label):
        inside = (tree.root / folder).parent
        inside.rename(tree.root / f"disk_{inside.parent.parent.name}")
        inside.symlink_to(tree.root / f"disk_{inside.parent.parent.name}")
    assert len(benchmark_pairs(BENCHMARKS["cityscapes"], tree.root, "val").pairs) == 2


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_partners_are_found_in_any_case_of_suffix_and_any_unicode_form(tree, form):
    other = "NFC" if form == "NFD" else "NFD"
    tree.text(unicodedata.normalize(form, "images/Straße é.JPG"), "")
    tree.text(unicodedata.normalize(other, "labels/Straße é.PNG"), "")
    tree.text("images/alone.jpg", "")
    listing = tree.text("list.txt", unicodedata.normalize(other, "Straße é\nalone\n"))
    assert sorted(map(bool, paired(tree).values())) == [False, True]
    assert list(map(bool, paired(tree, listing=listing).values())) == [True, False]
    with pytest.raises(
        DatasetError, match=r"1 of 2 label files are missing, the first is .*alone\.png; unpack"
    ):
        benchmark_pairs_in(BENCHMARKS["voc21"], tree.root / "images", tree.root / "labels", "val", listing)


@pytest.mark.parametrize(
    "line",
    [
        "my road",
        "my road.jpg",
        "  my road.JPG\t",
        "my road  1",
        "my road -1",
        "images/my road.jpg",
        "./images/my road.jpg",
        "/old/place/images/my road.jpg labels/my road.png",
        "/images/my road.jpg /labels/my road.png",
        "my road.jpg,my road.png",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_lists_as_people_have_them(tree, line, encoding):
    for name in ("images/my road.jpg", "labels/my road.png", "images/my.jpg", "labels/my.png"):
        tree.text(name, "")
    listing = tree.text("list.txt", "")
    listing.write_bytes(f"{line}\r\n\r\nmy\r\n".encode(encoding))
    expected = {"my road.jpg": "my road.png", "my.jpg": "my.png"}
    assert paired(tree, listing=listing) == expected
    pairs = benchmark_pairs_in(
        BENCHMARKS["voc21"], tree.root / "images", tree.root / "labels", "val", listing
    ).pairs
    assert {one.image.name: one.label.name for one in pairs} == expected


def test_a_list_may_name_label_files_of_other_names(tree):
    tree.text("images/a.jpg", "")
    tree.text("labels/mask_1.png", "")
    listing = tree.text("list.txt", "images/a.jpg labels/mask_1.png\n")
    assert paired(tree, listing=listing) == {"a.jpg": "mask_1.png"}


def test_a_list_does_not_take_another_folders_image(tree):
    tree.text("images/a.jpg", "")
    tree.text("labels/a.png", "")
    listing = tree.text("list.txt", "day2/a.jpg\n")
    with pytest.raises(DatasetError, match=r"the first is day2/a\.jpg"):
        paired(tree, listing=listing)


def test_a_half_converted_set_says_which_half(tree):
    lay_out(tree, CITY_ORIGINAL)
    tree.text(CITY[1].format("a"), "")
    with pytest.raises(
        DatasetError,
        match=r"1 of 2 label files are missing, the first is .*b_gtFine_labelTrainIds\.png: .* ends in "
        r"_gtFine_labelIds\.png is there, and not all of it was converted to _gtFine_labelTrainIds\.png",
    ):
        benchmark_pairs(BENCHMARKS["cityscapes"], tree.root, "val")


@pytest.mark.parametrize(
    ("layout", "gone", "said"),
    [
        (ADE, "annotations", r"found images in .*images/validation, but no .*annotations/validation/\*\.png"),
        (ADE, "images", r"found .*annotations/validation/\*\.png, but no .*images/validation"),
        (
            VOC,
            "ImageSets",
            r"found images in .*JPEGImages and .*SegmentationClass/\*\.png, but no .*val\.txt",
        ),
    ],
)
def test_half_a_set_says_which_half(tree, layout, gone, said):
    lay_out(tree, layout)
    shutil.rmtree(tree.root / gone)
    with pytest.raises(DatasetError, match=said):
        benchmark_pairs(BENCHMARKS["ade20k" if layout is ADE else "voc21"], tree.root, "val")


def test_own_folders_that_do_not_fit(tree):
    tree.text("images/a.jpg", "")
    tree.text("labels/a_mask.png", "")
    images, labels = tree.root / "images", tree.root / "labels"
    with pytest.raises(DatasetError, match=r"none of the 1 images .* expected for a.jpg the file a.png"):
        own_pairs(images, labels)
    assert own_pairs(images, labels, None, "_mask.png")[0].label == labels / "a_mask.png"
    with pytest.raises(DatasetError, match=r"has no images; expected names that end in .jpg"):
        own_pairs(labels, images, ".jpg")
    with pytest.raises(
        DatasetError, match=r"there is no folder .*nowhere; expected the folder of the images"
    ):
        own_pairs(tree.root / "nowhere", labels)


IGNORE = 255


def names_of(benchmark):
    return load_vocabulary_file(benchmark).vocabulary().names


def converted(benchmark, layout, values):
    """Names of the classes of values; None: not counted."""
    labels, unknown = BENCHMARKS[benchmark].layouts[layout].ids.convert(np.array([values], np.uint16))
    assert not unknown
    return [None if label == IGNORE else names_of(benchmark)[label] for label in labels[0]]


def test_every_benchmark_has_the_preset_of_its_name():
    assert set(BENCHMARKS) <= set(preset_names())
    assert len(BENCHMARKS) == 8
    assert all(name == benchmark.name for name, benchmark in BENCHMARKS.items())


@pytest.mark.parametrize(
    ("benchmark", "layout"),
    [(b, i) for b, benchmark in BENCHMARKS.items() for i in range(len(benchmark.layouts))],
)
def test_every_layout_has_every_class_of_the_preset_and_no_other(benchmark, layout):
    ids = BENCHMARKS[benchmark].layouts[layout].ids
    assert sorted(set(ids.classes.values())) == list(range(len(names_of(benchmark))))
    assert not ids.ignored & ids.classes.keys()
    assert ids.dtype == np.uint8


@pytest.mark.parametrize(("benchmark", "classes"), [("voc20", 20), ("context59", 59), ("ade20k", 150)])
def test_reduced_zero_labels(benchmark, classes):
    values = np.array([[*range(classes + 1), 255]], np.uint8)
    # The definition, with arithmetic instead of a table.
    expected = values.copy()
    expected[expected == 0] = 255
    expected -= 1
    expected[expected == 254] = 255
    labels, unknown = BENCHMARKS[benchmark].layouts[0].ids.convert(values)
    assert np.array_equal(labels, expected)
    assert not unknown


def test_voc():
    assert converted("voc21", 0, [0, 1, 20, 255]) == ["background", "aeroplane", "tvmonitor", None]
    assert converted("voc20", 0, [0, 1, 20, 255]) == [None, "aeroplane", "tvmonitor", None]


# Numbers and names from Pascal Context's table of its 459 classes.
CONTEXT_CLASSES = {
    2: "aeroplane",
    19: "bedclothes",
    85: "computer",
    258: "motorbike",
    259: "mountain",
    260: "mouse",
}
CONTEXT_CLASSES |= {
    284: "person",
    308: "pottedplant",
    355: "sign",
    397: "table",
    427: "tvmonitor",
    458: "wood",
}


def test_context_from_its_459_classes():
    assert converted("context60", 1, list(CONTEXT_CLASSES)) == list(CONTEXT_CLASSES.values())
    assert converted("context59", 1, list(CONTEXT_CLASSES)) == list(CONTEXT_CLASSES.values())
    # accordion, unknown, wool
    assert converted("context60", 1, [0, 1, 431, 459]) == ["background"] * 4
    assert converted("context59", 1, [0, 1, 431, 459]) == [None] * 4


def test_context_prepared():
    assert converted("context60", 0, [0, 1, 2, 59]) == ["background", "aeroplane", "bag", "wood"]
    assert converted("context59", 0, [0, 1, 2, 59]) == [None, "aeroplane", "bag", "wood"]


# COCO-Stuff's own numbers, from its table; the files hold one less.
COCO_STUFF = {1: "person", 11: "fire hydrant", 13: "stop sign", 25: "giraffe", 27: "backpack", 44: "bottle"}
COCO_STUFF |= {46: "wine glass", 67: "dining table", 72: "tv", 84: "book", 90: "toothbrush"}
COCO_STUFF_SURROUNDINGS = {92: "banner", 110: "desk-stuff", 157: "sky-other", 169: "tree", 182: "wood"}
NOT_IN_COCO = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91)


def test_coco_stuff_as_downloaded():
    table = COCO_STUFF | COCO_STUFF_SURROUNDINGS
    assert converted("coco_stuff", 1, [number - 1 for number in table]) == list(table.values())
    assert converted("coco_stuff", 1, [255]) == [None]


@pytest.mark.parametrize("benchmark", ["coco_stuff", "coco_object"])
def test_classes_that_coco_never_annotated_are_unknown(benchmark):
    values = np.array([[number - 1 for number in NOT_IN_COCO]], np.uint8)
    _, unknown = BENCHMARKS[benchmark].layouts[1].ids.convert(values)
    assert sorted(unknown) == values[0].tolist()


def test_in_coco_object_everything_but_objects_is_background():
    assert converted("coco_object", 1, [number - 1 for number in COCO_STUFF]) == list(COCO_STUFF.values())
    others = [number - 1 for number in COCO_STUFF_SURROUNDINGS]
    assert converted("coco_object", 1, [*others, 255]) == ["background"] * 6


def test_coco_prepared():
    assert converted("coco_stuff", 0, [0, 79, 80, 170, 255]) == [
        "person",
        "toothbrush",
        "banner",
        "wood",
        None,
    ]
    assert converted("coco_object", 0, [0, 1, 80, 255]) == ["background", "person", "toothbrush", None]


def test_cityscapes():
    assert converted("cityscapes", 0, [0, 10, 18, 255]) == ["road", "sky", "bicycle", None]
    # By cityscapesScripts: caravan 29, trailer 30 and guard rail 14 are not evaluated.
    assert converted("cityscapes", 1, [7, 17, 23, 28, 31, 33]) == [
        "road",
        "pole",
        "sky",
        "bus",
        "train",
        "bicycle",
    ]
    assert converted("cityscapes", 1, [0, 6, 9, 14, 18, 29, 30]) == [None] * 7


def test_ade20k():
    assert converted("ade20k", 0, [0, 1, 2, 13, 150]) == [None, "wall", "building", "person", "flag"]
