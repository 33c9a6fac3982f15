"""A model of two sizes of layers with random weights, whose parts are compared one by one."""

import copy
import shutil

import pytest
import torch


@pytest.fixture(scope="session")
def network():
    """transformers' own modules with weights that are large enough for every part to matter."""
    from transformers import Sam3Config

    from activesam_ros.model.folder import BUNDLED
    from activesam_ros.model.parts import Sam3WithoutText

    config = copy.deepcopy(Sam3Config.from_pretrained(BUNDLED["toytown"]))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = Sam3WithoutText(config).eval().requires_grad_(False)
        for name, parameter in model.named_parameters():
            if "bias" in name or "norm" in name:
                parameter += 0.3 * torch.randn_like(parameter)
            else:
                parameter += 0.1 * torch.randn_like(parameter)
    return model


@pytest.fixture
def noise():
    """Makes tensors of noise, the same in every run."""
    generator = torch.Generator().manual_seed(5)
    return lambda *shape: torch.randn(*shape, generator=generator)


@pytest.fixture
def prompts(network, noise):
    """Three prompts of 6 tokens, one with padding: tokens and which are valid."""
    valid = torch.ones(3, 6, dtype=torch.bool)
    valid[1, 2:5] = False
    return noise(3, 6, network.config.detr_encoder_config.hidden_size), valid


@pytest.fixture
def copied(toytown_folder, tmp_path):
    """Copy the demo model, so that a test may damage it."""
    return shutil.copytree(toytown_folder, tmp_path / "model")
