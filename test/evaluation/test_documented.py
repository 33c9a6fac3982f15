"""docs/evaluation.md and the README: their commands are taken, and their names are those of the code."""

import re
import shlex
from pathlib import Path
from unittest.mock import MagicMock

import pytest

from activesam_ros.cli.evaluate import main
from activesam_ros.cli.make_bag import main as make_bag
from activesam_ros.datasets import recordings
from activesam_ros.evaluation import predictions, runner
from activesam_ros.evaluation.config import EvaluationOutcome
from activesam_ros.evaluation.corruptions import CORRUPTIONS
from activesam_ros.evaluation.methods import METHODS
from activesam_ros.evaluation.run_folder import FRAMES, PREDICTIONS, RECORDS, RESULTS
from activesam_ros.launching.arguments import NODE_ARGUMENTS

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def commands(text, name):
    """Arguments of every command of a name, in order."""
    joined = re.sub(r"\\\n\s*", "", text)
    found = re.findall(rf"^\s.*?\b{name} ([^$\n]*)", joined, re.M)
    return [[word for word in shlex.split(line, comments=True) if word not in ("…", "&&")] for line in found]


@pytest.mark.parametrize(
    "arguments",
    [one for text in (TEXT, README, MAKEFILE) for one in commands(text, "activesam-evaluate")],
    ids=" ".join,
)
def test_commands_are_taken(arguments, monkeypatch, capsys):
    requests = []

    def evaluate(request, overwrite=False, say=None):
        requests.append(request)
        return EvaluationOutcome(Path("report.html"), "", interrupted=False)

    def evaluate_predictions(request, topic, overwrite=False, say=None):
        assert topic.startswith("/")
        return evaluate(request)

    monkeypatch.setattr(runner, "evaluate", evaluate)
    monkeypatch.setattr(predictions, "evaluate_predictions", evaluate_predictions)
    # The recordings that the pages name are not here.
    monkeypatch.setattr(recordings, "Recording", MagicMock())
    # Some show only the options that they are about.
    given = arguments if not arguments[0].startswith("-") else ["recording", *arguments]
    assert main(given) == 0, capsys.readouterr().err
    (request,) = requests
    assert set(getattr(request, "methods", ())) <= set(METHODS)


def test_there_are_commands():
    assert len(commands(TEXT, "activesam-evaluate")) >= 5
    assert len(commands(README, "activesam-evaluate")) == len(commands(MAKEFILE, "activesam-evaluate")) == 1


def test_make_evaluate_compares_four_methods_and_four_corruptions():
    (arguments,) = commands(MAKEFILE, "activesam-evaluate")
    assert len(arguments[arguments.index("--compare") + 1].split(",")) == 3
    assert len(arguments[arguments.index("--corrupt") + 1].split(",")) == 4
    bag, option, *_ = next(one for one in commands(MAKEFILE, "activesam-make-bag"))
    assert bag == arguments[0] and option.startswith("--toytown")


def test_the_recording_of_the_first_steps_can_be_made(tmp_path, monkeypatch):
    (made,) = commands(TEXT, "activesam-make-bag")
    monkeypatch.chdir(tmp_path)
    assert make_bag([*made, "--limit", "1"]) == 0
    assert made[0] in [one[0] for one in commands(TEXT, "activesam-evaluate")]


def test_every_method_and_corruption_is_named():
    table = re.search(r"^## Comparing$.*?(?=^## )", TEXT, re.M | re.S)[0]
    rows = re.findall(r"^\| `([a-z-]+)` \|", table, re.M)
    assert sorted(rows) == sorted(METHODS)
    assert all(f"`{name}`" in TEXT for name in CORRUPTIONS)


def test_files_and_links_are_there():
    assert all(f"`{name}`" in TEXT for name in (RESULTS, FRAMES, RECORDS))
    assert f"`{PREDICTIONS}/METHOD/000042.png`" in TEXT
    for link in re.findall(r"\]\(([\w./-]+\.md)\)", TEXT):
        assert (ROOT / "docs" / link).exists(), link


def test_the_arguments_of_the_launch_file_are_its_own():
    launch = (ROOT / "launch" / "replay.launch.py").read_text(encoding="utf-8")
    own = re.findall(r'^    Argument\(\s*"(\w+)"', launch, re.M)
    assert {"bag", "map", "out"} <= set(own) and "*NODE_ARGUMENTS" in launch
    declared = {*own, *(one.name for one in NODE_ARGUMENTS)}
    (line,) = re.findall(r"replay\.launch\.py (bag:=[^\n]*\\\n[^\n]*)", TEXT)
    assert {"bag", "labels", "model"} <= set(re.findall(r"(\w+):=", line)) <= declared
    named = re.findall(r"`(\w+)`", TEXT[TEXT.index("`params_file:=") :].split("\n\n")[0])
    assert named and set(named) <= declared
