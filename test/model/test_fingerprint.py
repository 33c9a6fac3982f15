"""The text encoder's fingerprint: the same in every layout, another for every change."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from activesam_ros.model.folder import text_fingerprint


@pytest.fixture
def copied(toytown_folder, tmp_path):
    return shutil.copytree(toytown_folder, tmp_path / "model")


def fingerprint(folder, memo=None):
    config = json.loads((folder / "config.json").read_text())["text_config"]
    return text_fingerprint(folder, config, memo)


def rewrite(folder, change):
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def test_copies_and_layouts_agree(copied, toytown_folder):
    assert fingerprint(copied) == fingerprint(toytown_folder)
    weights = load_file(copied / "model.safetensors")
    (copied / "model.safetensors").unlink()
    for shard in range(2):
        part = {f"detector_model.{key}": weights[key] for key in sorted(weights)[shard::2]}
        save_file(part, copied / f"model-{shard}.safetensors")
    assert fingerprint(copied) == fingerprint(toytown_folder)


def test_only_the_text_side_counts(copied, toytown_folder):
    rewrite(copied, lambda weights: weights["detr_decoder.presence_token.weight"].add_(1))
    assert fingerprint(copied) == fingerprint(toytown_folder)


def change_one_weight(folder):
    def change(weights):
        name = "text_encoder.text_model.final_layer_norm.weight"
        weights[name][-1] = torch.nextafter(weights[name][-1].float(), torch.tensor(9.0)).half() + 0.01

    rewrite(folder, change)


def change_projection(folder):
    rewrite(folder, lambda weights: weights["text_projection.bias"].add_(0.5))


def change_tokenizer(folder):
    path = folder / "tokenizer.json"
    path.write_text(path.read_text() + "\n")


def change_config(folder):
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config["text_config"]["layer_norm_eps"] = 0.5
    path.write_text(json.dumps(config))


@pytest.mark.parametrize("change", [change_one_weight, change_projection, change_tokenizer, change_config])
@pytest.mark.parametrize("remembered", [False, True])
def test_every_change_of_the_text_side_counts(copied, toytown_folder, tmp_path, change, remembered):
    memo = tmp_path / "memo.json" if remembered else None
    before = fingerprint(copied, memo)
    change(copied)
    assert fingerprint(copied, memo) != before


def test_unchanged_files_are_not_read_again(copied, tmp_path, monkeypatch):
    memo = tmp_path / "memo.json"
    first = fingerprint(copied, memo)

    def never(*_, **__):
        raise AssertionError("the weights were read again")

    monkeypatch.setattr("activesam_ros.model.folder.safe_open", never)
    assert fingerprint(copied, memo) == first


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"a": 1}'])
def test_a_damaged_memo_is_made_again(copied, tmp_path, content):
    memo = tmp_path / "memo.json"
    memo.write_text(content)
    assert fingerprint(copied, memo) == fingerprint(copied)
    assert fingerprint(copied) in json.loads(memo.read_text()).values()
