"""Numbers as texts."""

import pytest

from activesam_ros.evaluation.report import wording


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (wording.percent(0.7123), "71.2 %"),
        (wording.percent(-0.0512), "−5.1 %"),
        (wording.percent(None), "–"),
        (wording.share(0.004), "<1 %"),
        (wording.share(0.006), "1 %"),
        (wording.share(0.0), "0 %"),
        (wording.points(0.0191), "+1.9"),
        (wording.points(-0.003), "−0.3"),
        (wording.points(-0.0001), "±0.0"),
        (wording.better(0.0541), "5.4 points better"),
        (wording.better(-0.003), "0.3 points worse"),
        (wording.better(-0.0001), "no difference"),
        (wording.factor(2.599), "2.60 ×"),
        (wording.factor(0.4867), "0.487 ×"),
        (wording.factor(123.4), "123 ×"),
        (wording.rate(0.0312), "0.0312"),
        (wording.milliseconds(0.009999999), "10.0 ms"),
        (wording.milliseconds(0.01), "10.0 ms"),
        (wording.milliseconds(0.001), "1.00 ms"),
        (wording.milliseconds(12.3456), "12 346 ms"),
        (wording.duration(19.95), "19.9 s"),
        (wording.duration(200), "3 min 20 s"),
        (wording.duration(3900), "1 h 05 min"),
        (wording.work(3.33e13), "33.3 TFLOP"),
        (wording.work(2.5e9), "2.50 GFLOP"),
        (wording.work(12), "12 FLOP"),
        (wording.memory(1_620_000_000), "1.62 GB"),
        (wording.memory(350_000_000), "350 MB"),
        (wording.listed(["a"]), "a"),
        (wording.listed(["a", "b", "c"]), "a, b and c"),
        (wording.listed(["a", "b", "c", "d"], most=3), "a, b and 2 more"),
        (wording.corruption("motion_blur:3"), "motion blur, severity 3"),
        (wording.corruption(""), "clean"),
        (wording.rate(0.0), "0"),
    ],
)
def test_texts(text, expected):
    assert text == expected
