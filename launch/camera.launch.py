"""Starts the node `activesam` on one camera or several, and if asked to, their driver, labelled points and RViz.

    ros2 launch activesam_ros camera.launch.py image:=/camera/image_raw model:=toytown \
        vocabulary:='[road, "car, automobile", sky]'
    ros2 launch activesam_ros camera.launch.py camera:=v4l2 model:=facebook/sam3 vocabulary_file:=indoor rviz:=true
    ros2 launch activesam_ros camera.launch.py camera:=realsense model:=facebook/sam3 points:=true
    ros2 launch activesam_ros camera.launch.py cameras:='{front: /front/image_raw, rear: /rear/image_raw}'

A file that includes it for each of two robots gives each its `namespace`.
"""

from activesam_ros.launching.actions import (
    all_required,
    description,
    driver_nodes,
    is_launched_itself,
    point_nodes,
    rviz_nodes,
    segmenting_node,
    studio,
)
from activesam_ros.launching.arguments import (
    CAMERA_ARGUMENTS,
    DEPTH,
    LOG_LEVEL,
    NODE_ARGUMENTS,
    POINTS,
    RVIZ,
    STUDIO,
    Argument,
    given_in,
    value,
)
from activesam_ros.launching.cameras import DRIVERS, NO_DRIVER, sources
from activesam_ros.settings import PROFILES
from launch import LaunchContext, LaunchDescription

ARGUMENTS = (
    Argument(
        "image",
        "",
        "Topic of the camera's images (sensor_msgs/Image); empty: that of the driver, or image if none is started.",
    ),
    Argument(
        "camera",
        NO_DRIVER,
        "Driver to start, in the namespace /camera; none: the camera runs already. toytown is a rendered street and "
        "needs no hardware.",
        choices=(NO_DRIVER, *DRIVERS),
    ),
    Argument(
        "cameras",
        "",
        "Several cameras with one model: names, '[front, rear]', or image topics by name, '{front: /front/image_raw, "
        "rear: /rear/image_raw}'; a driver is started for each in a namespace of its name. Empty: one camera.",
    ),
    Argument(
        "camera_params_file",
        "",
        "YAML file of parameters of the drivers' nodes; empty: their defaults.",
        is_path=True,
    ),
    *(one for one in NODE_ARGUMENTS if one.name != "profile"),
    Argument(
        "profile",
        "",
        "realtime: a stream, which reuses what is known from the frames before; paper: every frame by itself; empty: "
        "that of params_file, or else realtime.",
        choices=("", *PROFILES),
    ),
    *CAMERA_ARGUMENTS,
    Argument("namespace", "", "Namespace of everything that is started."),
    Argument("use_sim_time", "false", "Whether the time is that of the topic /clock."),
    POINTS,
    DEPTH,
    RVIZ,
    STUDIO,
    LOG_LEVEL,
    Argument(
        "required",
        "",
        "Whether the launch ends, with exit code 1, when one of its programs fails; empty: if it is the only one, and "
        "no other launch file includes this one.",
        choices=("", "true", "false"),
    ),
)


def start(context: LaunchContext, given: dict[str, str]) -> list:
    if not given["profile"] and given_in(given["params_file"], "profile") is None:
        given = {**given, "profile": "realtime"}
    cameras = sources(given)
    # First, since it may refuse.
    points = point_nodes(given, cameras)
    needed = [*driver_nodes(given, cameras), segmenting_node(given, cameras), *points]
    shown = [*rviz_nodes(given, cameras), *studio(given, cameras)]
    alone = len(needed) == 1 and not shown and is_launched_itself(context)
    handlers = all_required(needed) if value("required", given["required"] or str(alone), bool) else []
    return [*handlers, *needed, *shown]


def generate_launch_description() -> LaunchDescription:
    return description(ARGUMENTS, start)
