"""The command `activesam-vocabulary`."""

import json
import subprocess
import sys

import pytest

from activesam_ros.cli.vocabulary import main
from activesam_ros.prompts.report import WIDTH
from activesam_ros.vocabulary.files import preset_names


def test_list_has_every_preset_with_its_sizes(capsys):
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = {line.split()[0]: line.split()[1:4] for line in lines if line and not line.startswith(" ")}
    assert set(rows) == {"preset", *preset_names()}
    assert rows["voc20"] == ["20", "26", "0"]
    assert rows["coco_object"] == ["81", "81", "0.4"]
    assert max(map(len, lines)) <= WIDTH


def test_show_without_a_model_needs_no_torch():
    code = (
        "import sys; from activesam_ros.cli.vocabulary import main; "
        "assert main(['show', 'cityscapes']) == 0; assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    rows = [line.split() for line in done.stdout.splitlines()]
    assert ["8", "#6b8e23", "vegetation", "tree", "woody", "plant"] in rows
    assert ["6", "#faaa1e", "traffic", "light", "traffic", "light", "(for", "trafficlight)", "light"] in rows


def test_show_with_a_model(capsys):
    assert main(["show", "cityscapes", "--model", "toytown"]) == 0
    out = capsys.readouterr().out
    assert "model: toytown, which reads at most 32 tokens of a prompt\n" in out
    assert max(map(len, out.splitlines())) <= WIDTH


def test_show_as_json(capsys):
    assert main(["show", "voc20", "--model", "toytown", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert [entry["class_id"] for entry in content["classes"]] == list(range(20))
    boat = content["classes"][3]
    assert [prompt["prompt"] for prompt in boat["prompts"]] == ["boat", "ship"]
    assert all(len(prompt["neighbors"]) == 2 and prompt["tokens"] >= 3 for prompt in boat["prompts"])


def test_show_flags_prompts_that_the_model_cannot_read(tmp_path, capsys):
    path = tmp_path / "long.txt"
    path.write_text("road\n" + "very " * 40 + "long\n")
    assert main(["show", str(path), "--model", "toytown"]) == 0
    out = capsys.readouterr().out
    assert " > 32" in out
    assert "too long for the model, so shorten: 'very very" in out


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["show", "ade21k"], "there is no vocabulary file ade21k"),
        (["show", "voc20", "--model", "./nowhere"], "the model folder ./nowhere does not exist"),
    ],
)
def test_failures_are_one_sentence_and_exit_code_2(arguments, reason, capsys):
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"activesam-vocabulary: {reason}")
    assert err.count("\n") == 1


@pytest.mark.parametrize("arguments", [[], ["show"], ["print", "voc20"]])
def test_wrong_usage_has_exit_code_2(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert "usage: activesam-vocabulary" in capsys.readouterr().err
