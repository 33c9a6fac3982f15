"""The whole vocabulary benchmark on a tiny vocabulary."""

import json
from dataclasses import asdict

import pytest

from activesam_ros.benchmarks.report import table, to_markdown
from activesam_ros.benchmarks.vocabulary import Options, measure_vocabulary
from activesam_ros.cli.bench import main

TINY = Options(
    classes=4, repeats=1, threads=1, stream_classes=2, stream_resolution=64, stream_frames=2, stream_edits=1
)


def here(work, *arguments, threads, **named):
    """In place of a process for each part, which takes seconds to import torch."""
    return work(*arguments, **named)


def test_tables_and_figures():
    parts = []
    found = measure_vocabulary(TINY, parts.append, here)
    assert len(parts) == 7
    assert (found.warm.encoded, found.warm.text_encoder_loaded) == (0, False)
    assert (found.cold.encoded, found.cold.text_encoder_loaded) == (found.filling.misses, True)
    assert (found.met.encoded, found.met.text_encoder_loaded) == (1, False)
    assert set(found.gaps) == {"release", "keep"}
    json.dumps(asdict(found))
    printed = to_markdown(found)
    for title in ("one word of 4, new", "warm cache", "after an unknown word", "`release`", "`keep`"):
        assert f"| {title}" in printed


def test_a_model_that_is_not_there(capsys, tmp_path):
    assert main(["vocabulary", "--model", str(tmp_path / "nowhere")]) == 2
    assert "does not exist" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--classes 2", "--repeats 0", "--threads 0", "--stream-frames 1"])
def test_numbers_that_make_no_measurement(capsys, option):
    with pytest.raises(SystemExit) as ended:
        main(["vocabulary", *option.split()])
    assert ended.value.code == 2 and option.split()[0] in capsys.readouterr().err


def test_tables():
    assert table(["a", "b"], [["1", "2"]]) == "| a | b |\n| --- | ---: |\n| 1 | 2 |"
