"""The launch files for cameras; the packages `launch` and `launch_ros` come with a ROS installation only."""

import importlib.util
import signal
from pathlib import Path

import pytest
import yaml

pytest.importorskip("launch", reason="launch is missing; it comes with a ROS installation")
pytest.importorskip("launch_ros", reason="launch_ros is missing; it comes with a ROS installation")

from launch_ros.actions import PushRosNamespace

from activesam_ros.launching import actions
from activesam_ros.launching.arguments import NODE_ARGUMENTS
from activesam_ros.launching.cameras import Source, sources
from activesam_ros.ros.transport import TRANSPORT_CHOICES
from launch import LaunchContext

from .launching import LAUNCH_FILES, launches

pytestmark = pytest.mark.live

CAMERA, DEMO = (LAUNCH_FILES / f"{name}.launch.py" for name in ("camera", "demo"))


def arguments_of(file):
    spec = importlib.util.spec_from_file_location(file.name.partition(".")[0], file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    entities = module.generate_launch_description().entities
    return {one.name: one for one in entities if type(one).__name__ == "DeclareLaunchArgument"}


@pytest.fixture
def launched(dds_environment, tmp_path):
    with launches(CAMERA, tmp_path) as launch:
        yield launch


def test_a_camera_can_be_launched_with_what_a_ros_user_expects():
    declared = arguments_of(CAMERA)
    assert set(declared) >= {
        *("image", "camera", "cameras", "model", "vocabulary", "vocabulary_file", "profile", "device"),
        *("params_file", "namespace", "use_sim_time", "rviz", "points", "depth", "log_level"),
    }
    assert set(declared["camera"].choices) == {"none", "toytown", "v4l2", "usb_cam", "realsense"}


@pytest.mark.parametrize("file", [CAMERA, DEMO], ids=lambda file: file.name)
def test_every_argument_is_described_and_has_a_default(file):
    for argument in arguments_of(file).values():
        assert argument.description.endswith((".", "]")) and argument.default_value is not None


def test_the_transport_is_set_unless_the_user_chose_one(monkeypatch):
    for name in ("RMW_IMPLEMENTATION", *TRANSPORT_CHOICES):
        monkeypatch.delenv(name, raising=False)
    (action,) = actions.carry_images()
    context = LaunchContext()
    action.execute(context)
    (name,) = (name for name in TRANSPORT_CHOICES if context.environment.get(name))
    assert Path(context.environment[name]).name == "fastdds.xml"
    for name in TRANSPORT_CHOICES:
        with monkeypatch.context() as chosen:
            chosen.setenv(name, "mine")
            assert actions.carry_images() == []


def test_rviz_shows_the_topics_of_the_first_camera():
    plain = Source("", "/camera/image_raw")
    assert actions.shown_topics("", plain) == []
    assert actions.shown_topics("robot", Source("front", "")) == [
        ("/camera/image_raw", "/robot/front/image"),
        ("/activesam/overlay", "/robot/activesam/front/overlay"),
        ("/activesam/labels_color", "/robot/activesam/front/labels_color"),
        ("/activesam/detections_overlay", "/robot/activesam/front/detections_overlay"),
        ("/activesam/legend", "/robot/activesam/legend"),
        ("/labelled_points/points", "/robot/front/labelled_points/points"),
    ]


def test_the_studio_is_started_on_the_node_and_its_first_camera():
    given = {"studio": "true", "namespace": "robot", "ros_namespace": "fleet"}
    (program,) = actions.studio(given, [Source("front", ""), Source("rear", "")])
    words = [one[0].text for one in program.cmd[1:]]
    assert words == ["--node", "/fleet/robot/activesam", "--camera", "front"]
    assert actions.studio({**given, "studio": "false"}, []) == []


def test_full_names_are_below_a_pushed_namespace():
    context = LaunchContext()
    PushRosNamespace("fleet").execute(context)
    given = {one.name: one.default for one in NODE_ARGUMENTS}
    given |= {"namespace": "robot", "image": "", "camera": "toytown", "cameras": "", "camera_params_file": ""}
    given |= {"use_sim_time": "false", "rviz": "false", "points": "true", "depth": "", "log_level": "info"}
    given["ros_namespace"] = context.launch_configurations["ros_namespace"]
    cameras = sources(given)
    (driver,), node = actions.driver_nodes(given, cameras), actions.segmenting_node(given, cameras)
    (points,) = actions.point_nodes(given, cameras)
    for one in (driver, node, points):
        one._perform_substitutions(context)
    assert points.node_name == "/fleet/robot/labelled_points"
    assert dict(points.expanded_remapping_rules) == {
        "activesam/labels": "/fleet/robot/activesam/labels",
        "activesam/confidence": "/fleet/robot/activesam/confidence",
        "activesam/instances": "/fleet/robot/activesam/instances",
        "activesam/vocabulary": "/fleet/robot/activesam/vocabulary",
        "depth": "/fleet/robot/camera/depth_registered/image_raw",
        "camera_info": "/fleet/robot/camera/camera_info",
    }
    assert driver.node_name == "/fleet/robot/camera/toytown_camera"
    assert node.node_name == "/fleet/robot/activesam"
    assert cameras[0].image == "/fleet/robot/camera/image_raw"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("camera:=v4l2", "cameras:=[front, rear]"), "v4l2"),
        (("camera:=webcam",), "webcam"),
        (("vocabulary:=road",), "is not a list of classes"),
        (("rviz:=perhaps",), "true or false"),
        (("points:=perhaps",), "true or false"),
        (("points:=true", "image:=/front"), "give its topic as depth:=TOPIC"),
        (("depth:=/depth",), "no effect without points:=true"),
        (("params_file:=/no/such.yaml",), "params_file:=/no/such.yaml is no file"),
        (("camera_params_file:=/no/such.yaml",), "camera_params_file:=/no/such.yaml is no file"),
        (("profile:=quick",), "realtime"),
        (("model:=/no/such/model",), "the model folder /no/such/model does not exist"),
        (("device:=gpu",), "device is 'gpu'; expected auto"),
        (("vocabulary_file:=/no/such.yaml",), "there is no vocabulary file /no/such.yaml"),
        (("vocabulary:=[road, Road]",), "oad"),
        (("max_rate:=fast",), "max_rate:='fast' is not what is expected: a number"),
        (("max_rate:=2000",), "max_rate is 2000.0; expected 0 to 1000"),
        (("queue:=some",), "newest"),
        (("imagee:=/front",), "there is no argument imagee:=; did you mean image?"),
    ],
)
def test_what_cannot_be_launched_is_refused(launched, arguments, said):
    running = launched(*arguments)
    assert running.wait() == 1
    assert said in running.log and "process started" not in running.log


def test_it_starts_the_node_with_arguments_over_the_parameter_file(launched, tmp_path):
    file = tmp_path / "mine.yaml"
    parameters = {"model": "/no/such/folder", "max_active": 3, "vocabulary": ["tree"]}
    file.write_text(yaml.safe_dump({"/**": {"ros__parameters": parameters}}))
    running = launched(
        "model:=toytown",
        "vocabulary:=[road, 'car, automobile', '7']",
        "namespace:=front",
        "image:=/front/image_raw",
        f"params_file:={file}",
        "log_level:=debug",
    )
    running.wait_for(r"\[front\.activesam\]: vocabulary revision 1 in force: 3 classes")
    running.process.send_signal(signal.SIGINT)
    assert running.wait() == 0
    assert "process has finished cleanly" in running.log


def test_a_launch_fails_with_its_only_program(launched, tmp_path):
    running = launched(f"model:={tmp_path}", "autostart:=true", "queue:=all", "image_transport:=compressed")
    assert running.wait() == 1, running.log
    assert "the program activesam ended with exit code 1" in running.log


def test_a_launch_that_requires_its_programs_fails_with_them(launched, tmp_path):
    running = launched(f"model:={tmp_path}", "required:=true", "camera:=toytown")
    assert running.wait() == 1, running.log
    assert "the program activesam ended with exit code 1" in running.log
