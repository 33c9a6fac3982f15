"""The benchmark of fusing, on one small image."""

from dataclasses import replace

from activesam_ros.benchmarks import fusing
from activesam_ros.benchmarks.fusing import FusingOptions, measure_fusing, to_markdown

TINY = FusingOptions(sizes=((160, 120),), classes=(4,), thresholds=(0.0, 0.4), images=1, repeats=2)


def test_tiles_have_the_labels_of_the_formula():
    said = []
    found = measure_fusing(TINY, said.append)
    assert said == [f"160x120, 4 classes, background_threshold {threshold}" for threshold in ("0", "0.4")]
    for cost in found.costs:
        assert (cost.equal, cost.classes) == (1, 4) and cost.difference < 2e-6
        assert min(cost.seconds, cost.whole, cost.tiles, cost.whole_work, cost.tiles_work) > 0
        assert cost.masks >= 4  # at least those of the semantic head
    rows = to_markdown(found).splitlines()[-2:]
    assert [row.split(" | ")[2] for row in rows] == ["0", "0.4"]
    assert all("100.0000%" in row for row in rows)


def test_other_labels_and_confidence_are_noticed(monkeypatch):
    class Lossy(fusing.TiledFusion):
        def add(self, class_index, prompt):
            if class_index:  # all but the road
                super().add(class_index, prompt)

        def finish(self):
            top = super().finish()
            top.best.mul_(0.5)
            return top

    monkeypatch.setattr(fusing, "TiledFusion", Lossy)
    (cost,) = measure_fusing(replace(TINY, thresholds=(0.4,), repeats=1), lambda _: None).costs
    assert 0 < cost.equal < 1 and cost.difference > 0.1
