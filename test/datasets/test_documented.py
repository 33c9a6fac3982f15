"""docs/benchmarks.md: its commands are taken, and its tables are those of the code."""

import re
import shlex
from pathlib import Path

import pytest

from activesam_ros.cli.make_bag import main
from activesam_ros.datasets.layouts import BENCHMARKS

TEXT = (Path(__file__).parents[2] / "docs" / "benchmarks.md").read_text(encoding="utf-8")


def commands(name):
    """Arguments of every command of a name, in order."""
    joined = re.sub(r"\\\n\s*", "", TEXT)
    return [shlex.split(line)[1:] for line in re.findall(rf"^    ({name} .*)$", joined, re.M)]


def option(arguments, name):
    return arguments[arguments.index(name) + 1]


def test_every_benchmark_has_its_commands_and_they_fit_together():
    made = {option(one, "--dataset"): one[1] for one in commands("activesam-make-bag") if "--dataset" in one}
    assert set(made) == set(BENCHMARKS)
    evaluated = {option(one, "--vocabulary") for one in commands("activesam-evaluate")}
    assert evaluated == set(BENCHMARKS)
    for one in commands("activesam-evaluate"):
        assert one[0] == made[option(one, "--vocabulary")]


@pytest.mark.parametrize("arguments", commands("activesam-make-bag"), ids=" ".join)
def test_commands_are_taken(arguments, tmp_path, monkeypatch, capsys):
    # Nothing is there, so a command that is understood fails for want of its files.
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    assert re.search(r"there is no folder|No such file", capsys.readouterr().err)


def test_the_table_of_the_data_names_every_layout():
    rows = [row for row in re.findall(r"^\|.*\|$", TEXT, re.M) if row.count("|") == 7]
    for name, benchmark in BENCHMARKS.items():
        (row,) = [row for row in rows if f"`{name}`" in row.split("|")[1]]
        word = benchmark.splits["val"]
        for layout in benchmark.layouts:
            assert layout.images[0].format(split=word) in row
            assert layout.labels[0].format(split=word) in row
            assert layout.label_suffix in row
        if benchmark.images:
            assert row.split("|")[6].strip() == str(benchmark.images)
