"""Arguments that make no measurement are refused before anything is loaded."""

import pytest

from activesam_ros.cli.bench import main


@pytest.mark.parametrize(
    "arguments",
    [
        *("vocabulary --classes 2", "vocabulary --repeats 0", "vocabulary --threads 0", "vocabulary --stream-frames 1"),
        *("soak --frames 3", "soak --bad-rate 0.5", "soak --edit-rate -1", "soak --unanswered 1", "soak --size 16x16"),
        *("cameras --rate 0", "cameras --seconds 0", "overhead --sizes 640", "overhead --frames 1"),
        *("transport --transports profile,fast", "transport --images 0", "transport --starts -1"),
        *("points --sizes 640", "points --strides 0", "points --repeats 0"),
        *("fuse --sizes 640", "fuse --classes 0", "fuse --thresholds 1.5", "fuse --images 0", "fuse --repeats 0"),
        *("speed --paths lean,quick", "speed --paths lean,lean", "work --tokens 1"),
        *("video --classes 10", "video --rate 0", "video --rate -1", "video --rate inf", "video --rate nan"),
        *("video --json /", "video --json /no/such/folder/found.json"),
    ],
)  # fmt: skip
def test_they_are_refused(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments.split())
    assert ended.value.code == 2
    assert arguments.split()[1] in capsys.readouterr().err


@pytest.mark.parametrize("benchmark", ["vocabulary", "speed --paths lean"])
def test_a_model_that_is_not_there(benchmark, capsys, tmp_path):
    assert main([*benchmark.split(), "--model", str(tmp_path / "nowhere")]) == 2
    assert "does not exist" in capsys.readouterr().err
