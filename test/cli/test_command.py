"""What all commands share: names, help, messages, exit codes, and how they end."""

import configparser
import errno
import json
import os
import re
import signal
import subprocess
import sys
from argparse import ArgumentParser
from pathlib import Path

import pytest
from PIL import Image

from activesam_ros.cli import command, main
from activesam_ros.errors import ActiveSamError

ROOT = Path(__file__).resolve().parents[2]
INSTALLED = sorted({**main.COMMANDS, **main.NODES})
ASCII = {**os.environ, "LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONPATH": str(ROOT)}


def on_the_path(name: str) -> str:
    return name if name == "activesam" else f"activesam-{name.replace('_', '-')}"


@pytest.fixture
def program(tmp_path):
    """Makes the program of a command, as it is installed."""

    def make(name: str) -> str:
        path = tmp_path / name
        path.symlink_to(ROOT / "scripts" / "activesam")
        return str(path)

    return make


def start(*words, **options) -> subprocess.Popen:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": ASCII, **options}
    # Tests that run in the background of a shell inherit that SIGINT is ignored.
    return subprocess.Popen(
        [sys.executable, *map(str, words)], text=True, preexec_fn=_take_interrupts, **pipes
    )


def _take_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def ended(process) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=120)
    assert "Traceback" not in err and "Exception ignored" not in err, err
    return process.returncode, out, err


def test_the_installed_names_are_those_of_the_dispatcher():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    scripts = config["options.entry_points"]["console_scripts"].split("\n")[1:]
    assert dict(line.split(" = ") for line in scripts) == {
        on_the_path(name): "activesam_ros.cli.main:main" for name in INSTALLED
    }
    listed = re.search(r"foreach\(command(.*?)\n\)", (ROOT / "CMakeLists.txt").read_text(), re.S)[1]
    names = re.sub("#.*", "", listed).split()
    assert sorted(names) == sorted([*INSTALLED, *main.ALIASES])


@pytest.mark.parametrize("name", [*map(on_the_path, INSTALLED), *main.ALIASES])
def test_help_starts_nothing_and_can_be_printed_anywhere(name):
    code = (
        "import atexit, sys\n"
        "atexit.register(lambda: print('slow:', {'torch', 'rclpy', 'transformers'} & set(sys.modules)))\n"
        "from activesam_ros.cli.main import main\n"
        f"sys.argv = [{name!r}, '--help']\n"
        "sys.exit(main())"
    )
    code, out, err = ended(start("-c", code))
    assert (code, err) == (0, "")
    assert out.startswith("usage: activesam")
    assert out.endswith("slow: set()\n")


def test_a_node_refuses_what_is_not_for_ros(program):
    code, out, err = ended(start(program("activesam"), "--model", "toytown", "--ros-args"))
    assert (code, out) == (2, "")
    assert "--ros-args [-p NAME:=VALUE]" in err and "unrecognized arguments: --model toytown" in err
    assert ended(start(program("activesam-replay"), "--version"))[0] == 0


def test_an_unknown_name_is_answered_with_the_known_ones(program):
    code, _, err = ended(start(program("activesam-paint")))
    assert code == 2 and err.startswith(
        "activesam-paint: there is no such command; expected one of activesam"
    )


def test_a_missing_module_is_named(program, tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['tqdm'] = None\n")
    environ = {**ASCII, "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    words = ("--model", "toytown", "--vocabulary", "road; sky")
    code, out, err = ended(start(program("activesam-cache"), *words, env=environ))
    assert (code, out) == (2, "")
    assert err.startswith("activesam-cache: the Python module 'tqdm' is missing; run `make setup`")


@pytest.mark.parametrize("module", ["numpy", "torch._C", "torch.nn", "transformers"])
def test_ctrl_c_ends_without_a_traceback_also_amid_imports(program, tmp_path, module):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    words = ("--words", "road", "--model", "toytown", "--out", tmp_path / "out")
    # Python tells each import on stderr once it is done.
    process = start("-X", "importtime", program("activesam-segment"), tmp_path / "a.png", *words)
    for line in process.stderr:
        if line.split("|")[-1].strip() == module:
            process.send_signal(signal.SIGINT)
            break
    rest = [line for line in ended(process)[2].splitlines() if not line.startswith("import time:")]
    assert (process.returncode, len(rest)) == (130, 1) and rest[0].startswith(
        "activesam-segment: interrupted"
    )


def test_a_reader_that_leaves_early_is_no_failure(program):
    process = start(program("activesam-vocabulary"), "show", "coco_stuff")
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait() == 0


@pytest.mark.parametrize("arguments", [["list"], ["--help"]])
def test_an_output_that_takes_no_more_is_named(program, arguments):
    with Path("/dev/full").open("w") as full:
        process = start(program("activesam-vocabulary"), *arguments, stdout=full)
        _, err = process.communicate(timeout=60)
    assert "Traceback" not in err
    if arguments == ["list"]:
        assert process.returncode == 2
        assert err.startswith("activesam-vocabulary: the standard output cannot be written: no space left")


def finish(error: BaseException | None, *arguments: str) -> int:
    """Run a command whose work ends like this."""
    parser = ArgumentParser(prog="activesam-try")
    command.add_json(parser)

    def work(given):
        if error:
            raise error
        return command.UNFIT

    return command.run(parser, work, arguments, interrupted="stopped; the rest is kept")


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (None, 1, ""),
        (KeyboardInterrupt(), 130, "activesam-try: stopped; the rest is kept\n"),
        (ActiveSamError("no such model"), 2, "activesam-try: no such model\n"),
        (FileNotFoundError(errno.ENOENT, "No such file", "a.txt"), 2, "activesam-try: a.txt: no such file\n"),
        (
            OSError(errno.ENOSPC, "No space left on device"),
            2,
            "activesam-try: {json} cannot be written: no space left on the device; free some and run the command "
            "again\n",
        ),
    ],
)
def test_every_ending_has_its_code_and_one_sentence(tmp_path, capsys, error, code, said):
    file = tmp_path / "figures.json"
    assert finish(error, "--json", str(file)) == code
    assert capsys.readouterr() == ("", said.format(json=file))


def test_a_bug_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        finish(ZeroDivisionError())


@pytest.mark.parametrize("file", ["/nowhere/figures.json", "/"])
def test_a_file_that_cannot_be_written_is_refused_before_any_work(capsys, file):
    with pytest.raises(SystemExit) as stop:
        finish(AssertionError(), "--json", file)
    assert stop.value.code == 2 and "argument --json" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("kind", "good", "value", "bad"),
    [
        (command.whole_number(1), "3", 3, ["0", "-1", "few", "1.5", ""]),
        (command.number(0, 1), "0.5", 0.5, ["-0.1", "1.1", "nan", "inf", "x"]),
        (command.whole_numbers, "1, 3", (1, 3), ["1,x"]),
        (command.image_size, "640x480", (640, 480), ["640", "640x", "8x8", "640x480x3"]),
    ],
)
def test_types_of_arguments(kind, good, value, bad):
    assert kind(good) == value
    for text in bad:
        with pytest.raises(command.argparse.ArgumentTypeError, match=re.escape(f"{text!r}; expected")):
            kind(text)


def test_other_characters_are_printed_whatever_the_terminal_takes(program, tmp_path):
    file = tmp_path / "wörter.yaml"
    file.write_text("classes: [straße, 空]\n", encoding="utf-8")
    process = start(program("activesam-vocabulary"), "show", file, "--json")
    code, out, _ = ended(process)
    assert code == 0 and [one["name"] for one in json.loads(out)["classes"]] == ["straße", "空"]
