"""The counted work and its page."""

import json
from dataclasses import asdict

import pytest

from activesam_ros.benchmarks.cost import work
from activesam_ros.benchmarks.cost.plots import work_plot
from activesam_ros.benchmarks.cost.report import work_to_markdown
from activesam_ros.benchmarks.cost.ways import WAYS, Inputs
from activesam_ros.benchmarks.cost.work import count_work
from activesam_ros.cli.bench import main

TERA = 1e12


@pytest.fixture(scope="module")
def found():
    return count_work(Inputs(), lambda text: None, words=(20, 150), sizes=(1008,))


def test_the_headline(found):
    """The figures of docs/performance.md, in 10¹² operations."""
    totals = {one.way: one.total / TERA for one in found.vocabularies if one.scale.words == 150}
    assert totals["full-vocabulary"] == pytest.approx(67.3, abs=0.05)
    assert totals["as published"] == pytest.approx(33.0, abs=0.05)
    assert totals["paper"] <= 28.7
    assert totals["realtime"] <= 10.5
    assert [one.way for one in found.growing_sizes] == [way.name for way in WAYS]
    same = [one for one in found.growing_words if one.scale.words == 150]
    assert list(found.growing_sizes) == same


def test_stages_and_steps_add_up(found):
    for one in found.vocabularies:
        assert one.total == one.work.preview + one.work.encode + one.work.decode
    steps = {step.name: step for step in found.steps}
    image = sum(step.lean for name, step in steps.items() if name.startswith("image at 1008"))
    prompt = sum(step.lean for name, step in steps.items() if name.startswith("each decoded prompt"))
    (paper,) = (one for one in found.vocabularies if (one.way, one.scale.words) == ("paper", 150))
    assert paper.work.encode == image and paper.work.decode == 30 * prompt
    small = sum(step.lean for name, step in steps.items() if name.startswith("image at 672"))
    asked = sum(step.lean for name, step in steps.items() if name.startswith("each prompt at 672"))
    assert paper.work.preview == small + 150 * asked
    (published,) = (one for one in found.vocabularies if (one.way, one.scale.words) == ("as published", 150))
    assert sum(step.saved for step in found.steps) == published.total - paper.total


def test_the_page_and_the_plot(found):
    page = work_to_markdown(found)
    assert "| 150, paper | 150 | 30 |" in page and "| 150, realtime | " in page
    assert work_plot(found).startswith(b"\x89PNG")
    assert json.loads(json.dumps(asdict(found)))["inputs"] == {"tokens": 10, "kept": 20, "shown": 11}


def test_files(found, tmp_path, monkeypatch, capsys):
    given = []
    monkeypatch.setattr(work, "count_work", lambda inputs, say: given.append(inputs) or found)
    assert main(["work", "--tokens", "12", "--out", str(tmp_path / "new")]) == 0
    assert given == [Inputs(tokens=12)]
    assert {path.name for path in (tmp_path / "new").iterdir()} == {"work.md", "work.json", "work.png"}
    assert capsys.readouterr().out == (tmp_path / "new" / "work.md").read_text()
