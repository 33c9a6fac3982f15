"""Fixtures that several test modules share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that talk DDS as `live`, and run them first, so that no worker of several ends with a long file."""
    talking = [item for item in items if "dds_environment" in getattr(item, "fixturenames", ())]
    for item in talking:
        item.add_marker(pytest.mark.live)
    paths = {item.path for item in talking}
    items.sort(key=lambda item: item.path not in paths)


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    """Keeps the tests, and the processes that they start, out of the user's cache folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session", autouse=True)
def default_transports():
    """Has the tests, and the processes that they start, use Fast DDS's default transports.

    With LARGE_DATA, which env.sh chooses for camera images, Fast DDS now and then never connects two processes.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("FASTDDS_BUILTIN_TRANSPORTS", raising=False)
        # With LOCALHOST, rmw_fastrtps replaces the transports that a test chooses.
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
