"""A copy of the set-up in a folder of its own, and a fake ROS 2 installation."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class FakeRos:
    """A folder that looks like a ROS 2 installation, and the variables that sourcing it would set."""

    prefix: Path
    modules: Path

    def environ(self, distro: str = "jazzy") -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "ROS_DISTRO": distro,
            "ROS_VERSION": "2",
            "AMENT_PREFIX_PATH": str(self.prefix),
            "PYTHONPATH": str(self.modules),
        }


@pytest.fixture
def fake_ros(tmp_path: Path) -> FakeRos:
    """ROS 2 with empty modules of the names that the node needs; numpy calls itself 1.26.4."""
    prefix = tmp_path / "opt" / "ros" / "jazzy"
    (prefix / "share" / "rclpy").mkdir(parents=True)
    (prefix / "share" / "rclpy" / "package.xml").write_text("<package/>")
    for shell in ("bash", "zsh"):
        # Like the real one, it reads a variable that need not be set.
        (prefix / f"setup.{shell}").write_text(
            f'[ -n "$AMENT_TRACE_SETUP_FILES" ]\nexport ROS_DISTRO=jazzy AMENT_PREFIX_PATH="{prefix}"\n'
        )
    modules = prefix / "lib" / "python"
    modules.mkdir(parents=True)
    for name in ("rclpy", "cv_bridge", "vision_msgs", "sensor_msgs", "cv2", "catkin_pkg"):
        (modules / f"{name}.py").write_text("__version__ = '1.0'\n")
    (modules / "numpy.py").write_text("__version__ = '1.26.4'\n")
    return FakeRos(prefix, modules)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder with all that set-up reads, but not set up."""
    root = tmp_path / "a clone"
    root.mkdir()
    for name in ("Makefile", "env.sh", "package.xml", "CMakeLists.txt", "setup.cfg", "setup.py", "README.md"):
        shutil.copy2(REPOSITORY / name, root / name)
    ignore = shutil.ignore_patterns("__pycache__")
    for name in ("tools", "requirements", "msg", "srv", "launch", "config", "scripts", "activesam_ros"):
        if (REPOSITORY / name).exists():
            shutil.copytree(REPOSITORY / name, root / name, ignore=ignore)
    return root
