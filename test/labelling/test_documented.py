"""docs/label.md: its commands do what it says, from a recording to a data set and in shards."""

import re
import shlex
from pathlib import Path

import pytest
from PIL import Image

pytest.importorskip("rosbags")

from activesam_ros.cli import label, make_bag
from activesam_ros.datasets.recordings import Recording

PAGE = (Path(__file__).parents[2] / "docs" / "label.md").read_text(encoding="utf-8")
PROGRAMS = {"activesam-make-bag": make_bag.main, "activesam-label": label.main}


@pytest.mark.slow
def test_the_commands_lead_to_what_the_page_says(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for line in re.findall(r"^    (activesam-[^#\n]*)", PAGE, re.M):
        if "--ray" in line:
            continue  # needs Ray
        name, *arguments = shlex.split(line.replace("--limit 20", "--limit 4"))
        assert PROGRAMS[name](arguments) == 0, capsys.readouterr().err
    with Recording("labelled") as labelled:
        counts = {name: topic.count for name, topic in labelled.topics.items()}
    assert counts["/camera/image"] == counts["/activesam/labels"] == 4
    masks = sorted(Path("dataset/SegmentationClass").iterdir())
    images = sorted(Path("dataset/JPEGImages").iterdir())
    assert [one.name for one in masks] == [one.name for one in images] and len(masks) == 4
    assert Image.open(masks[0]).size == Image.open(images[0]).size
    plain = (tmp_path / "labelled" / "label.json").read_text()
    assert '"failed": []' in plain
    with Recording("shared") as shared:
        assert shared.topics["/activesam/labels"].count == 4


def test_the_options_are_those_of_the_command():
    options = {one for action in label._parser()._actions for one in action.option_strings}
    assert (
        set(re.findall(r"(--[a-z][a-z-]*)", PAGE))
        - {"--toytown", "--limit", "--predictions", "--head", "--address"}
        <= options
    )
