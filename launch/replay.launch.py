"""Plays a recording through the running node, compares its labels with ground truth, and writes a report.

    ros2 launch activesam_ros replay.launch.py bag:=drive model:=toytown labels:=/ground_truth/labels \
        vocabulary:='[road, "car, automobile", sky]' out:=evaluation

Ends by itself when the recording does. Ctrl-C ends it sooner, with a report of what was done.
"""

import os
import shlex

import yaml
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    OpaqueFunction,
    RegisterEventHandler,
    SetEnvironmentVariable,
)
from launch.event_handlers import OnProcessExit
from launch.events import Shutdown
from launch.events.process import ProcessExited
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from activesam_ros.errors import ActiveSamError
from activesam_ros.evaluation.bag import BagSource
from activesam_ros.evaluation.samples import COMPRESSED, default_image_topic
from activesam_ros.ros.parameters import DEFAULTS
from launch import LaunchContext, LaunchDescription

# Variables by which a user has chosen how images travel; then nothing is set here.
TRANSPORT_CHOICES = (
    "FASTDDS_BUILTIN_TRANSPORTS",
    "FASTDDS_DEFAULT_PROFILES_FILE",
    "FASTRTPS_DEFAULT_PROFILES_FILE",
)

ARGUMENTS = (
    ("bag", None, "The recording: a rosbag2 folder, or an .mcap or .db3 file."),
    ("image", "", "Topic of the images in it; empty: the only one."),
    ("labels", "", "Topic of the ground truth in it; empty: there is none."),
    (
        "classes",
        "",
        "Names of the true classes: a LabelInfo topic in it, or a YAML file; empty: beside labels.",
    ),
    ("map", "", "YAML file: names in the ground truth to names in the vocabulary; empty: none."),
    ("ignore", "[]", "Ids of the ground truth to leave out, as a YAML list."),
    ("tolerance", "0.02", "Seconds that the stamps of an image and of its truth may differ by."),
    ("start", "0.0", "Seconds after the recording's start."),
    ("end", "0.0", "Likewise; 0: up to its end."),
    ("out", "evaluation", "Folder of the report."),
    ("overwrite", "false", "Whether an evaluation that is in it may be removed."),
    ("model", "", "Model folder or hub id, or 'toytown' for the demo model; empty: that of params_file."),
    (
        "vocabulary",
        "",
        "Classes as a YAML list: '[road, \"car, automobile\", sky]'; empty: that of params_file.",
    ),
    ("vocabulary_file", "", "A preset's name or the path of a vocabulary; empty: that of params_file."),
    ("profile", "", "paper or realtime, see camera.launch.py; empty: that of params_file."),
    ("device", "", "auto, cpu, cuda ...; empty: that of params_file."),
    ("params_file", "", "YAML file of parameters (see config/activesam.yaml); empty: the node's defaults."),
    ("unanswered", "4", "So many images may be on their way."),
    ("timeout", "300.0", "Seconds that the player waits for the others to start, and for any answer later."),
    ("clock", "false", "Whether the stamps of the images are the time of the nodes."),
)

# The evaluator writes its report when it is asked to end, which takes longer than launch waits by itself.
PATIENCE = "600"


def value(name: str, text: str, kind: type) -> object:
    """An argument as a YAML value of that type; RuntimeError with one sentence if it is none."""
    try:
        read = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RuntimeError(f"{name}:={text!r} is not YAML: {' '.join(str(error).split())}") from error
    if kind is float and type(read) is int:
        read = float(read)
    if type(read) is not kind:
        raise RuntimeError(f"{name}:={text!r} is not what is expected: a {kind.__name__} in YAML")
    return read


def words(text: str) -> list[str]:
    """The vocabulary argument as a list of words; RuntimeError with one sentence if it is none."""
    listed = value("vocabulary", text, list)
    if not listed or not all(isinstance(word, str) for word in listed):
        raise RuntimeError(
            f"vocabulary:={text!r} is not a list of words; expected something like "
            "'[road, \"car, automobile\", sky]', with words such as on, no or 7 in quotes"
        )
    return listed


def ids(text: str) -> list[int]:
    """The argument ignore as the evaluator takes it; RuntimeError with one sentence if it is no list of ids."""
    listed = value("ignore", text, list)
    if not all(type(one) is int and one >= 0 for one in listed):
        raise RuntimeError(f"ignore:={text!r} is not a list of ids; expected something like [0, 255]")
    # An empty list has no type; the evaluator knows -1 as none.
    return listed or [-1]


def image_topic(bag: str, image: str, labels: str) -> tuple[str, str]:
    """The topic that the node takes its images from, and their transport; RuntimeError if there is none."""
    try:
        with BagSource(bag) as source:
            if labels:
                source.require(labels)
            topic = image or default_image_topic(source, labels or None)
            kind = source.require(topic).type
    except ActiveSamError as error:
        raise RuntimeError(str(error)) from error
    if kind == COMPRESSED:
        return topic.removesuffix("/compressed"), "compressed"
    return topic, "raw"


def command(given: dict[str, str]) -> str:
    """What launches this with these arguments; those that are their defaults are left out."""
    arguments = [f"{name}:={given[name]}" for name, default, _ in ARGUMENTS if given[name] != default]
    return shlex.join(["ros2", "launch", "activesam_ros", "replay.launch.py", *arguments])


def start(context: LaunchContext) -> list[object]:
    given = {name: LaunchConfiguration(name).perform(context) for name, _, _ in ARGUMENTS}
    # A shell leaves a ~ alone that is not at the beginning of a word.
    bag, params_file = (os.path.expanduser(given[name]) for name in ("bag", "params_file"))
    part = {name: value(name, given[name], float) for name in ("start", "end")}
    clock = value("clock", given["clock"], bool)
    topic, transport = image_topic(bag, given["image"], given["labels"])
    in_file = os.path.isfile(os.path.expanduser(given["classes"]))
    node = program("activesam", segmenting(given, transport, clock), topic, params_file)
    player = program(
        "replay",
        {
            "bag": bag,
            "image": given["image"],
            "labels": given["labels"],
            "label_info": "" if in_file else given["classes"],
            **part,
            "unanswered": value("unanswered", given["unanswered"], int),
            "timeout": value("timeout", given["timeout"], float),
            "listeners": ["evaluator"],
            "clock": clock,
        },
        topic,
    )
    evaluator = program(
        "evaluator",
        {
            "bag": bag,
            **part,
            "command": command(given),
            "out": given["out"],
            "overwrite": value("overwrite", given["overwrite"], bool),
            "ground_truth": bool(given["labels"]),
            "classes": given["classes"] if in_file else "",
            "map": given["map"],
            "ignore": ids(given["ignore"]),
            "tolerance": value("tolerance", given["tolerance"], float),
        },
        topic,
    )
    return [
        when_over(node, "the node"),
        when_over(player, "the player"),
        when_over(evaluator, "the evaluator", EmitEvent(event=Shutdown(reason="the replay was evaluated"))),
        node,
        evaluator,
        player,
    ]


def segmenting(given: dict[str, str], transport: str, clock: bool) -> dict[str, object]:
    """Parameters of the node that labels."""
    parameters: dict[str, object] = {"queue": "all", "image_transport": transport, "autostart": True}
    parameters.update({name: given[name] for name in ("model", "vocabulary_file", "profile", "device") if given[name]})
    if given["vocabulary"]:
        parameters["vocabulary"] = words(given["vocabulary"])
    # Of words and a file that brings words the node takes one: the one given here also outdoes the other of
    # params_file. A vocabulary that equals the default counts as none.
    if given["vocabulary"] and not given["vocabulary_file"]:
        parameters["vocabulary_file"] = ""
    elif given["vocabulary_file"] and not given["vocabulary"]:
        parameters["vocabulary"] = list(DEFAULTS["vocabulary"])
    if clock:
        parameters["use_sim_time"] = True
    return parameters


def program(name: str, parameters: dict[str, object], image: str, file: str = "") -> Node:
    """One of the executables, under its own name."""
    # What is given here comes last, and so wins. Texts stay texts, also those that look like numbers.
    typed = {
        key: ParameterValue(one, value_type=str) if isinstance(one, str) else one
        for key, one in parameters.items()
    }
    return Node(
        package="activesam_ros",
        executable=name,
        name=name,
        parameters=[*([file] if file else []), typed],
        remappings=[("image", image)],
        output="screen",
        sigterm_timeout=PATIENCE,
        sigkill_timeout=PATIENCE,
    )


def when_over(process: Node, what: str, then: EmitEvent | None = None) -> RegisterEventHandler:
    """What follows the end of a process: one that fails ends the launch with an exit code of its own."""

    def react(event: ProcessExited, context: LaunchContext) -> EmitEvent | None:
        if context.is_shutdown:
            return None
        if event.returncode:
            raise RuntimeError(f"{what} ended with exit code {event.returncode}; see above why")
        return then

    return RegisterEventHandler(OnProcessExit(target_action=process, on_exit=react))


def generate_launch_description() -> LaunchDescription:
    actions = [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, default, description in ARGUMENTS
    ]
    if not any(os.environ.get(name) for name in TRANSPORT_CHOICES):
        # Fast DDS's default transport loses large images without a word.
        actions.append(SetEnvironmentVariable("FASTDDS_BUILTIN_TRANSPORTS", "LARGE_DATA"))
    return LaunchDescription([*actions, OpaqueFunction(function=start)])
