"""Compiling: where its results go, and what is said when it fails. What it makes is tested with the segmenter."""

import os

import pytest
import torch

from activesam_ros.errors import ModelError
from activesam_ros.model.compiling import keep_compiled, torch_compiler
from activesam_ros.system.files import cache_folder


@pytest.mark.parametrize("chosen", [None, "/elsewhere"])
def test_what_is_compiled_is_kept(monkeypatch, chosen):
    # Set first, so that it is put back at the end.
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", chosen or "")
    if not chosen:
        monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
    keep_compiled()
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == (chosen or str(cache_folder() / "compiled"))


def test_a_machine_that_cannot_compile():
    def backend(graph, inputs):
        raise RuntimeError("no compiler\nand a long story")

    with pytest.raises(
        ModelError, match=r"torch cannot compile the model here .*leave compile off"
    ) as caught:
        torch_compiler(backend)(lambda x: x + 1)(torch.ones(2))
    assert "\n" not in str(caught.value)


def test_more_shapes_than_torch_would_compile():
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    twice = torch_compiler(backend)(lambda x: 2 * x)
    for _ in range(2):
        for size in range(2, 14):
            assert torch.equal(twice(torch.ones(size)), torch.full((size,), 2.0))
    assert len(graphs) == 12
