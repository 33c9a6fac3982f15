from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest
from devsetup import overlay
from devsetup.machine import WHEELS, Profile
from devsetup.virtualenv import VenvPlan, plan_venv

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def plan(clone: Path, tmp_path: Path) -> VenvPlan:
    return plan_venv(Profile(WHEELS), clone, {"XDG_CACHE_HOME": str(tmp_path)})


def test_nothing_changed_nothing_to_build(clone: Path, plan: VenvPlan) -> None:
    assert overlay.overlay_state(clone, plan) == overlay.overlay_state(clone, plan)


@pytest.mark.parametrize("name", ["msg/ActiveClass.msg", "package.xml", "CMakeLists.txt"])
def test_changed_messages_are_built_again(clone: Path, plan: VenvPlan, name: str) -> None:
    before = overlay.overlay_state(clone, plan)
    with (clone / name).open("a") as file:
        file.write("\n")
    after = overlay.overlay_state(clone, plan)
    assert after["inputs"] != before["inputs"]
    assert after["place"] == before["place"]


def test_edited_python_code_needs_no_build_but_a_new_file_is_linked(clone: Path, plan: VenvPlan) -> None:
    before = overlay.overlay_state(clone, plan)
    with (clone / "activesam_ros" / "__init__.py").open("a") as file:
        file.write("# edited\n")
    (clone / "activesam_ros" / "__pycache__").mkdir()
    (clone / "activesam_ros" / "__pycache__" / "x.pyc").touch()
    assert overlay.overlay_state(clone, plan) == before
    (clone / "launch").mkdir(exist_ok=True)
    (clone / "launch" / "new.launch.py").touch()
    after = overlay.overlay_state(clone, plan)
    assert after["inputs"] != before["inputs"]


def test_another_environment_is_another_place(clone: Path, plan: VenvPlan, tmp_path: Path) -> None:
    other = dataclasses.replace(plan, path=tmp_path / "other")
    assert overlay.overlay_state(clone, plan)["place"] != overlay.overlay_state(clone, other)["place"]


def test_a_clone_that_was_never_built_is_not_ready(clone: Path, plan: VenvPlan) -> None:
    assert not overlay.is_ready(clone, overlay.overlay_state(clone, plan))
