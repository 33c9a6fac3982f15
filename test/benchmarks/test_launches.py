"""Kernels and waits are counted as a GPU would have them."""

import json

import pytest
import torch

from activesam_ros.benchmarks.launches import LaunchCounter, count_launches, to_markdown
from activesam_ros.benchmarks.work import Assumptions
from activesam_ros.cli.bench import main


def counted(work):
    """Count what `work` does; the host reads ones."""
    counter = LaunchCounter(lambda _, tensor: torch.ones(tensor.shape, dtype=tensor.dtype))
    with torch.inference_mode(), counter, torch.profiler.record_function("fuse"):
        work(torch.empty(4, 6, device="meta"))
    return counter.frame


@pytest.mark.parametrize(
    ("work", "kernels", "waits"),
    [
        (lambda one: one.view(6, 4).transpose(0, 1)[1:], 0, 0),
        (lambda one: torch.empty_like(one), 0, 0),
        (lambda one: one.view(6, 4).transpose(0, 1).contiguous(), 1, 0),
        (lambda one: torch.nn.functional.linear(one, one, one[:, 0]), 1, 0),
        (lambda one: torch.nn.functional.scaled_dot_product_attention(*[one[None]] * 3), 1, 0),
        (lambda one: torch.maximum(one, one, out=one), 1, 0),
        (lambda one: float(one[0, 0]), 0, 1),
        (lambda one: bool((one > 0).all()), 2, 1),
        (lambda one: one[[0, 1]], 1, 1),
        (lambda one: one[one[:, 0] > 0], 2, 1),
        (lambda one: one.cpu().numpy().sum(), 0, 1),
        (lambda one: [one.to("cpu", non_blocking=True) for _ in range(3)], 0, 1),
        (lambda one: torch.zeros(4).to(one.device), 0, 1),
        (lambda one: torch.tensor([1, 2], device=one.device), 0, 1),
        (lambda one: torch.zeros(4).to(one.device, non_blocking=True), 0, 0),
        (lambda _: torch.zeros(4).exp(), 0, 0),
    ],
)
def test_what_counts(work, kernels, waits):
    frame = counted(work)
    assert (frame.kernels, frame.waits) == (kernels, waits), (frame.operations, frame.waits_for)
    assert set(frame.stages) <= {"fuse"}


def test_the_command_line(tmp_path, capsys):
    given = ["launches", "--models", "toytown", "--classes", "45", "--size", "64x48"]
    assert main([*given, "--json", str(tmp_path / "launches.json")]) == 0
    page = capsys.readouterr().out
    rows = [line.split("|")[1].strip() for line in page.splitlines() if line.startswith("| toytown")]
    assert rows == [
        "toytown, `paper`",
        "toytown, `fast`",
        "toytown, `realtime`, first frame",
        "toytown, `realtime`, later frame",
    ]
    found = json.loads((tmp_path / "launches.json").read_text())["profiles"]
    assert {one["profile"] for one in found} == {"paper", "fast", "realtime"}
    # An image waits for its presence, for what is kept of its prompts, and for its labels.
    waits = [len(one[which]["waits_for"]) for one in found for which in ("frame", "later") if one[which]]
    assert waits == [3, 3, 3, 3]
    for one in found:
        assert one["frame"]["stages"]["encode"]["kernels"] > 50
        assert {"prepare", "encode", "preview", "decode", "fuse"} == set(one["frame"]["stages"])


@pytest.mark.parametrize("profile", ["paper", "fast"])
def test_waits_do_not_grow_with_prompts_and_instances(profile):
    (many,) = count_launches("toytown", lambda _: None, [profile], 150, (64, 48), instances=True)
    assert many.frame.waits == 3, many.frame.waits_for


def test_a_graph_is_one_launch_beside_copies():
    """What is not captured is launched as before: the masks, and what comes of them."""
    (plain,), (graphs,) = (
        count_launches("toytown", lambda _: None, ["realtime"], 45, (64, 48), graphs=graphs)
        for graphs in (False, True)
    )
    one, other = plain.later, graphs.later
    assert (one.waits, other.waits) == (3, 3)
    assert other.kernels < one.kernels / 2
    assert other.stages["preview"].kernels < 30 < one.stages["preview"].kernels
    assert other.stages["fuse"] == one.stages["fuse"]
    assert "realtime` with graphs, later frame" in to_markdown([graphs], 45, (64, 48))


def test_more_uncertain_prompts_than_were_scored_ahead_wait_once_more():
    given = Assumptions(uncertain=0.3)
    (many,) = count_launches("toytown", lambda _: None, ["fast"], 150, (64, 48), given)
    assert many.frame.waits == 4, many.frame.waits_for
