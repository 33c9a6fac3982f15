"""Parts in processes of their own."""

import os
from importlib import import_module

import pytest

from activesam_ros.benchmarks.apart import OwnProcess, in_own_process
from activesam_ros.errors import ActiveSamError


def test_a_fresh_interpreter():
    assert in_own_process(os.getpid, threads=1) != os.getpid()


def test_an_object_that_lives_there():
    """Here a module: what makes the object has to be importable there."""
    with OwnProcess(import_module, "os", threads=1) as other:
        assert other.call("getpid") == other.call("getpid") != os.getpid()
        other.call("chdir", "/")
        assert other.call("getcwd") == "/" != os.getcwd()
        with pytest.raises(FileNotFoundError):
            other.call("listdir", "/nowhere/at/all")
        with pytest.raises(ActiveSamError, match="ended with code 7"):
            other.call("_exit", 7)


def test_an_object_that_cannot_be_made():
    with OwnProcess(import_module, "no_such_module", threads=1) as other, pytest.raises(ModuleNotFoundError):
        other.call("getpid")
