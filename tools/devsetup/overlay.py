"""What is the clone's own, in `.build/`: the commands, and for each distribution a colcon build and code for `env.sh`.

`env.sh` reads `environment.sh`, which names the folder of the distribution that was set up last.
"""

import configparser
import hashlib
import json
import os
import shlex
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from devsetup.machine import Profile
from devsetup.progress import Progress, SetupError
from devsetup.virtualenv import VenvPlan, library_folders, wheel_environ

PACKAGE = "activesam_ros"
BUILD_FOLDER = ".build"
STAMP = "overlay.json"
ENVIRONMENT = "environment.sh"

_MESSAGES = "import rclpy; from activesam_ros.msg import ActiveClass, ActiveClasses; ActiveClasses()"

# Compiled, copied or read by CMake: a change of contents matters.
_COMPILED = ("msg", "srv", "scripts", "package.xml", "CMakeLists.txt")
# Linked into the install folder: only a new or removed file matters.
_LINKED = (PACKAGE, "launch", "config")


@dataclass(frozen=True)
class Overlay:
    """The build of the clone at `root` for one kind of machine and distribution, in a folder of its own."""

    root: Path
    profile: Profile

    @property
    def folder(self) -> Path:
        """Where the build and its record lie."""
        return self.root / BUILD_FOLDER / f"{self.profile.name}-{self.profile.distro}"

    @property
    def prefix(self) -> Path:
        """The install prefix of the clone's package."""
        return self.folder / "install" / PACKAGE

    def state(self, plan: VenvPlan) -> dict[str, str]:
        """Return what the overlay is to be built from.

        `place` decides whether a build folder can be used at all, `inputs` whether it is up to date.
        """
        inputs = hashlib.sha256()
        for path in _files(self.root, _COMPILED):
            inputs.update(f"{path.relative_to(self.root)}\0".encode() + path.read_bytes() + b"\0")
        for path in _files(self.root, _LINKED):
            inputs.update(f"{path.relative_to(self.root)}\0".encode())
        return {"place": f"{self.root} {plan.path} {plan.key}", "inputs": inputs.hexdigest()}

    def is_ready(self, state: Mapping[str, str]) -> bool:
        """Whether the overlay in the clone has this state."""
        return self._recorded() == dict(state) and (self.prefix / "share" / PACKAGE / "package.xml").exists()

    def _recorded(self) -> dict[str, str]:
        try:
            return json.loads((self.folder / STAMP).read_text(encoding="utf-8"))
        except (FileNotFoundError, json.JSONDecodeError):
            return {}

    def build(
        self, plan: VenvPlan, environ: Mapping[str, str], state: Mapping[str, str], progress: Progress
    ) -> None:
        """Build the package with colcon; from zero if the clone or the environment changed."""
        folder = self.folder
        recorded = self._recorded()
        (folder / STAMP).unlink(missing_ok=True)
        if recorded.get("place") != state["place"]:
            # Until this is done `source env.sh` shall say that set-up has to run.
            (folder / ENVIRONMENT).unlink(missing_ok=True)
            for name in ("build", "install", "log"):
                shutil.rmtree(folder / name, ignore_errors=True)
        if self.profile.ros is None:
            env = wheel_environ(plan, environ)
        else:
            # The distribution's colcon, but the environment's Python first.
            env = {**environ, "PATH": f"{plan.path / 'bin'}{os.pathsep}{environ['PATH']}"}
        command: list[str | Path] = ["colcon", "--log-base", folder / "log", "build"]
        command += ["--base-paths", self.root, "--packages-select", PACKAGE, "--symlink-install"]
        command += ["--build-base", folder / "build", "--install-base", folder / "install"]
        command += ["--cmake-args", f"-DPython3_EXECUTABLE={plan.interpreter}", "-DBUILD_TESTING=OFF"]
        progress.run(command, env, "building the messages with colcon", cwd=self.root)
        # colcon passes over a package whose manifest it cannot read, with a warning, and succeeds.
        if not (folder / "log" / "latest_build" / PACKAGE).is_dir():
            raise SetupError(
                f"colcon did not build {PACKAGE}; it expected a valid package.xml in {self.root}, so see what it says "
                f"there: {progress.log}"
            )

    def finish(self, state: Mapping[str, str]) -> None:
        """Record that the overlay of this state is complete."""
        text = json.dumps(dict(state), indent=2) + "\n"
        (self.folder / STAMP).write_text(text, encoding="utf-8")

    def environment_code(self, plan: VenvPlan, site: str) -> str:
        """Return the shell code.

        `site` is the install folder of Python packages below a prefix, such as `lib/python3.11/site-packages`.
        """
        build = self.root / BUILD_FOLDER
        lines = [f"ACTIVESAM_PROFILE={self.profile.name}"]

        def quote(path: object) -> str:
            return shlex.quote(str(path))

        if self.profile.ros is not None:
            lines.append(f"_activesam_source_ros {quote(self.profile.ros.prefix)} || return 1")
        else:
            lines.append("_activesam_refuse_ros || return 1")
        lines.append(f"_activesam_activate {quote(plan.path)} || return 1")
        paths: list[tuple[str, list[Path]]] = [
            ("PATH", [build / "bin"]),
            ("PYTHONPATH", [build / "python", self.prefix / site]),
            ("LD_LIBRARY_PATH", [self.prefix / "lib"]),
            ("AMENT_PREFIX_PATH", [self.prefix]),
            ("CMAKE_PREFIX_PATH", [self.prefix]),
        ]
        if self.profile.ros is None:
            paths[2][1].extend(library_folders(plan))
            paths[3][1].append(plan.path)
            paths[4][1].append(plan.path)
        for variable, folders in paths:
            # Each goes to the front, so the last one given is the first one searched.
            lines += [f"_activesam_prepend {variable} {quote(folder)}" for folder in reversed(folders)]
        if self.profile.ros is None:
            lines += [
                "# The wheels start every Python a second time to set the library path, unless told that it is.",
                "export _ROS_WHEELS_BOOTSTRAP_COMPLETE=1",
            ]
        else:
            lines.append("export PYTHONNOUSERSITE=1")
        return "\n".join(lines) + "\n"

    def write_environment(self, plan: VenvPlan) -> None:
        """Write what `env.sh` reads, the commands and the link to the sources."""
        write_commands(self.root)
        link_sources(self.root)
        _write(self.folder / ENVIRONMENT, self.environment_code(plan, install_site(self.prefix)))
        place = shlex.quote(str(self.folder / ENVIRONMENT))
        _write(self.root / BUILD_FOLDER / ENVIRONMENT, f". {place} || return 1\n")

    def verify(self, environ: Mapping[str, str], progress: Progress) -> None:
        """Import the clone's messages in a shell that has entered the environment as a user does.

        Raises SetupError.
        """
        progress.run(
            ["bash", "-c", 'set -eu; . "$1"; exec python -c "$2"', "bash", self.root / "env.sh", _MESSAGES],
            environ,
            "importing the messages",
            cwd=Path("/"),
        )


def _files(root: Path, names: tuple[str, ...]) -> Iterator[Path]:
    for name in names:
        top = root / name
        for path in sorted(top.rglob("*")) if top.is_dir() else [top]:
            if path.is_file() and "__pycache__" not in path.parts:
                yield path


def _write(path: Path, text: str) -> None:
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        temporary = path.with_suffix(".tmp")
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)


def console_scripts(root: Path) -> list[str]:
    """Names of the commands, as setup.cfg declares them."""
    config = configparser.ConfigParser()
    config.read(root / "setup.cfg", encoding="utf-8")
    lines = config["options.entry_points"]["console_scripts"].strip().splitlines()
    return [line.split("=", 1)[0].strip() for line in lines]


def write_commands(root: Path) -> None:
    """Write the program of all commands under the name of each.

    pip would install them into the virtual environment, which other clones share.
    """
    folder = root / BUILD_FOLDER / "bin"
    folder.mkdir(parents=True, exist_ok=True)
    commands = console_scripts(root)
    for path in folder.iterdir():
        if path.name not in commands:
            path.unlink()
    text = (root / "scripts" / "activesam").read_text(encoding="utf-8")
    for name in commands:
        path = folder / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
        path.chmod(0o755)


def link_sources(root: Path) -> Path:
    """Make a folder for PYTHONPATH that holds nothing but a link to the clone's Python package."""
    # The clone itself would also offer its folders launch/ and test/ to `import`.
    folder = root / BUILD_FOLDER / "python"
    folder.mkdir(parents=True, exist_ok=True)
    link = folder / PACKAGE
    target = Path("..") / ".." / PACKAGE
    if not link.is_symlink() or link.readlink() != target:
        link.unlink(missing_ok=True)
        link.symlink_to(target)
    return folder


def install_site(prefix: Path) -> str:
    """Find where colcon has put the package's Python modules, relative to its prefix."""
    # Debian's Python installs to lib/python3.x/site-packages or to local/lib/python3.x/dist-packages.
    for pattern in ("lib/python3*/*-packages", "local/lib/python3*/*-packages"):
        for path in sorted(prefix.glob(pattern)):
            if (path / PACKAGE / "msg").is_dir():
                return str(path.relative_to(prefix))
    raise FileNotFoundError(f"no generated messages below {prefix}")
