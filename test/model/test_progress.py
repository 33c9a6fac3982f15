"""What the log says while a model is loaded."""

import logging
import re

import pytest
from transformers.utils import logging as chatter

from activesam_ros.model.checkpoint import _step, _weights_on_disk, load_checkpoint
from activesam_ros.model.parts import CountedTensors, counted_loading


def lines(caplog):
    return [message for message in caplog.messages if "tensors" in message]


@pytest.mark.parametrize(
    ("tick", "expected"),
    [(1.0, [10, 20, 30, 40, 50, 60, 70, 80, 90]), (0.04, [25, 50, 75]), (0.001, [])],
)
def test_a_line_every_ten_per_cent_but_not_many_a_second(caplog, tick, expected):
    """The clock goes on by `tick` seconds at each tensor."""
    now = [0.0]
    taken = []
    with caplog.at_level(logging.INFO):
        for tensor in CountedTensors("weights", range(100), lambda: now[0]):
            taken.append(tensor)
            now[0] += tick
    assert taken == list(range(100))
    assert lines(caplog) == [f"weights: {percent} % of 100 tensors" for percent in expected]


def test_nothing_to_count(caplog):
    assert list(CountedTensors("weights", [])) == [] and not caplog.messages


def test_transformers_really_counts_there(toytown_folder, caplog, monkeypatch):
    """The demo model loads in no time, so the lines may follow at once."""
    monkeypatch.setattr("activesam_ros.model.parts.QUIET_SECONDS", 0.0)
    with caplog.at_level(logging.INFO):
        load_checkpoint(toytown_folder, device="cpu")
    found = [re.fullmatch(r"weights: (\d+) % of (\d+) tensors", line) for line in lines(caplog)]
    assert len(found) == 9
    assert all(10 * (index + 1) <= int(line[1]) < 100 for index, line in enumerate(found))
    assert len({line[2] for line in found}) == 1


def test_each_step_is_said(toytown_folder, caplog):
    with caplog.at_level(logging.INFO):
        load_checkpoint(toytown_folder, device="cpu", dtype="bfloat16")
    said = [re.sub(r"\d+\.\d s", "N s", message) for message in caplog.messages]
    size = _weights_on_disk(toytown_folder)
    assert said == [
        f"loading {toytown_folder} from {toytown_folder} ({size} of weights) for cpu in bfloat16",
        "transformers imported in N s",
        "configuration and tokenizer read in N s",
        "weights read in N s",
        "weights put on cpu in N s",
        f"loaded {toytown_folder} in N s",
    ]


def test_a_step_that_fails_says_nothing(caplog):
    with caplog.at_level(logging.INFO), pytest.raises(ValueError, match="torn"), _step("weights read"):
        raise ValueError("torn")
    assert not caplog.messages


def test_transformers_is_left_as_it_was():
    before = chatter.set_tqdm_hook(None)
    try:
        state = chatter.get_verbosity(), chatter.is_progress_bar_enabled()
        with counted_loading("weights"):
            assert not chatter.is_progress_bar_enabled()
        with pytest.raises(ValueError, match="torn"), counted_loading("weights"):
            raise ValueError("torn")
        assert (chatter.get_verbosity(), chatter.is_progress_bar_enabled()) == state
        assert chatter.set_tqdm_hook(None) is None
    finally:
        chatter.set_tqdm_hook(before)


def test_sizes_for_people(tmp_path):
    for name, size in (
        ("a.safetensors", 1_500_000_000),
        ("b.safetensors", 200_000_000),
        ("c.bin", 9_000_000_000),
    ):
        with (tmp_path / name).open("wb") as file:
            file.truncate(size)
    assert _weights_on_disk(tmp_path) == "1.7 GB"
    (tmp_path / "a.safetensors").unlink()
    assert _weights_on_disk(tmp_path) == "200.0 MB"
