"""The documentation: links lead somewhere, and every command is one that is there, or needs what is said here."""

from __future__ import annotations

import importlib.util
import re
import shlex
import textwrap
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from PIL import Image

from activesam_ros.cli import main
from activesam_ros.ros.parameters import DEFAULTS
from activesam_ros.toytown.world import World

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
NAMES = [str(path.relative_to(ROOT)) for path in PAGES]

MODULES = {f"activesam-{name.replace('_', '-')}": module for name, module in main.COMMANDS.items()}
EXECUTABLES = {**{name: name for name in main.COMMANDS}, **main.ALIASES}

# What cannot be run by a test, and what it needs.
NEEDS = {
    r"hf (auth login|download facebook/sam3)": "a network and SAM 3's licence",
    r"ros2 security ": "a ROS installation with SROS 2",
    r"ros2 run rqt_\w+ ": "a ROS installation with rqt, and a screen",
    r"ros2 (bag|multicast|daemon|node|service|action|component|plugin) ": "a ROS installation",
    r"ros2 (lifecycle|topic|param|interface|launch|run) ": "a ROS installation; its names are checked here",
    r"colcon ": "a colcon workspace",
    r"docker ": "docker, and a GPU",
    r"pre-commit install$": "pre-commit and a clone of one's own",
    r"pip (install|uninstall) ": "a network, or changes an environment",
    r"sudo ": "root",
    r"export [A-Z_0-9]+=": "nothing: it sets a variable",
    r"ruff check \.$": "nothing: the workflow runs it",
    r"bash \.ci/run$": "nothing: it is the whole of the tests",
}


@dataclass(frozen=True)
class Command:
    """One command of a page, continued lines joined and comments left out."""

    page: str
    text: str

    @property
    def words(self) -> list[str]:
        return shlex.split(self.text)


def is_command(line: str) -> bool:
    programs = "make|source|activesam[a-z-]*|ros2|python3?|nice|hf|colcon|docker|pre-commit|pip|sudo|export|ruff|bash"
    return bool(re.match(rf"({programs}) \S", line))


def commands(page: Path) -> list[Command]:
    """The commands in the indented blocks of a page."""
    text = page.read_text().replace("\\\n", " ")
    found = []
    block, before = False, ""
    for line in text.splitlines():
        indented = re.match(r" {4,}(?=\S)", line)
        # A line of a list's item may be indented as well, but follows text.
        block = bool(indented) and (block or before == "")
        before = line.strip()
        if block:
            line = re.sub(r"\s+#\s.*$", "", line.strip())
            found += [
                Command(page.name, part.strip()) for part in line.split(" && ") if is_command(part.strip())
            ]
    return found


ALL = [command for page in PAGES for command in commands(page)]
IDS = [f"{command.page}: {command.text[:60]}" for command in ALL]


@cache
def help_of(program: str, *subcommands: str) -> str:
    """What `program … --help` prints."""
    import contextlib
    import io

    out = io.StringIO()
    with contextlib.redirect_stdout(out), pytest.raises(SystemExit) as ended:
        importlib.import_module(MODULES[program]).main([*subcommands, "--help"])
    assert ended.value.code == 0
    return out.getvalue()


def check_program(program: str, words: list[str]) -> None:
    """Subcommands and options are those of the program's help."""
    first = help_of(program)
    divided = re.search(r" (COMMAND|NAME) \.\.\.$", first, re.M)
    offered = re.findall(r"^    ([a-z-]+)(?: |$)", first, re.M) if divided else []
    subcommands = words[:1] if offered else []
    assert not words or set(subcommands) <= set(offered), f"{program} has no subcommand {words[0]}"
    text = help_of(program, *subcommands)
    for word in words:
        option = re.match(r"--?[a-z][a-z-]*", word)
        if option and word != "--ros-args":
            assert re.search(rf"(?<![\w-]){re.escape(option[0])}(?![\w-])", text), (
                f"{program} has no {option[0]}"
            )


def check_node(words: list[str]) -> None:
    """Parameters of the node are declared."""
    for value in re.findall(r"(?:^| )([a-z_]+):=", " ".join(words)):
        if value != "image":
            assert value in DEFAULTS, f"there is no parameter {value}"


def check_launch(words: list[str]) -> None:
    path = ROOT / "launch" / words[0]
    assert path.is_file(), f"there is no {words[0]}"
    texts = path.read_text() + "".join(
        one.read_text() for one in (ROOT / "activesam_ros" / "launching").glob("*.py")
    )
    for argument in re.findall(r"(?:^| )([a-z_]+):=", " ".join(words[1:])):
        assert f'"{argument}"' in texts, f"{words[0]} has no argument {argument}"


def check_ros2(words: list[str]) -> None:
    verb = words[:2]
    if verb == ["launch", "activesam_ros"]:
        check_launch(words[2:])
    elif verb == ["run", "activesam_ros"]:
        name, rest = words[2], words[3:]
        if name in EXECUTABLES:
            check_program(f"activesam-{EXECUTABLES[name].replace('_', '-')}", rest)
        else:
            assert name in main.NODES
            if name == "activesam":
                check_node(rest)
    elif verb in (["param", "set"], ["param", "describe"], ["param", "get"]) and words[2] == "/activesam":
        assert words[3] in DEFAULTS
    elif verb == ["lifecycle", "set"]:
        assert words[3] in {"configure", "activate", "deactivate", "cleanup", "shutdown"}
    elif verb[0] == "interface":
        package, kind, name = words[2].split("/")
        assert package != "activesam_ros" or (ROOT / kind / f"{name}.{kind}").is_file()
    elif verb[0] == "topic":
        page = (ROOT / "docs" / "interface.md").read_text()
        for word in words:
            if word.startswith("/activesam/"):
                assert f"`~/{word.removeprefix('/activesam/')}`" in page, f"there is no topic {word}"


@pytest.mark.parametrize("command", ALL, ids=IDS)
def test_a_command_is_one_that_there_is(command: Command) -> None:
    words = command.words
    if words[0] == "nice":
        words = words[3:]
    program, rest = words[0], words[1:]
    if program == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M)
        assert rest[0] in targets
    elif program == "source":
        assert rest[0].startswith("/opt/ros/") or (ROOT / rest[0]).is_file()
    elif program == "activesam":
        check_node(rest)
    elif program.removeprefix("activesam-").replace("-", "_") in main.NODES:
        assert rest[:1] in ([], ["--ros-args"])  # A node's help is that of ROS.
    elif program in MODULES:
        check_program(program, rest)
    elif program.startswith("python") and rest[0] == "-c":
        compile(rest[1], "docs", "exec")
    elif program.startswith("python") and rest[0] == "-m":
        by_module = {module.removesuffix(".__main__"): name for name, module in MODULES.items()}
        if rest[1] in by_module:
            check_program(by_module[rest[1]], rest[2:])
        else:
            assert importlib.util.find_spec(rest[1]), f"there is no module {rest[1]}"
    elif program.startswith("python"):
        assert (ROOT / rest[0]).is_file()
    else:
        assert any(re.match(pattern, command.text) for pattern in NEEDS), (
            f"{command.page} has a command that nothing checks: {command.text!r}; name in NEEDS what it needs"
        )
        if program == "ros2":
            check_ros2(rest)


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_commands_stand_where_they_are_looked_for(page: Path) -> None:
    # In indented blocks; between fences there are only diagrams.
    assert set(re.findall(r"^ *```(\w*)$", page.read_text(), re.M)) <= {"", "mermaid"}


def test_commands_are_found() -> None:
    texts = {command.text for command in ALL}
    assert "make setup" in texts and len(ALL) > 60
    assert any(
        text.startswith("ros2 launch activesam_ros camera.launch.py") and "model:=" in text for text in texts
    )


def headings(page: Path) -> set[str]:
    """Anchors of a page, as GitHub makes them."""
    plain = re.sub(r"```.*?```", "", page.read_text(), flags=re.S)
    titles = re.findall(r"^#+ (.+)$", plain, re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.S)
    text = re.sub(r"^ {4}.*$", "", text, flags=re.M)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?:", target):
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        assert path.exists(), f"{page.name} links to {target}, which is not there"
        if anchor and path.suffix == ".md":
            assert anchor in headings(path), f"{page.name}: {path.name} has no heading #{anchor}"


def test_every_page_is_in_the_readme() -> None:
    linked = set(re.findall(r"\]\((docs/[a-z0-9-]+\.md|[A-Z]+\.md)", (ROOT / "README.md").read_text()))
    assert set(NAMES) - {"README.md"} <= linked


@pytest.mark.parametrize(
    "subject",
    [
        "no labels at all",
        "large images",
        "numpy",
        "ros2 run",
        "Jetson",
        "GPU",
        "slow",
        "wrong or missing classes",
        "no network|waits at the start",
    ],
)
def test_an_answer_is_two_clicks_away(subject: str) -> None:
    page = ROOT / "docs" / "troubleshooting.md"
    assert "(docs/troubleshooting.md)" in (ROOT / "README.md").read_text()
    table = re.search(r"^\| what you see .*?\n\n", page.read_text(), re.M | re.S)[0]
    rows = [row for row in table.splitlines() if re.search(subject, row, re.I)]
    assert rows and all("](#" in row for row in rows)


@pytest.mark.parametrize(
    ("page", "heading"), [("README.md", "The library"), ("docs/profiles.md", "Guarantees")], ids=str
)
def test_a_library_example_runs(
    page: str, heading: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    section = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", (ROOT / page).read_text(), re.M | re.S)[1]
    code = re.search(r"(?:^    .*\n|^\n)*^    .*import ActiveSegmenter\n(?:^    .*\n|^\n)*", section, re.M)[0]
    monkeypatch.chdir(tmp_path)
    rgb = World(3).render(2.0).rgb
    Image.fromarray(rgb).save("street.png")
    names = {"video": [(rgb, 0.0), (rgb, 0.1)], "frames": [(rgb, 0.0), (rgb, 0.1)]}
    exec(textwrap.dedent(code), names)
    assert names["result"].labels.shape == rgb.shape[:2]


def test_the_architecture_names_what_there_is() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    package = ROOT / "activesam_ros"
    code = "\n".join(path.read_text() for path in package.rglob("*.py"))
    classes = {*re.findall(r"`([A-Z]\w+)[`.]", text), *re.findall(r'\["?([A-Z]\w+)<br/>', text)}
    assert len(classes) > 8
    assert [name for name in classes if not re.search(rf"^class {name}\b", code, re.M)] == []
    packages = re.search(r"^\| package .*?\n\n", text, re.M | re.S)[0]
    named = set(re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| (`.*?) \|", packages, re.M))))
    here = {
        path.stem for path in package.iterdir() if path.name[0] not in "_." and path.suffix in ("", ".py")
    }
    assert named == here - {"msg", "srv"}
