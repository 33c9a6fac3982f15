"""The model with random weights, and images."""

import json

import pytest
import torch
from safetensors import safe_open
from transformers import Sam3Config

from activesam_ros.benchmarks import inputs
from activesam_ros.model.checkpoint import load_checkpoint
from activesam_ros.segmenter import ActiveSegmenter
from activesam_ros.vocabulary import Vocabulary


@pytest.fixture
def tiny(toytown_folder):
    return Sam3Config.from_dict(json.loads((toytown_folder / "config.json").read_text()))


def test_it_is_made_once_and_serves(tiny, tmp_path, street_image):
    folder = inputs.ensure_random_model(tmp_path / "deep" / "model", tiny)
    weights = folder / "model.safetensors"
    with safe_open(weights, framework="pt") as tensors:
        assert {tensors.get_tensor(name).dtype for name in tensors.keys()} == {torch.bfloat16}  # noqa: SIM118
    written = weights.stat().st_mtime_ns
    assert inputs.ensure_random_model(folder, tiny) == folder
    assert weights.stat().st_mtime_ns == written
    assert [path.name for path in folder.parent.iterdir()] == ["model"]
    segmenter = ActiveSegmenter(load_checkpoint(folder, "cpu"), prompt_cache=None)
    segmenter.set_vocabulary(Vocabulary.from_names(["road", "sky"]))
    assert segmenter.segment(street_image).labels.shape == street_image.shape[:2]


def test_what_was_interrupted_leaves_nothing(tiny, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(inputs.shutil, "copy", full)
    with pytest.raises(OSError, match="No space"):
        inputs.ensure_random_model(tmp_path / "bench" / "model", tiny)
    assert not list((tmp_path / "bench").iterdir())


def test_the_published_size():
    """Parameters are counted without memory for them."""
    from transformers import Sam3Model

    with torch.device("meta"):
        model = Sam3Model(Sam3Config())
    count = sum(parameter.numel() for parameter in model.parameters())
    text = sum(parameter.numel() for parameter in model.text_encoder.parameters())
    assert round(count / 1e6) == 840 and round(text / 1e6) in (353, 354)
