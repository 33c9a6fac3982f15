"""Parts in processes of their own."""

import os
from importlib import import_module
from pathlib import Path

import pytest

from activesam_ros.benchmarks.subprocesses import Subprocess, run_in_subprocess
from activesam_ros.errors import ActiveSamError


def test_a_function_runs_in_a_fresh_interpreter():
    assert run_in_subprocess(os.getpid, threads=1) != os.getpid()


def test_an_object_lives_there():
    """Here a module: what makes the object has to be importable there."""
    with Subprocess(import_module, "os", threads=1) as other:
        assert other.call("getpid") == other.call("getpid") != os.getpid()
        other.call("chdir", "/")
        assert other.call("getcwd") == "/" != str(Path.cwd())
        with pytest.raises(FileNotFoundError):
            other.call("listdir", "/nowhere/at/all")
        with pytest.raises(ActiveSamError, match="ended with code 7"):
            other.call("_exit", 7)


def test_an_object_that_cannot_be_made():
    with Subprocess(import_module, "no_such_module", threads=1) as other, pytest.raises(ModuleNotFoundError):
        other.call("getpid")
