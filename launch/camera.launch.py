"""Starts the node `activesam` on one camera.

    ros2 launch activesam_ros camera.launch.py image:=/camera/image_raw model:=toytown \
        vocabulary:='[road, "car, automobile", sky]'
"""

import os

import yaml
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from activesam_ros.ros.parameters import DEFAULTS
from launch import LaunchContext, LaunchDescription

# Variables by which a user has chosen how images travel; then nothing is set here.
TRANSPORT_CHOICES = (
    "FASTDDS_BUILTIN_TRANSPORTS",
    "FASTDDS_DEFAULT_PROFILES_FILE",
    "FASTRTPS_DEFAULT_PROFILES_FILE",
)

ARGUMENTS = (
    (
        "image",
        "",
        "Topic of the camera's images (sensor_msgs/Image); empty: image. Refused with a params_file that names "
        "cameras, each of which has a topic of its own.",
    ),
    ("model", "", "Model folder or hub id, or 'toytown' for the demo model; empty: that of params_file."),
    (
        "vocabulary",
        "",
        "Classes as a YAML list: '[road, \"car, automobile\", sky]'; empty: that of params_file.",
    ),
    (
        "vocabulary_file",
        "",
        "A preset's name or the path of a vocabulary, instead of vocabulary; empty: that of params_file.",
    ),
    (
        "profile",
        "",
        "paper: every frame for itself; realtime: a stream, of which the last frame tells most of the next; empty: "
        "that of params_file.",
    ),
    ("device", "", "auto, cpu, cuda ...; empty: that of params_file."),
    ("params_file", "", "YAML file of parameters (see config/activesam.yaml); empty: the node's defaults."),
    ("namespace", "", "Namespace of the node."),
    ("log_level", "info", "debug, info, warn, error or fatal."),
)


def words(text: str) -> list[str]:
    """The vocabulary argument as a list of words; RuntimeError with one sentence if it is none."""
    try:
        listed = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RuntimeError(
            f"vocabulary:={text!r} is not a YAML list: {' '.join(str(error).split())}"
        ) from error
    if not isinstance(listed, list) or not listed or not all(isinstance(word, str) for word in listed):
        raise RuntimeError(
            f"vocabulary:={text!r} is not a list of words; expected something like "
            "'[road, \"car, automobile\", sky]', with words such as on, no or 7 in quotes"
        )
    return listed


def names_cameras(params_file: str) -> bool:
    """Whether a file of parameters gives the node a list of cameras; what cannot be read is the node's to refuse."""
    try:
        with open(params_file, encoding="utf-8") as file:
            content = yaml.safe_load(file)
    except (OSError, ValueError, yaml.YAMLError):
        return False
    return _gives_cameras(content, "")


def _gives_cameras(content: object, name: str) -> bool:
    """Looks below the names of namespaces and nodes, which a file may nest or write as one with slashes."""
    if not isinstance(content, dict):
        return False
    parameters = content.get("ros__parameters")
    ours = name.rpartition("/")[2] in ("activesam", "*", "**")
    if ours and isinstance(parameters, dict) and parameters.get("cameras"):
        return True
    return any(_gives_cameras(below, str(key)) for key, below in content.items() if key != "ros__parameters")


def start(context: LaunchContext) -> list[Node]:
    given = {name: LaunchConfiguration(name).perform(context) for name, _, _ in ARGUMENTS}
    if given["image"] and given["params_file"] and names_cameras(given["params_file"]):
        raise RuntimeError(
            f"image:={given['image']} would have no effect, since params_file names cameras; leave it out, and remap "
            "NAME/image of each camera in a launch file of your own, or with `ros2 run activesam_ros activesam "
            "--ros-args -r NAME/image:=TOPIC`"
        )
    parameters = {name: given[name] for name in ("model", "vocabulary_file", "profile", "device") if given[name]}
    if given["vocabulary"]:
        parameters["vocabulary"] = words(given["vocabulary"])
    # Of words and a file that brings words the node takes one: the one given here also outdoes the other of
    # params_file. A vocabulary that equals the default counts as none.
    if given["vocabulary"] and not given["vocabulary_file"]:
        parameters["vocabulary_file"] = ""
    elif given["vocabulary_file"] and not given["vocabulary"]:
        parameters["vocabulary"] = list(DEFAULTS["vocabulary"])
    # A logger is named after its node, the namespace's parts first.
    logger = ".".join([*given["namespace"].strip("/").split("/"), "activesam"]).lstrip(".")
    # What is given on the command line comes last, and so wins.
    sources = [source for source in (given["params_file"], parameters) if source]
    return [
        Node(
            package="activesam_ros",
            executable="activesam",
            name="activesam",
            namespace=given["namespace"],
            parameters=sources,
            remappings=[("image", given["image"])] if given["image"] else [],
            arguments=["--ros-args", "--log-level", f"{logger}:={given['log_level']}"],
            output="screen",
        )
    ]


def generate_launch_description() -> LaunchDescription:
    actions = [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, default, description in ARGUMENTS
    ]
    if not any(os.environ.get(name) for name in TRANSPORT_CHOICES):
        # Fast DDS's default transport loses best-effort images above about 0.5 MB without a word.
        actions.append(SetEnvironmentVariable("FASTDDS_BUILTIN_TRANSPORTS", "LARGE_DATA"))
    return LaunchDescription([*actions, OpaqueFunction(function=start)])
