from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest
from devsetup.distributions import DISTRIBUTIONS
from devsetup.machine import WHEELS, Profile
from devsetup.overlay import Overlay
from devsetup.virtualenv import VenvPlan, plan_venv

if TYPE_CHECKING:
    from pathlib import Path


JAZZY, KILTED = (Profile(WHEELS, DISTRIBUTIONS[name]) for name in ("jazzy", "kilted"))


@pytest.fixture
def plan(clone: Path, tmp_path: Path) -> VenvPlan:
    return plan_venv(JAZZY, clone, {"XDG_CACHE_HOME": str(tmp_path)})


def test_nothing_changed_nothing_to_build(clone: Path, plan: VenvPlan) -> None:
    assert Overlay(clone, JAZZY).state(plan) == Overlay(clone, JAZZY).state(plan)


@pytest.mark.parametrize("name", ["msg/ActiveClass.msg", "package.xml", "CMakeLists.txt"])
def test_changed_messages_are_built_again(clone: Path, plan: VenvPlan, name: str) -> None:
    before = Overlay(clone, JAZZY).state(plan)
    with (clone / name).open("a") as file:
        file.write("\n")
    after = Overlay(clone, JAZZY).state(plan)
    assert after["inputs"] != before["inputs"]
    assert after["place"] == before["place"]


def test_edited_python_code_needs_no_build_but_a_new_file_is_linked(clone: Path, plan: VenvPlan) -> None:
    before = Overlay(clone, JAZZY).state(plan)
    with (clone / "activesam_ros" / "__init__.py").open("a") as file:
        file.write("# edited\n")
    (clone / "activesam_ros" / "__pycache__").mkdir()
    (clone / "activesam_ros" / "__pycache__" / "x.pyc").touch()
    assert Overlay(clone, JAZZY).state(plan) == before
    (clone / "launch").mkdir(exist_ok=True)
    (clone / "launch" / "new.launch.py").touch()
    after = Overlay(clone, JAZZY).state(plan)
    assert after["inputs"] != before["inputs"]


def test_another_environment_is_another_place(clone: Path, plan: VenvPlan, tmp_path: Path) -> None:
    other = dataclasses.replace(plan, path=tmp_path / "other")
    assert Overlay(clone, JAZZY).state(plan)["place"] != Overlay(clone, JAZZY).state(other)["place"]


def test_a_clone_that_was_never_built_is_not_ready(clone: Path, plan: VenvPlan) -> None:
    assert not Overlay(clone, JAZZY).is_ready(Overlay(clone, JAZZY).state(plan))


def test_distributions_are_built_in_folders_of_their_own(clone: Path) -> None:
    folders = {Overlay(clone, profile).folder for profile in (JAZZY, KILTED)}
    assert folders == {clone / ".build" / "wheels-jazzy", clone / ".build" / "wheels-kilted"}
