"""The plots are drawn from whatever a run can have."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from activesam_ros.evaluation.records import FrameRecord
from activesam_ros.evaluation.report import plots

NO_OTHER = SimpleNamespace(summary=lambda method, corruption="": None)


def picture(png: bytes) -> np.ndarray:
    decoded = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    assert decoded.shape[1] == 880, "every plot is as wide as a telephone shows it, at two pixels a point"
    return decoded


def has_colour(image: np.ndarray, red: int, green: int, blue: int) -> bool:
    return bool((np.abs(image.astype(int) - (blue, green, red)).sum(axis=2) < 12).any())


def class_bars(iou: dict[str, float]) -> bytes:
    classes = [SimpleNamespace(name=name, iou=value) for name, value in iou.items()]
    return plots.class_bars(SimpleNamespace(method="active"), SimpleNamespace(classes=classes), NO_OTHER)


def test_every_plot_of_a_run(made_up_run):
    run = made_up_run()
    results, first = run.results, run.results.summary("active")
    clean = [results.summary(method) for method in results.methods]
    own = [record for record in run.records if record.method == "active" and not record.corruption]
    drawn = [
        plots.methods(clean),
        plots.class_bars(first, first.truth, results),
        plots.confusion(first.truth, results.classes),
        plots.active_set(own),
        plots.latency(own),
        plots.stages(clean),
        plots.robustness(results, ["active"]),
    ]
    for png in drawn:
        assert has_colour(picture(png), 11, 92, 173) or has_colour(picture(png), 8, 48, 107)


def test_the_same_numbers_give_the_same_file():
    one = class_bars({"road": 0.9, "car": 0.2})
    assert one == class_bars({"road": 0.9, "car": 0.2})
    assert one != class_bars({"road": 0.2, "car": 0.9})


def test_a_bar_is_as_long_as_its_value():
    def blue(iou: float) -> int:
        image = picture(class_bars({"road": iou}))
        return int((np.abs(image.astype(int) - (173, 92, 11)).sum(axis=2) < 12).any(axis=0).sum())

    assert blue(0.8) == pytest.approx(2 * blue(0.4), rel=0.03)


def test_names_are_no_formulas():
    assert picture(class_bars({"$x^2$": 0.1, "a$b": 0.2, "x" * 80: 0.3})).size


@pytest.mark.parametrize("corruptions", [["fog:3", "snow:3"], ["fog:1", "fog:5"]])
def test_one_severity_and_several_are_drawn(corruptions):
    scores = {"active": 0.7, "paper": 0.4}
    summaries = [SimpleNamespace(truth=SimpleNamespace(mean_iou=score)) for score in scores.values()]
    of = dict(zip(scores, summaries, strict=True))
    results = SimpleNamespace(
        corruptions=["", *corruptions],
        summaries=summaries,
        summary=lambda method, corruption="": None if (method, corruption) == ("paper", "") else of[method],
    )
    image = picture(plots.robustness(results, list(scores)))
    assert has_colour(image, 11, 92, 173)
    assert has_colour(image, 213, 94, 0), "the second method has a colour of its own"


def test_many_classes_show_the_worst():
    confusion = [(index, index, 100) for index in range(60)] + [(7, 9, 500), (9, 7, 400)]
    image = picture(plots.confusion(SimpleNamespace(confusion=confusion), [f"class {n}" for n in range(60)]))
    assert image.shape[0] > 600


def test_what_is_not_known_is_not_drawn(made_up_run):
    run = made_up_run(with_truth=False)
    failed = [record for record in run.records if record.error]
    assert plots.active_set(failed) == plots.latency(failed) == b""
    assert plots.methods([run.results.summary("active")]) == b""
    assert plots.robustness(run.results, []) == b""
    own = [record for record in run.records if record.method == "active" and not record.corruption]
    assert picture(plots.active_set(own)).shape[0] < 600, "without truth there is no recall below"


def test_one_slow_frame_does_not_flatten_the_others():
    seconds = [0.1] * 99 + [100.0]
    records = [FrameRecord(n, n * 10**9, "active", timings={"total": one}) for n, one in enumerate(seconds)]
    image = picture(plots.latency(records))
    # The dots of the others are in the upper half of the upper plot's axis, not on its floor.
    blue = np.argwhere(np.abs(image[: image.shape[0] // 2].astype(int) - (173, 92, 11)).sum(axis=2) < 60)
    assert blue[:, 0].min() < 0.35 * image.shape[0]
