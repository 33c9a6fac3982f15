"""The command `activesam-make-bag`, from the folder of a benchmark to the recording."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("rosbags")

from activesam_ros.cli.make_bag import main
from activesam_ros.datasets.class_map import ClassMap, match_classes, recorded_class_map
from activesam_ros.datasets.labelled_bag import COMPRESSED_IMAGE_TOPIC, IMAGE_TOPIC, START, TRUTH_TOPIC
from activesam_ros.datasets.layouts import BENCHMARKS
from activesam_ros.datasets.recordings import Recording
from activesam_ros.datasets.samples import SampleReader, default_image_topic
from activesam_ros.toytown import CLASSES
from activesam_ros.vocabulary.files import load_vocabulary_file

CITY = "leftImg8bit/val/bonn/{}_leftImg8bit.png", "gtFine/val/bonn/{}_gtFine_{}.png"


def voc(tree):
    tree.text("VOC2012/ImageSets/Segmentation/val.txt", "a\n")
    tree.picture("VOC2012/JPEGImages/a.jpg")
    tree.labels("VOC2012/SegmentationClass/a.png", 0, 1, 20, 255, palette=True)


def context(tree):
    tree.text("ImageSets/SegmentationContext/val.txt", "a\n")
    tree.picture("JPEGImages/a.jpg")
    tree.labels("SegmentationClassContext/a.png", 0, 1, 59, 59)


def coco_as_downloaded(tree):
    tree.picture("images/val2017/a.jpg")
    tree.labels("annotations/val2017/a.png", 0, 89, 181, 255)


def coco_stuff_prepared(tree):
    coco_as_downloaded(tree)
    tree.labels("annotations/val2017/a_labelTrainIds.png", 0, 79, 170, 255)


def coco_object_prepared(tree):
    coco_as_downloaded(tree)
    tree.labels("annotations/val2017/a_instanceTrainIds.png", 1, 80, 0, 0)


def cityscapes_as_downloaded(tree):
    tree.picture(CITY[0].format("a"))
    tree.labels(CITY[1].format("a", "labelIds"), 7, 33, 4, 23)


def cityscapes_prepared(tree):
    tree.picture(CITY[0].format("a"))
    tree.labels(CITY[1].format("a", "labelTrainIds"), 0, 18, 255, 10)


def ade20k(tree):
    tree.picture("images/validation/a.jpg")
    tree.labels("annotations/validation/a.png", 0, 1, 2, 150)


@pytest.mark.parametrize(
    ("dataset", "lay_out", "expected"),
    [
        ("voc20", voc, [None, "aeroplane", "tvmonitor", None]),
        ("voc21", voc, ["background", "aeroplane", "tvmonitor", None]),
        ("context59", context, [None, "aeroplane", "wood", "wood"]),
        ("context60", context, ["background", "aeroplane", "wood", "wood"]),
        ("coco_object", coco_as_downloaded, ["person", "toothbrush", "background", "background"]),
        ("coco_object", coco_object_prepared, ["person", "toothbrush", "background", "background"]),
        ("coco_stuff", coco_as_downloaded, ["person", "toothbrush", "wood", None]),
        ("coco_stuff", coco_stuff_prepared, ["person", "toothbrush", "wood", None]),
        ("cityscapes", cityscapes_as_downloaded, ["road", "bicycle", None, "sky"]),
        ("cityscapes", cityscapes_prepared, ["road", "bicycle", None, "sky"]),
        ("ade20k", ade20k, [None, "wall", "building", "flag"]),
    ],
)
@pytest.mark.parametrize("options", [[], ["--compressed", "--storage", "sqlite3"]])
def test_benchmarks(tree, recorded, capsys, dataset, lay_out, expected, options):
    lay_out(tree)
    out = tree.root / "bag"
    assert main([str(tree.root), str(out), "--dataset", dataset, *options]) == 0
    bag = recorded(out)
    names = bag.names()
    vocabulary = load_vocabulary_file(dataset).vocabulary()
    assert names == dict(zip(vocabulary.class_ids, vocabulary.names, strict=True))
    (truth,) = bag.truths()
    assert truth.shape == (4, 6)
    assert [names.get(value) for value in truth.reshape(-1)[:4].tolist()] == expected
    assert {value for value in truth.reshape(-1).tolist() if value not in names} <= {255}
    assert len(bag.messages[COMPRESSED_IMAGE_TOPIC if options else IMAGE_TOPIC]) == 1
    printed = capsys.readouterr().out
    assert "images     1, 1 with ground truth" in printed
    assert f"--vocabulary {dataset} --model facebook/sam3" in printed
    assert f"dataset: {dataset} val" in (out / "metadata.yaml").read_text()


def test_own_images(tree, recorded, capsys):
    classes = tree.text("classes.yaml", "classes: {0: nothing, 1: road, 300: car}\nignore: [0]")
    tree.picture("images/a.jpg")
    tree.picture("images/b.png")
    tree.labels("labels/a.png", 0, 1, 300, 5)
    out = tree.root / "bag"
    folders = [str(tree.root / "images"), str(tree.root / "labels")]
    # Options may stand anywhere.
    assert main([*folders, "--classes", str(classes), "--rate", "2", str(out)]) == 0
    bag = recorded(out)
    assert bag.names() == {1: "road", 300: "car"}
    assert np.array_equal(bag.truths()[0], tree.filled(65535, 1, 300, 65535))
    assert [time - START for time, _ in bag.messages[IMAGE_TOPIC]] == [0, 500_000_000]
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "images     2, 1 with ground truth"
    assert lines[2] == "classes    2, 50.0% of the pixels do not count"
    assert lines[3] == "unknown    the value 5 is no class: 6 pixels in 1 images do not count"
    assert lines[4] == "without    1 images have no label file: b.png"


def test_many_values_without_a_name_are_one_line(tree, capsys):
    classes = tree.text("classes.yaml", "classes: {1: road}")
    tree.picture("images/a.jpg")
    tree.labels("labels/a.png", 1, *range(300, 320))
    folders = [str(tree.root / "images"), str(tree.root / "labels")]
    assert main([*folders, str(tree.root / "bag"), "--classes", str(classes)]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("unknown")]
    assert line == (
        "unknown    20 values are no class: 300, 301, 302, 303, 304, 305, 306, 307 and 12 more; their 22 pixels do not "
        "count"
    )


def test_first_images_only_and_classes_that_never_occur(tree, recorded, capsys):
    ade20k(tree)
    tree.picture("images/validation/b.jpg")
    tree.labels("annotations/validation/b.png", 4)
    out = tree.root / "bag"
    assert main([str(tree.root), str(out), "--dataset", "ade20k", "--limit", "1"]) == 0
    assert len(recorded(out).messages[IMAGE_TOPIC]) == 1
    printed = capsys.readouterr().out
    assert "images     1, 1 with ground truth; the whole benchmark has 2000" in printed
    assert "never seen: sky, floor, tree, ceiling, road, bed, windowpane, grass and 139 more" in printed


@pytest.mark.parametrize("options", [[], ["--compressed"], ["--storage", "sqlite3"]])
def test_the_recording_is_what_the_evaluation_reads(tree, options):
    ade20k(tree)
    out = tree.root / "bag"
    assert main([str(tree.root), str(out), "--dataset", "ade20k", *options]) == 0
    with Recording(out) as source:
        class_map = recorded_class_map(source, TRUTH_TOPIC)
        topic = default_image_topic(source, TRUTH_TOPIC)
        (sample,) = SampleReader(source, topic, TRUTH_TOPIC)
    assert sample.error is None
    assert np.array_equal(sample.rgb, np.asarray(Image.open(tree.root / "images/validation/a.jpg")))
    vocabulary = load_vocabulary_file("ade20k").vocabulary()
    matching = match_classes(vocabulary, class_map)
    assert matching.classes == vocabulary.names
    assert matching.unmatched_truth == matching.unmatched_vocabulary == ()
    assert np.array_equal(matching.truth_of(sample.truth)[0, :4], [-1, 0, 1, 149])
    assert matching.unknown_ids(sample.truth) == {}


@pytest.mark.parametrize("dataset", BENCHMARKS)
def test_classes_of_a_benchmark_match_its_vocabulary_one_to_one(dataset):
    vocabulary = load_vocabulary_file(dataset).vocabulary()
    matching = match_classes(
        vocabulary, ClassMap(dict(zip(vocabulary.class_ids, vocabulary.names, strict=True)))
    )
    assert matching.truth_index == matching.label_index == {number: number for number in vocabulary.class_ids}


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--dataset", "ade20k", "--split", "test"], "ADE20K has no split 'test'"),
        (
            ["--dataset", "cityscapes"],
            "is not laid out as Cityscapes: expected for the split 'val' leftImg8bit/val/",
        ),
    ],
)
def test_failures_are_one_sentence_and_exit_code_2(tree, arguments, reason, capsys):
    ade20k(tree)
    assert main([str(tree.root), str(tree.root / "bag"), *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("activesam-make-bag: ")
    assert reason in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["data", "out"],
        ["data", "--dataset", "ade20k"],
        ["data", "out", "--dataset", "ade21k"],
        ["data", "out", "--classes", "classes.yaml"],
        ["a", "b", "c", "out", "--dataset", "ade20k"],
        ["data", "out", "--dataset", "ade20k", "--label-suffix", "_x.png"],
        ["data", "out", "--dataset", "voc20", "--list", "names.txt"],
        ["data", "out", "--dataset", "ade20k", "--rate", "0"],
        ["data", "out", "--dataset", "ade20k", "--limit", "0"],
        ["data", "out", "--dataset", "ade20k", "--classes", "classes.yaml"],
        ["data", "out", "--toytown"],
        ["out", "--toytown", "--compressed"],
        ["out", "--toytown", "--label-suffix", "_labels.png"],
        ["out", "--toytown", "--dataset", "ade20k"],
    ],
)
def test_wrong_usage_has_exit_code_2(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert "usage: activesam-make-bag" in capsys.readouterr().err


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_a_rendered_street(tmp_path, recorded, capsys, storage):
    out = tmp_path / "bags" / "street"
    assert main([str(out), "--toytown", "--limit", "2", "--rate", "4", "--storage", storage]) == 0
    bag = recorded(out)
    assert bag.names() == dict(enumerate(CLASSES))
    assert [truth.shape for truth in bag.truths()] == [(240, 320)] * 2
    assert [time - START for time, _ in bag.messages[IMAGE_TOPIC]] == [0, 250_000_000]
    printed = capsys.readouterr().out
    assert f"activesam-evaluate {out} --vocabulary toytown --model toytown" in printed
    assert main([str(out), "--toytown"]) == 2
    assert "exists; give another name, or --overwrite" in capsys.readouterr().err
    assert len(recorded(out).truths()) == 2


def test_it_needs_no_torch_and_no_ros():
    code = (
        "import sys; import activesam_ros.cli.make_bag, activesam_ros.datasets.labelled_bag; "
        "assert not {'torch', 'rclpy', 'sensor_msgs'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
