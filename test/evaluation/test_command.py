"""The command `activesam-evaluate`."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("rosbags")

from activesam_ros.cli.evaluate import main
from activesam_ros.datasets.labelled_bag import TRUTH_TOPIC, LabelledBag
from activesam_ros.errors import EvaluationError
from activesam_ros.evaluation import runner
from activesam_ros.evaluation.config import EvaluationConfig, EvaluationOutcome
from activesam_ros.evaluation.corruptions import CORRUPTIONS, Corrupted
from activesam_ros.evaluation.methods import METHODS
from activesam_ros.toytown import CLASSES
from activesam_ros.toytown.world import World
from activesam_ros.vocabulary.files import load_vocabulary_file

START = 1_700_000_000_000_000_000
WORDS = "road; car, automobile; sky; person; building"

# A None among the modules makes their import fail, as where ROS is not installed.
WITHOUT_ROS = """
import sys
for name in ("rclpy", "launch", "cv_bridge", "sensor_msgs", "std_msgs", "vision_msgs", "builtin_interfaces",
             "rosidl_runtime_py", "rcl_interfaces", "activesam_ros.msg"):
    sys.modules[name] = None
from activesam_ros.cli.evaluate import main
sys.exit(main())
"""


@pytest.fixture(scope="module")
def bag(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("bags") / "street"
    world = World(3, 96, 64)
    with LabelledBag(path, dict(enumerate(CLASSES))) as written:
        for index in range(2):
            frame = world.render(index / 5)
            written.write(START + index * 200_000_000, frame.rgb, frame.labels)
    return path


@pytest.fixture
def asked(monkeypatch) -> list[tuple[EvaluationConfig, bool]]:
    """What `evaluate` is asked for, which does nothing."""
    requests: list[tuple[EvaluationConfig, bool]] = []

    def evaluate(request, overwrite=False, say=None):
        requests.append((request, overwrite))
        say("loading")
        return EvaluationOutcome(
            Path("out/report.html"),
            "a table",
            interrupted=request.bag.name == "interrupted",
            shortage="/camera has 3 of 7 messages" if request.bag.name == "short" else None,
        )

    monkeypatch.setattr("activesam_ros.cli.evaluate._require_there", lambda *_: None)
    monkeypatch.setattr(runner, "evaluate", evaluate)
    return requests


def test_a_recording_is_enough(asked, capsys):
    assert main(["street"]) == 0
    ((request, overwrite),) = asked
    default = {
        "bag": Path("street"),
        "out": Path("evaluation"),
        "model": "facebook/sam3",
        "methods": ("active",),
    }
    assert {name: getattr(request, name) for name in default} == default
    assert (request.device, request.dtype) == ("auto", "auto")
    assert request.image_topic is request.labels_topic is request.class_map is None
    assert (request.every, request.corruptions, request.seed, overwrite) == (1, (), 0, False)
    assert request.command == "activesam-evaluate street"
    said = capsys.readouterr()
    assert said.out == "a table\nreport: out/report.html\n" and said.err == "… loading\n"


def test_every_option_arrives(asked, tmp_path):
    parameters = tmp_path / "node.yaml"
    parameters.write_text("/**: {ros__parameters: {max_active: 7, keep_fraction: 0.5, device: cuda}}")
    arguments = [
        *("bags/my street", "--out", "runs/one", "--overwrite", "--image", "/front", "--labels", "/truth"),
        *("--classes", "classes.yaml", "--map", "map.yaml", "--ignore", "0,255", "--tolerance", "0.1"),
        *("--every", "3", "--start", "1.5", "--end", "9", "--model", "toytown", "--vocabulary", "cityscapes"),
        *("--params", str(parameters), "--param", "max_active=9", "--param", "bucket_size=4"),
        *("--device", "cpu", "--dtype", "float32", "--threads", "2", "--prompt-cache", "cache"),
        *("--compare", "paper, full-vocabulary", "--corrupt", "fog,pixelate", "--severity", "1,5"),
        *("--seed", "4"),
    ]
    assert main(arguments) == 0
    ((request, overwrite),) = asked
    assert overwrite
    expected = {
        "bag": Path("bags/my street"),
        "out": Path("runs/one"),
        "model": "toytown",
        "device": "cpu",
        "dtype": "float32",
        "image_topic": "/front",
        "labels_topic": "/truth",
        "class_map": "classes.yaml",
        "mapping": Path("map.yaml"),
        "ignore": (0, 255),
        "tolerance": 0.1,
        "every": 3,
        "start": 1.5,
        "end": 9.0,
        "methods": ("active", "paper", "full-vocabulary"),
        "corruptions": tuple(Corrupted(name, level) for name in ("fog", "pixelate") for level in (1, 5)),
        "seed": 4,
        "threads": 2,
        "prompt_cache": Path("cache"),
        "vocabulary": load_vocabulary_file("cityscapes").vocabulary(),
    }
    assert {name: getattr(request, name) for name in expected} == expected
    settings = request.settings
    assert (settings.max_active, settings.keep_fraction, settings.bucket_size) == (9, 0.5, 4)
    # It can be pasted into a shell again.
    assert request.command.startswith("activesam-evaluate 'bags/my street' --out runs/one")
    assert "--compare 'paper, full-vocabulary'" in request.command


def test_a_recording_that_ends_short_of_its_count_is_no_success(asked, capsys):
    assert main(["short"]) == 1
    assert (
        "activesam-evaluate: /camera has 3 of 7 messages; the report is about those"
        in capsys.readouterr().err
    )


def test_an_interrupted_run_ends_as_a_shell_expects(asked, capsys):
    assert main(["interrupted"]) == 130
    assert "report: out/report.html" in capsys.readouterr().out


def test_a_run_without_any_labels_fails(monkeypatch, capsys):
    finished = EvaluationOutcome(Path("report.html"), "a table", interrupted=False, labelled=False)
    monkeypatch.setattr("activesam_ros.cli.evaluate._require_there", lambda *_: None)
    monkeypatch.setattr(runner, "evaluate", lambda *arguments, **options: finished)
    assert main(["street"]) == 2
    assert "no frame could be labelled; the report says why" in capsys.readouterr().err


def test_an_interruption_before_that_is_told(monkeypatch, capsys):
    def evaluate(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("activesam_ros.cli.evaluate._require_there", lambda *_: None)
    monkeypatch.setattr(runner, "evaluate", evaluate)
    assert main(["street"]) == 130
    assert capsys.readouterr().err.startswith("activesam-evaluate: interrupted")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["{tmp}/nowhere"], "there is no recording .*nowhere"),
        (["{bag}", "--image", "/front"], r"no topic /front; it has /camera/image \(sensor_msgs/msg/Image\)"),
        (["{bag}", "--labels", "/truth"], r"no topic /truth; it has .*/ground_truth/labels \(sensor"),
        (["{bag}", "--labels", TRUTH_TOPIC, "--classes", "{tmp}/no.yaml"], "neither a file nor a topic"),
        (["{bag}", "--labels", TRUTH_TOPIC, "--map", "{tmp}/no.yaml"], "no.yaml cannot be read"),
        (["{bag}", "--labels", TRUTH_TOPIC, "--model", "{tmp}/model"], "model folder .*model does not exist"),
        (["{bag}", "--labels", TRUTH_TOPIC, "--vocabulary", "dragon; unicorn"], "dragon|no class"),
        (["{bag}", "--vocabulary", "nothing"], "nothing"),
        (["{bag}", "--compare", "magic"], "no method 'magic'; expected one of active, paper"),
        (["{bag}", "--corrupt", "rain"], "no corruption 'rain'; expected one of gaussian_noise"),
        (["{bag}", "--param", "speed=2"], "no parameter 'speed'"),
        (["{bag}", "--params", "{tmp}/no.yaml"], "parameter file .*no.yaml cannot be read"),
        (["--report-only", "{tmp}"], "no folder of an evaluation"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(bag, tmp_path, capsys, arguments, said):
    given = [text.format(bag=bag, tmp=tmp_path) for text in arguments]
    out = [] if "--report-only" in given else ["--out", str(tmp_path / "out")]
    # Of a recording with a truth that is not named as one, the pictures have to be.
    image = [] if {"--labels", "--image"} & set(given) else ["--image", "/camera/image"]
    assert main([*given, *out, *image]) == 2
    *_, line = capsys.readouterr().err.splitlines()
    assert line.startswith("activesam-evaluate: ")
    with pytest.raises(EvaluationError, match=said):
        raise EvaluationError(line)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--every", "0"], "'0'; expected a whole number from 1"),
        (["--every", "few"], "'few'; expected a whole number from 1"),
        (["--tolerance", "-1"], "'-1'; expected a number from 0"),
        (["--tolerance", "nan"], "'nan'; expected a number from 0"),
        (["--end", "inf"], "'inf'; expected a number from 0"),
        (["--severity", "x"], "'x'; expected whole numbers"),
        (["--seed", "-1"], "'-1'; expected a whole number from 0"),
        (["--threads", "0"], "'0'; expected a whole number from 1"),
        (["--device", "tpu"], "'tpu'; expected auto, cpu, cuda or cuda:N"),
        (["--dtype", "half"], "invalid choice: 'half'"),
        (["--quick"], "unrecognized arguments: --quick"),
    ],
)
def test_usage(asked, capsys, arguments, said):
    with pytest.raises(SystemExit) as ended:
        main(["street", *arguments])
    assert ended.value.code == 2 and not asked
    assert said in capsys.readouterr().err


def test_help_names_every_method_and_needs_no_model(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    # Lines also end within words that have a hyphen.
    text = " ".join(capsys.readouterr().out.split()).replace("- ", "-")
    assert all(name in text for name in METHODS if name != "active")
    assert "gaussian_noise,fog,jpeg_compression" in text and {"gaussian_noise", "fog"} <= set(CORRUPTIONS)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["{bag}", "--model", "/no/model"], "the model folder /no/model does not exist"),
        (["{bag}", "--model", "toytown", "--device", "gpu"], "'gpu'; expected auto"),
        (["/no/bag", "--model", "toytown"], "there is no recording /no/bag"),
        (["{bag}", "--model", "toytown", "--image", "/front"], "no topic /front"),
        (["{bag}", "--param", "model=/no/model"], "the model folder /no/model does not exist"),
        (["{bag}", "--param", "device=gpu"], "device is 'gpu'; expected auto"),
    ],
)
def test_what_is_missing_is_said_before_torch_is_imported(bag, arguments, said):
    program = "import sys\nfrom activesam_ros.cli.evaluate import main\ntry:\n    code = main(sys.argv[1:])\n"
    program += "except SystemExit as error:\n    code = error.code\nassert 'torch' not in sys.modules\nsys.exit(code)"
    given = [one.format(bag=bag) for one in arguments]
    ended = subprocess.run(
        [sys.executable, "-c", program, *given], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 2 and said in ended.stderr and "Traceback" not in ended.stderr


def test_it_works_without_ros(bag, tmp_path):
    out = tmp_path / "out"
    arguments = [
        str(bag),
        "--out",
        str(out),
        "--labels",
        TRUTH_TOPIC,
        "--model",
        "toytown",
        "--vocabulary",
        WORDS,
    ]
    cheap = ["--param", "full_resolution=128", "--param", "preview_resolution=96", "--param", "max_active=2"]
    command = [sys.executable, "-c", WITHOUT_ROS]
    done = subprocess.run([*command, *arguments, *cheap, "--threads", "1"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"report: {out / 'report.html'}" in done.stdout
    assert "evaluating: 100%" in done.stderr
    results = json.loads((out / "results.json").read_text())
    (summary,) = results["summaries"]
    assert (summary["frames"], summary["scored"], summary["failed"]) == (2, 2, 0)
    assert 0 < summary["truth"]["mean_iou"] <= 1
    assert results["classes"] == ["road", "car", "sky", "person", "building"]
    page = (out / "report.html").read_bytes()
    assert b"<html" in page and b"http" not in page.split(b"<body")[0]

    # The page once more, from what the folder holds.
    (out / "report.html").unlink()
    assert main(["--report-only", str(out)]) == 0
    assert json.loads((out / "results.json").read_text()) == results
    assert abs(len((out / "report.html").read_bytes()) - len(page)) < 0.01 * len(page)
    labels = sorted((out / "predictions" / "active").iterdir())
    assert [path.name for path in labels] == ["000000.png", "000001.png"]
