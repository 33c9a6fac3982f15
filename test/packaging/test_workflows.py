"""The files by which others build and check the package: what they name is there."""

from __future__ import annotations

import re
import tomllib
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
import yaml
from devsetup import distributions

REPOSITORY = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((REPOSITORY / ".github" / "workflows").glob("*.yml"))
DOCKERFILE = (REPOSITORY / "Dockerfile").read_text()


def targets() -> set[str]:
    """The targets of the Makefile."""
    return set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.M))


def jobs(path: Path) -> dict[str, dict]:
    content = yaml.safe_load(path.read_text())
    # YAML 1.1 reads the key `on` as true.
    assert {"name", True, "jobs"} <= set(content)
    return content["jobs"]


def commands(path: Path) -> list[str]:
    """The shell lines of a workflow, continued lines joined."""
    runs = [step["run"] for job in jobs(path).values() for step in job["steps"] if "run" in step]
    return [line.strip() for run in runs for line in run.replace("\\\n", " ").splitlines()]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_names_only_what_there_is(path: Path) -> None:
    for name, job in jobs(path).items():
        assert job["runs-on"] and job["steps"], name
        for step in job["steps"]:
            assert ("run" in step) != ("uses" in step), f"{name}: {step}"
    lines = commands(path)
    for line in lines:
        for target in re.findall(r"\bmake ([a-z-]+)", line):
            assert target in targets(), line
        for word in re.findall(r"(?:bash|source) ([\w./-]+)", line):
            assert word.startswith("/opt/ros/") or (REPOSITORY / word).is_file(), line


def test_every_distribution_is_built_and_tested_with_colcon() -> None:
    (path,) = WORKFLOWS
    job = jobs(path)["ros"]
    assert set(job["strategy"]["matrix"]["distribution"]) == set(distributions.DISTRIBUTIONS)
    assert job["container"]["image"] == "ros:${{ matrix.distribution }}-ros-base"
    lines = "\n".join(commands(path))
    for wanted in (
        "rosdep install",
        "make setup",
        " build --base-paths",
        " test --base-paths",
        "colcon test-result",
    ):
        assert wanted in lines
    assert "ament_add_pytest_test(tests test" in (REPOSITORY / "CMakeLists.txt").read_text()


def test_the_pages_name_every_distribution() -> None:
    assert distributions.table() in (REPOSITORY / "docs" / "setup.md").read_text()
    for name in ("README.md", "docs/setup.md", "CONTRIBUTING.md"):
        page = " ".join((REPOSITORY / name).read_text().split())
        assert distributions.listed() in page or distributions.listed(last="and") in page, name


def test_what_a_clean_clone_has_to_pass_is_both_distributions() -> None:
    lines = (REPOSITORY / ".ci" / "run").read_text().splitlines()
    commands = [line for line in lines if "make" in line and not line.startswith("#")]
    assert commands[0] == "make --no-print-directory test"
    others = [name for name in distributions.AS_WHEELS if name != distributions.DEFAULT]
    assert [re.search(r"DISTRO=(\w+)", line)[1] for line in commands[1:]] == others
    assert all("-m live" in line for line in commands[1:])


def test_the_library_is_tested_with_every_python_that_set_up_takes() -> None:
    pythons = jobs(WORKFLOWS[0])["python"]["strategy"]["matrix"]["python"]
    assert pythons == [f"{major}.{minor}" for major, minor in distributions.WHEEL_PYTHONS]


def test_the_image_copies_and_runs_what_there_is() -> None:
    lines = DOCKERFILE.replace("\\\n", " ").splitlines()
    copied = [word for line in lines if line.startswith("COPY ") for word in line.split()[1:-1]]
    assert copied and all((REPOSITORY / name).exists() for name in copied)
    assert re.search(rf"^FROM ros:{distributions.DEFAULT}-", DOCKERFILE, re.M)
    for target in re.findall(r"\bmake ([a-z-]+)", DOCKERFILE):
        assert target in targets()
    assert "source /opt/activesam_ros/env.sh" in DOCKERFILE and "WORKDIR /opt/activesam_ros" in DOCKERFILE


def test_the_hooks_are_those_of_make_lint_in_the_versions_of_the_requirements() -> None:
    config = yaml.safe_load((REPOSITORY / ".pre-commit-config.yaml").read_text())
    hooks = [hook for repo in config["repos"] for hook in repo["hooks"]]
    recipe = re.search(r"^lint:.*\n\t(.*)$", (REPOSITORY / "Makefile").read_text(), re.M)[1]
    assert len(hooks) == recipe.count("&&") + 1
    for hook in hooks:
        assert hook["entry"].replace(" --force-exclude", "") in recipe
        for profile in ("ros", "wheels"):
            pinned = (REPOSITORY / "requirements" / f"{profile}.constraints.txt").read_text().split()
            assert hook["additional_dependencies"][0] in pinned


def test_mypy_is_strict_on_the_whole_package() -> None:
    config = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["mypy"]
    assert config["strict"] and config["files"] == ["activesam_ros"] and "exclude" not in config


def test_package_xml_names_every_ros_package_that_is_imported() -> None:
    package = ElementTree.parse(REPOSITORY / "package.xml").getroot()
    declared = {entry.text for entry in package if entry.tag.endswith("depend")}
    known = re.compile(
        r"^\s*(?:from|import) (rclpy|cv_bridge|launch|launch_ros|ament_index_python|builtin_interfaces|rcl_interfaces|"
        r"[a-z]+_msgs|[a-z]+_srvs|rosbag2_py|tf2_ros)\b",
        re.M,
    )
    imported = set()
    for folder in ("activesam_ros", "launch", "scripts"):
        for path in (REPOSITORY / folder).rglob("*"):
            if path.suffix in (".py", "") and path.is_file():
                imported |= set(known.findall(path.read_text()))
    assert "sensor_msgs" in imported
    assert imported <= declared, f"package.xml lacks {sorted(imported - declared)}"


def test_what_has_no_rosdep_key_is_named_where_set_up_installs_it() -> None:
    text = (REPOSITORY / "package.xml").read_text()
    requirements = (REPOSITORY / "requirements" / "library.txt").read_text().split()
    comment = " ".join(re.search(r"<!-- (Without a rosdep key.*?)-->", text, re.S)[1].split())
    listed = re.search(r"usable version: ([^.]*)\.", comment)[1].split(", ")
    assert "torch" in listed and set(listed) <= set(requirements)
