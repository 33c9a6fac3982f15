"""Drives through Toy Town and labels what is seen, with the demo model: no camera, no weights to download.

    ros2 launch activesam_ros demo.launch.py rviz:=true points:=true

Ends with exit code 1 when the camera or the node fails.
"""

from launch.actions import LogInfo

from activesam_ros.launching.actions import (
    all_required,
    description,
    driver_nodes,
    point_nodes,
    rviz_nodes,
    segmenting_node,
    studio,
)
from activesam_ros.launching.arguments import (
    LOG_LEVEL,
    NODE_ARGUMENTS,
    POINTS,
    RVIZ,
    STUDIO,
    Argument,
    require_one_camera,
    value,
)
from activesam_ros.launching.cameras import namespace_in_force, sources
from activesam_ros.ros.toytown_camera import CameraParameters
from launch import LaunchContext, LaunchDescription

DEFAULT = CameraParameters()
FIXED = {
    "image": "",
    "camera": "toytown",
    "cameras": "",
    "depth": "",
    "camera_params_file": "",
    "use_sim_time": "false",
}

ARGUMENTS = (
    Argument("seed", str(DEFAULT.seed), "Which street: any whole number from 0."),
    Argument("rate", str(DEFAULT.rate), "Images a second."),
    Argument("width", str(DEFAULT.width), "Of the images in pixels."),
    Argument("height", str(DEFAULT.height), "Of the images in pixels."),
    *(one for one in NODE_ARGUMENTS if one.name not in ("model", "vocabulary_file")),
    Argument("model", "toytown", "Model folder or hub id, or 'toytown' for the demo model.", is_path=True),
    Argument(
        "vocabulary_file",
        "",
        "A preset's name or the path of a vocabulary, instead of vocabulary; empty: the preset toytown, 19 classes of "
        "the street and 41 of other worlds.",
        is_path=True,
    ),
    Argument("namespace", "", "Namespace of everything that is started."),
    POINTS,
    RVIZ,
    STUDIO,
    LOG_LEVEL,
)


def start(context: LaunchContext, given: dict[str, str]) -> list:
    given = {**given, **FIXED}
    require_one_camera("demo.launch.py", given["params_file"])
    if not given["vocabulary"] and not given["vocabulary_file"] and not given["params_file"]:
        given["vocabulary_file"] = "toytown"
    street = {
        "seed": value("seed", given["seed"], int),
        "rate": value("rate", given["rate"], float),
        "width": value("width", given["width"], int),
        "height": value("height", given["height"], int),
    }
    (camera,) = cameras = sources(given)
    points = point_nodes(given, cameras)
    needed = [*driver_nodes(given, cameras, street), segmenting_node(given, cameras), *points]
    namespace = namespace_in_force(given)
    shown = camera.output(namespace, "overlay")
    hint = LogInfo(
        msg=f"labels are published once there is a subscriber: rviz:=true, or `ros2 run rqt_image_view rqt_image_view "
        f"{shown}`, or "
        f"`ros2 topic hz {camera.output(namespace, 'labels')}`"
    )
    return [*all_required(needed), *needed, *rviz_nodes(given, cameras), *studio(given, cameras), hint]


def generate_launch_description() -> LaunchDescription:
    return description(ARGUMENTS, start)
