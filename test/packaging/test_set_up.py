"""`make setup` as a user runs it, up to the point where it would install gigabytes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from devsetup import virtualenv
from devsetup.machine import check_space
from devsetup.progress import SetupError

if TYPE_CHECKING:
    from pathlib import Path


def make_setup(clone: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    base = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.run(
        ["make", "--no-print-directory", "setup"],
        cwd=clone,
        env={**base, **environ},
        capture_output=True,
        text=True,
        check=False,
    )


def test_an_old_python_alone_is_named_with_the_remedy(clone: Path, tmp_path: Path) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("make", "bash", "dirname"):
        (programs / name).symlink_to(shutil.which(name))
    old = programs / "python3"
    old.write_text('#!/bin/bash\n[ "$1" = --version ] && echo "Python 3.10.12" && exit 0\nexit 1\n')
    old.chmod(0o755)
    done = make_setup(clone, PATH=str(programs))
    assert done.returncode != 0
    assert "no Python 3.11 or newer found (python3 is: Python 3.10.12)" in done.stderr
    assert "ACTIVESAM_PYTHON=" in done.stderr


def test_a_wrong_choice_of_python_is_refused(clone: Path) -> None:
    done = make_setup(clone, ACTIVESAM_PYTHON="/bin/false")
    assert done.returncode != 0
    assert "ACTIVESAM_PYTHON=/bin/false is not a Python 3.11 or newer" in done.stderr


def test_humble_is_refused_with_the_reason(clone: Path, fake_ros) -> None:
    done = make_setup(clone, **{**fake_ros.environ("humble"), "ACTIVESAM_PYTHON": sys.executable})
    assert done.returncode != 0
    assert "error: ROS 2 humble cannot be used: its Python is older than 3.11" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unreachable_registry_is_said_plainly(clone: Path, tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    try:
        check_space(venv, clone)
    except SetupError as full:
        pytest.skip(str(full))
    nowhere = {
        "ACTIVESAM_VENV": str(venv),
        "ACTIVESAM_PYTHON": getattr(sys, "_base_executable", sys.executable),
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_CACHE_DIR": "1",
        "PIP_RETRIES": "1",
        # The discard port of this machine: connections are refused at once.
        "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
    }
    done = make_setup(clone, **nowhere)
    assert done.returncode != 0
    assert "pip could not reach its package registry" in done.stderr
    assert "Traceback" not in done.stderr.split("Its last lines")[0]
    assert not (venv / virtualenv.STAMP).exists(), "the next set-up makes it anew"


def test_help_lists_the_targets(clone: Path) -> None:
    done = subprocess.run(
        ["make", "--no-print-directory"], cwd=clone, capture_output=True, text=True, check=True
    )
    for target in ("setup", "test", "demo", "clean"):
        assert f"make {target}" in done.stdout
