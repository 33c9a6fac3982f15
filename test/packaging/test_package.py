"""The repository as a Python distribution, as a ROS package and as one set of messages."""

from __future__ import annotations

import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
import zipfile
from pathlib import Path

import pytest
from devsetup import overlay

import activesam_ros
from activesam_ros.cli import main

REPOSITORY = Path(__file__).resolve().parents[2]


def test_package_xml_and_the_python_package_agree() -> None:
    package = ElementTree.parse(REPOSITORY / "package.xml").getroot()
    assert package.get("format") == "3"
    assert package.findtext("name") == "activesam_ros"
    assert package.findtext("version") == activesam_ros.__version__
    assert package.findtext("license") == "Apache-2.0"
    assert package.findtext("export/build_type") == "ament_cmake"


def test_no_dependency_is_stated_twice() -> None:
    # colcon refuses such a manifest, and then knows of no package here at all.
    package = ElementTree.parse(REPOSITORY / "package.xml").getroot()
    stated = [entry.text for entry in package if entry.tag in ("depend", "exec_depend")]
    assert sorted(stated) == sorted(set(stated))


def test_the_wheel_holds_the_library_with_its_data(clone: Path, tmp_path: Path) -> None:
    pytest.importorskip("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run(
        [*command, "--disable-pip-version-check", "-w", tmp_path, clone],
        check=True,
        capture_output=True,
        text=True,
    )
    (wheel,) = tmp_path.glob("activesam_ros-*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    wanted = {
        str(path.relative_to(clone))
        for path in (clone / "activesam_ros").rglob("*")
        if path.is_file() and path.suffix in (".py", ".json", ".safetensors", ".md", ".typed")
    }
    assert wanted
    assert wanted <= names, f"left out: {sorted(wanted - names)}"
    presets = {path.name for path in (clone / "config" / "vocabularies").iterdir()}
    shared = f"activesam_ros-{activesam_ros.__version__}.data/data/share/activesam_ros/config/vocabularies"
    assert presets
    assert {f"{shared}/{name}" for name in presets} <= names
    messages = {path.name for path in (clone / "msg").iterdir()}
    assert messages
    assert {f"{shared.removesuffix('config/vocabularies')}msg/{name}" for name in messages} <= names
    outside = {name.split("/")[0] for name in names} - {"activesam_ros", shared.split("/")[0]}
    assert all(name.endswith(".dist-info") for name in outside), outside


def installed() -> Path:
    """The clone's install prefix for the distribution whose environment this shell is in."""
    build = REPOSITORY / overlay.BUILD_FOLDER
    prefixes = [Path(entry) for entry in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)]
    for prefix in prefixes:
        if prefix.is_relative_to(build) and prefix.is_dir():
            return prefix
    pytest.skip("this clone was not built, or not entered; run: make setup && source env.sh")


def test_colcon_installs_messages_and_sources_into_one_python_package() -> None:
    package = installed() / overlay.install_site(installed()) / "activesam_ros"
    assert (package / "msg" / "_active_classes.py").exists()
    assert (package / "__init__.py").read_text() == (REPOSITORY / "activesam_ros" / "__init__.py").read_text()
    assert (package / "segmenter.py").exists()


def test_colcon_installs_the_executables_and_the_shared_files() -> None:
    for name in (*main.COMMANDS, *main.NODES, *main.ALIASES):
        executable = installed() / "lib" / "activesam_ros" / name
        assert os.access(executable, os.X_OK)
        assert executable.read_text().startswith("#!/bin/sh\n")
    share = installed() / "share" / "activesam_ros"
    assert (share / "models" / "toytown" / "model.safetensors").exists()
    for folder in ("launch", "config"):
        for path in (REPOSITORY / folder).iterdir():
            if path.is_file():
                assert (share / folder / path.name).exists()


def test_the_messages_carry_what_they_promise() -> None:
    pytest.importorskip("rclpy")
    from activesam_ros.msg import ActiveClass, ActiveClasses

    assert ActiveClass.get_fields_and_field_types() == {
        "class_id": "uint16",
        "name": "string",
        "presence": "float",
        "area": "float",
    }
    assert ActiveClasses.get_fields_and_field_types() == {
        "header": "std_msgs/Header",
        "vocabulary_revision": "uint32",
        "vocabulary_size": "uint32",
        "stage": "uint8",
        "classes": "sequence<activesam_ros/ActiveClass>",
    }


def test_the_label_info_is_the_one_of_vision_msgs() -> None:
    # Also where the stand-in was built: name, fields and order decide whether others understand it.
    pytest.importorskip("rclpy")
    from vision_msgs.msg import LabelInfo, VisionClass

    assert LabelInfo.__module__.startswith("vision_msgs.msg.")
    assert list(LabelInfo.get_fields_and_field_types().items()) == [
        ("header", "std_msgs/Header"),
        ("class_map", "sequence<vision_msgs/VisionClass>"),
        ("threshold", "float"),
    ]
    assert list(VisionClass.get_fields_and_field_types().items()) == [
        ("class_id", "uint16"),
        ("class_name", "string"),
    ]


def test_the_detections_are_those_of_vision_msgs() -> None:
    pytest.importorskip("rclpy")
    from vision_msgs import msg

    fields = {
        "Detection2DArray": {"header": "std_msgs/Header", "detections": "sequence<vision_msgs/Detection2D>"},
        "Detection2D": {
            "header": "std_msgs/Header",
            "results": "sequence<vision_msgs/ObjectHypothesisWithPose>",
            "bbox": "vision_msgs/BoundingBox2D",
            "id": "string",
        },
        "ObjectHypothesisWithPose": {
            "hypothesis": "vision_msgs/ObjectHypothesis",
            "pose": "geometry_msgs/PoseWithCovariance",
        },
        "ObjectHypothesis": {"class_id": "string", "score": "double"},
        "BoundingBox2D": {"center": "vision_msgs/Pose2D", "size_x": "double", "size_y": "double"},
        "Pose2D": {"position": "vision_msgs/Point2D", "theta": "double"},
        "Point2D": {"x": "double", "y": "double"},
    }
    for name, expected in fields.items():
        kind = getattr(msg, name)
        assert list(kind.get_fields_and_field_types().items()) == list(expected.items()), name


@pytest.mark.parametrize("folder", [REPOSITORY, Path("/")], ids=["from the root", "from elsewhere"])
def test_sources_and_messages_are_one_package_everywhere(folder: Path) -> None:
    pytest.importorskip("rclpy")
    code = (
        "import activesam_ros, activesam_ros.errors, activesam_ros.msg, os; "
        "print(os.path.realpath(activesam_ros.errors.__file__))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == str(REPOSITORY / "activesam_ros" / "errors.py")
