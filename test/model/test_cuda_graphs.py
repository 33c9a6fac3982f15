"""CUDA graphs: what is captured reads nothing of the device, and a graph is replayed in its place.

Nothing here needs a GPU: torch's fake tensors refuse what depends on data, and graphs are played by functions.
"""

from contextlib import contextmanager, nullcontext

import pytest
import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from activesam_ros.model import cuda_graphs
from activesam_ros.model.compiling import Compiler
from activesam_ros.model.cuda_graphs import graph_compiler
from activesam_ros.model.fused.heads import FusedPromptHeads
from activesam_ros.model.prompt_heads import PromptTokens
from activesam_ros.model.vision_encoder import VisionEncoder
from activesam_ros.segmenter import ActiveSegmenter


def test_what_is_captured_does_not_depend_on_data(toytown_checkpoint, noise):
    """The backbone, a bucket of the preview, and a bucket that is decoded, up to its object queries."""
    ran = []

    def on_fake_tensors(function):
        def call(*given):
            mode = FakeTensorMode(allow_non_fake_inputs=True)
            fake = cuda_graphs.each_tensor(given, mode.from_tensor)
            with mode:
                results = function(*fake)
            ran.append(cuda_graphs._shapes(results))
            real = function(*given)
            assert [one.shape for one in cuda_graphs._tensors(real)] == [
                one.shape for one in cuda_graphs._tensors(results)
            ]
            return real

        return call

    compiler = Compiler(on_fake_tensors)
    encoder = VisionEncoder(toytown_checkpoint, 192, "masks", compiler)
    heads = FusedPromptHeads(toytown_checkpoint, compiler)
    size = toytown_checkpoint.config.detr_encoder_config.hidden_size
    prompts = PromptTokens(noise(3, 6, size), torch.ones(3, 6, dtype=torch.bool))
    with torch.inference_mode():
        image = heads.prepare(encoder.encode(noise(1, 3, 192, 192)), masks=True)
        heads.presence(image, prompts)
        list(heads.decode(image, [prompts], 0.0))
    assert len(ran) == 3
    with pytest.raises(DataDependentOutputException), torch.inference_mode():
        on_fake_tensors(lambda one: one * one.sum().item())(torch.ones(2))


@pytest.fixture
def played(monkeypatch):
    """Stand-ins for CUDA's graphs: a replay runs the function that was captured; the captures."""
    captures, chosen = [], []

    class Graph:
        def replay(self):
            assert chosen == [torch.device("cpu")]
            for kept, new in zip(
                cuda_graphs._tensors(self.results), cuda_graphs._tensors(self.again()), strict=True
            ):
                kept.copy_(new)

    class Stream:
        def wait_stream(self, other):
            pass

    class Captured(cuda_graphs._Graph):
        def __init__(self, function, given, pool):
            super().__init__(function, given, pool)
            self._graph.results, self._graph.again = self._results, lambda: function(*self._inputs)

    @contextmanager
    def on(device):
        chosen.append(device)
        yield
        chosen.pop()

    @contextmanager
    def capture(graph, pool, stream, capture_error_mode):
        assert (pool, type(stream), capture_error_mode) == ("a pool", Stream, "thread_local")
        assert chosen == [torch.device("cpu")]
        captures.append(graph)
        yield

    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: "a pool")
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "current_stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: nullcontext())
    monkeypatch.setattr(torch.cuda, "graph", capture)
    monkeypatch.setattr(torch.cuda, "device", on)
    monkeypatch.setattr(cuda_graphs, "_Graph", Captured)
    return captures


def test_one_graph_for_each_shape(played, monkeypatch):
    monkeypatch.setattr(cuda_graphs, "MOST_GRAPHS", 2)
    twice = graph_compiler(Compiler(lambda function: lambda one, by: function(one) * by))(lambda one: one + 1)
    first = twice(torch.ones(2), 3)
    second = twice(torch.zeros(2), 3)
    assert first.tolist() == [6, 6] and second.tolist() == [3, 3] and len(played) == 1
    for size in (3, 4, 3):
        assert twice(torch.ones(size), 3).tolist() == [6] * size
    assert len(played) == 3
    twice(torch.ones(2), 3)
    assert len(played) == 4 and twice(torch.ones(2), 2).tolist() == [4, 4] and len(played) == 5


def test_labels_are_the_same_with_graphs(played, toytown_checkpoint, street_image):
    results = []
    for compiler in (None, graph_compiler()):
        segmenter = ActiveSegmenter(toytown_checkpoint, prompt_cache=None, compiler=compiler)
        segmenter.set_vocabulary(["road", "car", "sky"])
        results += [segmenter(street_image) for _ in range(2)]
    assert len(played) == 2
    for one in results[1:]:
        assert (one.labels == results[0].labels).mean() > 0.9999


def test_what_cannot_be_captured_runs_without(caplog):
    made = graph_compiler()(lambda one: one + 1)
    for _ in range(3):
        assert made(torch.ones(1)).tolist() == [2]
    (record,) = caplog.records
    assert "a CUDA graph cannot be captured" in record.message and record.message.endswith(
        "going on without it"
    )


def test_a_model_on_a_cpu_says_that_it_has_none(toytown_checkpoint, caplog):
    caplog.set_level("INFO")
    segmenter = ActiveSegmenter(toytown_checkpoint, prompt_cache=None, cuda_graphs=True)
    assert not segmenter.compiled
    assert [one.message for one in caplog.records if "CUDA graphs" in one.message] == [
        "CUDA graphs need a GPU; the model runs on cpu without them"
    ]
