"""The plots are drawn from whatever a run can have."""

import cv2
import numpy as np
import pytest

from activesam_ros.evaluation.report import figures, plots


def picture(png: bytes) -> np.ndarray:
    decoded = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    assert decoded.shape[1] == 880, "every plot is as wide as a telephone shows it, at two pixels a point"
    return decoded


def has_colour(image: np.ndarray, red: int, green: int, blue: int) -> bool:
    return bool((np.abs(image.astype(int) - (blue, green, red)).sum(axis=2) < 12).any())


def test_every_plot_of_a_run(made_up_run):
    run = made_up_run()
    results, first = run.results, run.results.summary("active")
    clean = [results.summary(method) for method in results.methods]
    own = [record for record in run.records if record.method == "active" and not record.corruption]
    drawn = [
        figures.methods(clean),
        figures.class_bars(results, first),
        figures.confusion(first.truth, results.classes),
        figures.activity(own),
        figures.latency(own),
        figures.stages(clean),
        figures.robustness(results, ["active"]),
    ]
    for png in drawn:
        assert has_colour(picture(png), 11, 92, 173) or has_colour(picture(png), 8, 48, 107)


def test_the_same_numbers_give_the_same_file():
    again = [plots.class_bars(["road", "car"], [0.9, 0.2], "active") for _ in range(2)]
    assert again[0] == again[1]
    assert again[0] != plots.class_bars(["road", "car"], [0.2, 0.9], "active")


def test_a_bar_is_as_long_as_its_value():
    def blue(iou: float) -> int:
        image = picture(plots.class_bars(["road"], [iou], "active"))
        # Below the legend, which has a blue patch too.
        image = image[image.shape[0] // 3 :]
        return int((np.abs(image.astype(int) - (173, 92, 11)).sum(axis=2) < 12).any(axis=0).sum())

    assert blue(0.8) == pytest.approx(2 * blue(0.4), rel=0.03)


def test_names_are_no_formulas():
    assert picture(plots.class_bars(["$x^2$", "a$b", "x" * 80], [0.1, 0.2, 0.3], "active")).size


def test_one_severity_and_several_are_drawn(made_up_run):
    lines = [
        plots.Degradation("active", 70.0, {("fog", 3): 50.0, ("snow", 3): None}),
        plots.Degradation("paper", None, {("fog", 3): 45.0, ("snow", 3): 40.0}),
    ]
    one = picture(plots.robustness(lines, "mIoU, %"))
    several = picture(
        plots.robustness([plots.Degradation("active", 70.0, {("fog", 1): 60.0, ("fog", 5): 20.0})], "%")
    )
    assert has_colour(one, 213, 94, 0), "the second method has a colour of its own"
    assert has_colour(several, 11, 92, 173)


def test_many_classes_show_the_worst():
    class Truth:
        confusion = tuple((index, index, 100) for index in range(60)) + ((7, 9, 500), (9, 7, 400))

    image = picture(figures.confusion(Truth, [f"class {index}" for index in range(60)]))
    assert image.shape[0] > 600


def test_what_is_not_known_is_not_drawn(made_up_run):
    run = made_up_run(with_truth=False)
    failed = [record for record in run.records if record.error]
    assert figures.activity(failed) is None and figures.latency(failed) is None
    assert figures.methods([run.results.summary("active")]) is None
    assert figures.robustness(run.results, []) is None
    own = [record for record in run.records if record.method == "active" and not record.corruption]
    assert picture(figures.activity(own)).shape[0] < 600, "without truth there is no recall below"


def test_one_slow_frame_does_not_flatten_the_others():
    slow = [100.0] * 99 + [100_000.0]
    image = picture(plots.latency(list(range(100)), slow, "active"))
    # The dots of the others are in the upper half of the upper plot's axis, not on its floor.
    blue = np.argwhere(np.abs(image[: image.shape[0] // 2].astype(int) - (173, 92, 11)).sum(axis=2) < 60)
    assert blue[:, 0].min() < 0.35 * image.shape[0]
