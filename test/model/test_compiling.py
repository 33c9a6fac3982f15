"""Compiling: where its results go, and what is said when it fails. What it makes is tested with the segmenter."""

import os

import pytest
import torch

from activesam_ros.errors import ModelError
from activesam_ros.files import cache_folder
from activesam_ros.model.compiling import compiling, torch_compiler


@pytest.mark.parametrize("chosen", [None, "/elsewhere"])
def test_what_is_compiled_is_kept(monkeypatch, chosen):
    if chosen:
        monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", chosen)
    else:
        # Set first, so that it is put back at the end.
        monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "")
        monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
    torch_compiler()
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == (chosen or str(cache_folder() / "compiled"))


def test_a_machine_that_cannot_compile():
    def backend(graph, inputs):
        raise RuntimeError("no compiler\nand a long story")

    with pytest.raises(ModelError, match="torch cannot compile the model here .*leave compile off") as caught:
        with compiling():
            torch.compile(lambda x: x + 1, backend=backend)(torch.ones(2))
    assert "\n" not in str(caught.value)
