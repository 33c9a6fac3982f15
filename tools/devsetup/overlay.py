"""The clone's own colcon build: its messages, and links to its sources, in `.build/` of the clone."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from devsetup.errors import SetupError
from devsetup.profiles import Profile
from devsetup.progress import Progress
from devsetup.virtualenv import VenvPlan, wheel_environ

PACKAGE = "activesam_ros"
BUILD_FOLDER = ".build"
STAMP = "overlay.json"
ENVIRONMENT = "environment.sh"

# Compiled or read by CMake: a change of contents matters.
_COMPILED = ("msg", "srv", "package.xml", "CMakeLists.txt")
# Linked into the install folder: only a new or removed file matters.
_LINKED = (PACKAGE, "launch", "config", "scripts")


def prefix(root: Path) -> Path:
    """The install prefix of the clone's package."""
    return root / BUILD_FOLDER / "install" / PACKAGE


def overlay_state(root: Path, plan: VenvPlan) -> dict[str, str]:
    """What the overlay was built from.

    `place` decides whether a build folder can be used at all, `inputs` whether it is up to date.
    """
    inputs = hashlib.sha256()
    for path in _files(root, _COMPILED):
        inputs.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes() + b"\0")
    for path in _files(root, _LINKED):
        inputs.update(f"{path.relative_to(root)}\0".encode())
    place = f"{root} {plan.path} {plan.key}"
    return {"place": place, "inputs": inputs.hexdigest()}


def _files(root: Path, names: tuple[str, ...]) -> Iterator[Path]:
    for name in names:
        top = root / name
        for path in sorted(top.rglob("*")) if top.is_dir() else [top]:
            if path.is_file() and "__pycache__" not in path.parts:
                yield path


def is_ready(root: Path, state: Mapping[str, str]) -> bool:
    """Whether the overlay in the clone has this state."""
    return _recorded(root) == dict(state) and (prefix(root) / "share" / PACKAGE / "package.xml").exists()


def _recorded(root: Path) -> dict[str, str]:
    try:
        return json.loads((root / BUILD_FOLDER / STAMP).read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return {}


def build(
    root: Path,
    plan: VenvPlan,
    profile: Profile,
    environ: Mapping[str, str],
    state: Mapping[str, str],
    progress: Progress,
) -> None:
    """Build the package with colcon; from zero if the clone or the environment changed."""
    folder = root / BUILD_FOLDER
    recorded = _recorded(root)
    (folder / STAMP).unlink(missing_ok=True)
    if recorded.get("place") != state["place"]:
        # Until this is done `source env.sh` shall say that set-up has to run.
        (folder / ENVIRONMENT).unlink(missing_ok=True)
        for name in ("build", "install", "log"):
            shutil.rmtree(folder / name, ignore_errors=True)
    if profile.ros is None:
        env = wheel_environ(plan, environ)
    else:
        # The distribution's colcon, but the environment's Python first.
        env = {**environ, "PATH": f"{plan.path / 'bin'}{os.pathsep}{environ['PATH']}"}
    command: list[str | Path] = ["colcon", "--log-base", folder / "log", "build", "--base-paths", root]
    command += ["--packages-select", PACKAGE, "--symlink-install"]
    command += ["--build-base", folder / "build", "--install-base", folder / "install"]
    command += ["--cmake-args", f"-DPython3_EXECUTABLE={plan.interpreter}", "-DBUILD_TESTING=OFF"]
    progress.run(command, env, "building the messages with colcon", cwd=root)
    # colcon passes over a package whose manifest it cannot read, with a warning, and succeeds.
    if not (folder / "log" / "latest_build" / PACKAGE).is_dir():
        raise SetupError(
            f"colcon did not build {PACKAGE}; it expected a valid package.xml in {root}, so see what it says there: "
            f"{progress.log}"
        )


def finish(root: Path, state: Mapping[str, str]) -> None:
    """Record that the overlay of this state is complete."""
    text = json.dumps(dict(state), indent=2) + "\n"
    (root / BUILD_FOLDER / STAMP).write_text(text, encoding="utf-8")
