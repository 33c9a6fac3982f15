"""What a test needs to run, and fixtures that several test modules share."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

TESTS = Path(__file__).parent
REPOSITORY = TESTS.parent

ROS = {
    "rclpy": "rclpy is missing; source env.sh",
    "activesam_ros.msg": "the messages are not built; run make setup",
}
LAUNCH = {name: f"{name} is missing; it comes with a ROS installation" for name in ("launch", "launch_ros")}
BROWSER = {
    "nicegui": "nicegui is missing; pip install .[studio]",
    "playwright": "playwright is missing; pip install playwright",
}
NEEDS = {
    "ros/*": ROS,
    "ros/test_launch*": LAUNCH,
    "ros/test_launches*": {"launch_testing": "launch_testing is missing; it comes with a ROS installation"},
    "ros/test_replay_launch*": LAUNCH,
    "launching/test_cameras*": {"ament_index_python": "ament_index_python is missing; source env.sh"},
    "cli/test_demo*": ROS,
    "studio/test_browser*": BROWSER,
    "ros/test_studio_page*": {**ROS, **BROWSER},
    "studio/test_server*": {"nicegui": "nicegui is missing; pip install .[studio]"},
}
"""Modules without which the tests of a file are skipped, and what to do about it."""


class CheckedModule(pytest.Module):
    """A file of tests, which skips where one of its `NEEDS` is missing, before its imports fail."""

    def collect(self) -> Iterator[pytest.Item | pytest.Collector]:
        for pattern, modules in NEEDS.items():
            if self.path.relative_to(TESTS).match(pattern):
                for name, reason in modules.items():
                    if not installed(name):
                        pytest.skip(reason, allow_module_level=True)
        return super().collect()


def installed(module: str) -> bool:
    """Whether a module can be imported."""
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Module:
    return CheckedModule.from_parent(parent, path=module_path)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what talks over DDS, and put its files first, so that of two processes none ends with a long one."""
    for item in items:
        if "dds_environment" in getattr(item, "fixturenames", ()):
            item.add_marker("live")
    live = {item.path for item in items if item.get_closest_marker("live")}
    items.sort(key=lambda item: item.path not in live)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("there is no GPU with CUDA")


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    """Keeps the tests, and the processes that they start, out of the user's cache folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session", autouse=True)
def transport():
    """Has the tests, and the processes that they start, use the transport that env.sh chooses."""
    from activesam_ros.ros.transport import TRANSPORT_CHOICES, Transport, transport_profile

    with pytest.MonkeyPatch.context() as patch:
        for name in TRANSPORT_CHOICES:
            patch.delenv(name, raising=False)
        patch.setenv(Transport(os.environ).profile_variable, str(transport_profile()))
        patch.delenv("ROS_AUTOMATIC_DISCOVERY_RANGE", raising=False)
        yield


@pytest.fixture(scope="session")
def parity_folder() -> Path:
    """Golden data of the published method: `shared/parity` beside the clone, or $ACTIVESAM_PARITY."""
    folder = Path(os.environ.get("ACTIVESAM_PARITY", REPOSITORY.parent / "shared" / "parity"))
    if not (folder / "model" / "config.json").is_file():
        pytest.skip(f"no golden data in {folder}; set ACTIVESAM_PARITY to the folder that has it")
    return folder


@pytest.fixture(scope="session")
def toytown_checkpoint():
    """The bundled demo model, loaded once."""
    from activesam_ros.model.checkpoint import load_checkpoint

    return load_checkpoint("toytown", device="cpu")


@pytest.fixture(scope="session")
def toytown_whole(toytown_folder):
    """The bundled demo model as transformers' own class, text encoder included: the reference."""
    import torch
    from transformers import Sam3Model

    return Sam3Model.from_pretrained(toytown_folder, dtype=torch.float32).eval()


@pytest.fixture(scope="session")
def toytown_folder() -> Path:
    """The folder of the bundled demo model."""
    return REPOSITORY / "activesam_ros" / "toytown" / "model"


@pytest.fixture(scope="session")
def street_image():
    """A rendered Toy Town image, uint8 [240, 320, 3]."""
    from activesam_ros.toytown.world import World

    return World(900_123).render(0.5).rgb


@pytest.fixture
def bags(tmp_path):
    """Make recordings in a folder of the test."""
    from bags import Bags

    return Bags(tmp_path)
