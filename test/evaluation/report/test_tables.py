"""Tables of a made-up run, and numbers as texts."""

from dataclasses import replace

import pytest

from activesam_ros.evaluation.report import formatting, tables
from activesam_ros.evaluation.report.tables import Table


@pytest.fixture(scope="module")
def run(made_up_run):
    return made_up_run()


def column(table: Table, name: str) -> list[str]:
    return [row[table.head.index(name)] for row in table.rows]


def test_every_row_has_a_cell_for_every_column(run):
    first = run.results.summary("active")
    for table in (
        tables.methods([run.results.summary(method) for method in run.results.methods]),
        tables.classes(first.truth),
        tables.confusions(first.truth, run.results.classes),
        tables.missed(first.truth, run.results.classes),
        tables.decoded(first, {0: "sky"}, 1000),
        tables.stages(first),
        tables.robustness(run.results, ["active"]),
        tables.errors(run.results),
    ):
        assert table.rows and all(len(row) == len(table.head) for row in table.rows)


def test_methods_are_compared_with_the_first(run):
    table = tables.methods([run.results.summary(method) for method in run.results.methods])
    first = run.results.summary("active").truth.mean_iou
    assert column(table, "mIoU") == [f"{100 * first:.1f} %", "100.0 %"]
    assert column(table, "points") == ["–", f"+{100 * (1 - first):.1f}"]
    assert column(table, "work a frame") == ["33.3 TFLOP", "68.4 TFLOP"]
    assert column(table, "frames labelled") == ["29 of 30", "29 of 30"]


def test_a_class_that_only_the_labels_have_is_told_apart(run):
    whole = run.results.summary("full-vocabulary")
    empty = replace(whole.truth.classes[3], iou=0.0, accuracy=None, truth_pixels=0, labelled_pixels=9)
    truth = replace(whole.truth, mean_iou=0.75, classes=(*whole.truth.classes[:3], empty))
    nowhere = replace(truth, mean_iou=1.0, classes=(*truth.classes[:3], replace(empty, iou=None)))
    table = tables.methods([replace(whole, truth=truth), replace(whole, truth=nowhere)])
    assert column(table, "mIoU") == ["75.0 %", "100.0 %"]
    assert column(table, "classes in the mIoU") == ["4", "3"]
    assert column(table, "mIoU of the classes shown") == ["100.0 %", "100.0 %"]


def test_a_figure_that_no_method_has_gets_no_column(run):
    table = tables.methods([run.results.summary("active")])
    assert "points" not in table.head and "boundary IoU" not in table.head


def test_the_weakest_class_comes_first(run):
    table = tables.classes(run.results.summary("active").truth)
    assert table.rows[0][0] == "person" and column(table, "IoU")[0] == "0.0 %"
    assert column(table, "images with it")[0] == "29" and column(table, "decoded in")[0] == "0"


def test_the_fall_of_every_corruption_is_against_clean_images(run):
    table = tables.robustness(run.results, ["active"])
    ious = {name: run.results.summary("active", name).truth.mean_iou for name in run.results.corruptions}
    fog, jpeg, mean = table.rows
    shown = [ious[""], ious["fog:1"], ious["fog:3"], (ious["fog:1"] + ious["fog:3"]) / 2]
    assert fog[:5] == ("fog", *(f"{100 * one:.1f} %" for one in shown))
    assert fog[5] == f"−{100 * (shown[0] - shown[3]):.1f}"
    assert jpeg[2] == "–", "it was not asked for at severity 1"
    assert mean[0] == "mean of all" and mean[-1] == f"−{100 * run.results.robustness[0].fall:.1f}"


def test_an_error_in_every_run_is_told_once(run):
    assert tables.errors(run.results).rows == (("the image cannot be read", "1", "every method"),)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (formatting.percent(0.7123), "71.2 %"),
        (formatting.percent(-0.0512), "−5.1 %"),
        (formatting.percent(None), "–"),
        (formatting.share(0.004), "<1 %"),
        (formatting.share(0.006), "1 %"),
        (formatting.share(0.0), "0 %"),
        (formatting.points(0.0191), "+1.9"),
        (formatting.points(-0.003), "−0.3"),
        (formatting.points(-0.0001), "±0.0"),
        (formatting.better(0.0541), "5.4 points better"),
        (formatting.better(-0.003), "0.3 points worse"),
        (formatting.better(-0.0001), "no difference"),
        (formatting.factor(2.599), "2.60 ×"),
        (formatting.factor(0.4867), "0.487 ×"),
        (formatting.factor(123.4), "123 ×"),
        (formatting.rate(0.0312), "0.0312"),
        (formatting.milliseconds(0.009999999), "10.0 ms"),
        (formatting.milliseconds(0.01), "10.0 ms"),
        (formatting.milliseconds(0.001), "1.00 ms"),
        (formatting.milliseconds(12.3456), "12 346 ms"),
        (formatting.duration(19.95), "19.9 s"),
        (formatting.duration(200), "3 min 20 s"),
        (formatting.duration(3900), "1 h 05 min"),
        (formatting.work(3.33e13), "33.3 TFLOP"),
        (formatting.work(2.5e9), "2.50 GFLOP"),
        (formatting.work(12), "12 FLOP"),
        (formatting.memory(1_620_000_000), "1.62 GB"),
        (formatting.memory(350_000_000), "350 MB"),
        (formatting.listed(["a"]), "a"),
        (formatting.listed(["a", "b", "c"]), "a, b and c"),
        (formatting.listed(["a", "b", "c", "d"], most=3), "a, b and 2 more"),
        (formatting.corruption("motion_blur:3"), "motion blur, severity 3"),
        (formatting.corruption(""), "clean"),
        (formatting.rate(0.0), "0"),
    ],
)
def test_texts(text, expected):
    assert text == expected
