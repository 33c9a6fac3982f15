"""Plays a recording through the running node, records its labels, compares them with ground truth, and writes a report.

    ros2 launch activesam_ros replay.launch.py bag:=drive model:=toytown labels:=/ground_truth/labels \
        vocabulary:='[road, "car, automobile", sky]' out:=evaluation

Ends by itself when the recording does. Ctrl-C ends it sooner, with a recording and a report of what was done.
"""

import shlex
from pathlib import Path

from launch.actions import OpaqueFunction, Shutdown
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from activesam_ros.datasets.recordings import Recording
from activesam_ros.datasets.samples import COMPRESSED, default_image_topic
from activesam_ros.errors import SettingsError
from activesam_ros.launching.actions import carry_images, declared, require_no_others, typed, when_over
from activesam_ros.launching.arguments import (
    NODE_ARGUMENTS,
    Argument,
    check_values,
    node_parameters,
    require_file,
    require_one_camera,
    value,
)
from launch import LaunchContext, LaunchDescription

ARGUMENTS = (
    Argument("bag", None, "The recording: a rosbag2 folder, or an .mcap or .db3 file."),
    Argument("image", "", "Topic of the images in it; empty: the only one."),
    Argument("labels", "", "Topic of the ground truth in it; empty: there is none."),
    Argument(
        "classes",
        "",
        "Names of the true classes: a LabelInfo topic in it, or a YAML file; empty: the LabelInfo beside labels.",
    ),
    Argument("map", "", "YAML file: names in the ground truth to names in the vocabulary; empty: none."),
    Argument("ignore", "[]", "Ids of the ground truth to leave out, as a YAML list."),
    Argument("tolerance", "0.02", "Seconds that the stamps of an image and of its truth may differ by."),
    Argument("start", "0.0", "Seconds after the recording's start."),
    Argument("end", "0.0", "Likewise; 0: up to its end."),
    Argument("out", "evaluation", "Folder of the report."),
    Argument(
        "record", "", "Folder of the recording that is scored; empty: that of the report with _recording."
    ),
    Argument("overwrite", "false", "Whether a report and a recording that are there may be removed."),
    *NODE_ARGUMENTS,
    Argument("unanswered", "4", "Maximum number of images that are on their way."),
    Argument(
        "timeout", "300.0", "Seconds that the player waits for the node to start, and for any answer later."
    ),
    Argument("clock", "false", "Whether the stamps of the images are the time of the nodes."),
)

# When it is asked to end, the player scores what was recorded, which takes longer than launch waits by itself.
PATIENCE = "3600"


def ids(text: str) -> list[int]:
    """The argument ignore as the player takes it; SettingsError if it is no list of ids."""
    listed = value("ignore", text, list)
    if not all(type(one) is int and one >= 0 for one in listed):
        raise SettingsError(f"ignore:={text!r} is not a list of ids; expected something like [0, 255]")
    # An empty list has no type; the player knows -1 as none.
    return listed or [-1]


def image_topic(bag: str, image: str, labels: str) -> tuple[str, str]:
    """The topic that the node takes its images from, and their transport; ActiveSamError if there is none."""
    with Recording(bag) as source:
        if labels:
            source.require(labels)
        topic = image or default_image_topic(source, labels or None)
        kind = source.require(topic).type
    if kind == COMPRESSED:
        return topic.removesuffix("/compressed"), "compressed"
    return topic, "raw"


def command(given: dict[str, str]) -> str:
    """What launches this with these arguments; those that are their defaults are left out."""
    arguments = [f"{one.name}:={given[one.name]}" for one in ARGUMENTS if given[one.name] != one.default]
    return shlex.join(["ros2", "launch", "activesam_ros", "replay.launch.py", *arguments])


def start(context: LaunchContext) -> list[object]:
    require_no_others(context, ARGUMENTS)
    given = {one.name: LaunchConfiguration(one.name).perform(context) for one in ARGUMENTS}
    # A shell leaves a ~ alone that is not at the beginning of a word.
    bag, params_file = (
        str(Path(given[name]).expanduser()) if given[name] else "" for name in ("bag", "params_file")
    )
    require_file("params_file", params_file)
    require_one_camera("replay.launch.py", params_file)
    clock = value("clock", given["clock"], bool)
    topic, transport = image_topic(bag, given["image"], given["labels"])
    node = program("activesam", segmenting(given, transport, clock), topic, params_file)
    player = program(
        "replay",
        {
            "bag": bag,
            **{name: given[name] for name in ("image", "labels", "classes", "map", "out")},
            **{name: value(name, given[name], float) for name in ("start", "end", "timeout", "tolerance")},
            "record": given["record"] or f"{given['out'].rstrip('/')}_recording",
            "overwrite": value("overwrite", given["overwrite"], bool),
            "ignore": ids(given["ignore"]),
            "unanswered": value("unanswered", given["unanswered"], int),
            "clock": clock,
            "command": command(given),
        },
        topic,
    )
    return [
        when_over(node, "the node"),
        when_over(player, "the player", Shutdown(reason="the replay was evaluated")),
        node,
        player,
    ]


def segmenting(given: dict[str, str], transport: str, clock: bool) -> dict[str, object]:
    """Parameters of the node that labels."""
    parameters = {"queue": "all", "image_transport": transport, "autostart": True, **node_parameters(given)}
    check_values(parameters)
    if clock:
        parameters["use_sim_time"] = True
    return parameters


def program(name: str, parameters: dict[str, object], image: str, file: str = "") -> Node:
    """One of the executables, under its own name."""
    return Node(
        package="activesam_ros",
        executable=name,
        name=name,
        # What is given here comes last, and so wins.
        parameters=[*([file] if file else []), *typed(parameters)],
        remappings=[("image", image)],
        output="screen",
        sigterm_timeout=PATIENCE,
        sigkill_timeout=PATIENCE,
    )


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription([*declared(ARGUMENTS), *carry_images(), OpaqueFunction(function=start)])
