"""The command `activesam-studio`: what it cannot begin with is said in one sentence."""

import importlib.util

import pytest

from activesam_ros.cli import studio


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--images", "nowhere"), "there is no folder nowhere"),
        (("--images", "."), "has no images"),
        (("--demo", "--folder", "nowhere"), "there is no folder nowhere"),
        (("--bag", "nowhere"), "nowhere"),
        (("--demo", "--vocabulary", "nowhere.yaml"), "there is no vocabulary file nowhere.yaml"),
        (("--node", "/activesam", "--model", "toytown"), "leave out --model"),
        (("--node", "/activesam", "--device", "cpu"), "--device has no effect"),
        (("--images", ".", "--topic", "/camera"), "give --bag"),
        (("--demo", "--camera", "front"), "give --node"),
        (("--demo", "--port", "65536"), "expected a whole number from 0 to 65535"),
        ((), "is required"),
    ],
)
def test_what_cannot_be_begun(arguments, said, capsys, tmp_path, monkeypatch):
    pytest.importorskip("nicegui")
    monkeypatch.chdir(tmp_path)
    try:
        code = studio.main(arguments)
    except SystemExit as ended:
        code = ended.code
    assert code == 2 and said in capsys.readouterr().err.splitlines()[-1]


def test_without_the_framework(capsys, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "nicegui" else find(name))
    assert studio.main(["--demo"]) == 2
    assert "pip install 'nicegui>=3,<4'" in capsys.readouterr().err
