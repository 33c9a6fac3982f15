"""Actions of `launch` that several launch files are made of."""

from __future__ import annotations

import math
import os
import sys
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ament_index_python.packages import get_package_share_directory
from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    OpaqueFunction,
    RegisterEventHandler,
    SetEnvironmentVariable,
)
from launch.event_handlers import OnProcessExit
from launch.launch_description import LaunchDescription
from launch.substitutions import LaunchConfiguration, SubstitutionFailure, ThisLaunchFile
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import ExecutableInPackage

from activesam_ros.errors import SettingsError
from activesam_ros.launching.arguments import (
    Argument,
    check_values,
    node_parameters,
    require_file,
    require_known,
    value,
    with_home,
)
from activesam_ros.launching.cameras import (
    DRIVERS,
    NO_DRIVER,
    NODE,
    PUSHED,
    Source,
    depth_topic,
    full_name,
    info_topic,
    namespace_in_force,
    require_installed,
    require_told_apart,
)
from activesam_ros.ros.transport import Transport, transport_profile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from launch.action import Action
    from launch.events.process import ProcessExited
    from launch.launch_context import LaunchContext


POINTS_NODE = "labelled_points"
LABEL_TOPICS = ("labels", "confidence", "instances")


def description(
    arguments: Sequence[Argument], start: Callable[[LaunchContext, dict[str, str]], list[Any]]
) -> LaunchDescription:
    """Describe a launch file: its arguments, a transport that carries images, and what `start` makes of the values.

    Args:
        arguments: in the order in which `--show-args` lists them.
        start: takes the values by name, and beside them the namespace that an including launch file has pushed.
    """

    def perform(context: LaunchContext) -> list[Any]:
        require_no_others(context, arguments)
        given = {one.name: LaunchConfiguration(one.name).perform(context) for one in arguments}
        given[PUSHED] = context.launch_configurations.get(PUSHED, "")
        return start(context, with_home(arguments, given))

    return LaunchDescription([*declared(arguments), *carry_images(), OpaqueFunction(function=perform)])


def is_launched_itself(context: LaunchContext) -> bool:
    """Return whether the launch file that is being read is the one on the command line, not one that it includes."""
    try:
        file = Path(ThisLaunchFile().perform(context))
    except SubstitutionFailure:
        return False
    for before, one in pairwise(sys.argv):
        if one == file.name and before == "activesam_ros":
            return True
        if Path(one).name == file.name and Path(one).is_file() and Path(one).samefile(file):
            return True
    return False


def require_no_others(context: LaunchContext, arguments: Iterable[Argument]) -> None:
    """Raise SettingsError for an argument on the command line that this launch file does not have."""
    if is_launched_itself(context):
        require_known(
            [name for one in sys.argv for name, sign, _ in [one.partition(":=")] if sign], arguments
        )


def declared(arguments: Iterable[Argument]) -> list[DeclareLaunchArgument]:
    """Declare arguments to `launch`."""
    return [
        DeclareLaunchArgument(
            one.name,
            default_value=one.default,
            description=one.description,
            choices=list(one.choices) or None,
        )
        for one in arguments
    ]


def carry_images() -> list[SetEnvironmentVariable]:
    """Set the transport for all that is launched, unless the user has chosen one."""
    transport, profile = Transport(os.environ), transport_profile()
    if transport.is_chosen or profile is None:
        return []
    # Fast DDS's default transports lose best-effort images above about 0.5 MB silently.
    return [SetEnvironmentVariable(transport.profile_variable, str(profile))]


def segmenting_node(given: Mapping[str, str], sources: Sequence[Source]) -> Node:
    """Return the node `activesam`.

    Args:
        given: values of `NODE_ARGUMENTS`, `namespace`, `use_sim_time` and `log_level`.
        sources: its cameras.

    Raises:
        SettingsError: an argument is not what is expected, or params_file is not there.
    """
    require_file("params_file", given["params_file"])
    parameters = node_parameters(given)
    names = [one.name for one in sources if one.name]
    if names:
        parameters["cameras"] = names
    check_values(parameters)
    parameters |= simulated_time(given)
    # A logger is named after its node, the namespace's parts first.
    logger = ".".join([*namespace_in_force(given).strip("/").split("/"), NODE]).lstrip(".")
    return Node(
        package="activesam_ros",
        executable=NODE,
        name=NODE,
        namespace=given["namespace"],
        # What is given on the command line comes last, and so wins.
        parameters=[*([given["params_file"]] if given["params_file"] else []), *typed(parameters)],
        remappings=[(one.input, one.image) for one in sources if one.image],
        arguments=["--ros-args", "--log-level", f"{logger}:={given['log_level']}"],
        output="screen",
    )


def driver_nodes(
    given: Mapping[str, str], sources: Sequence[Source], more: Mapping[str, object] | None = None
) -> list[Node]:
    """Return the drivers of the cameras, each in a namespace of the camera's name.

    Args:
        given: values of `camera`, `camera_params_file`, `points`, `namespace` and `use_sim_time`.
        sources: the cameras.
        more: parameters that win over the driver's usual ones.

    Raises:
        SettingsError: camera_params_file is not there, the driver is not installed, or several cameras would open
            one device.
    """
    file = given["camera_params_file"]
    require_file("camera_params_file", file)
    if given["camera"] == NO_DRIVER:
        return []
    asked, driver = f"camera:={given['camera']}", DRIVERS[given["camera"]]
    points = value("points", given["points"], bool)
    require_installed(asked, driver.package)
    namespace = namespace_in_force(given)
    require_told_apart(
        asked, driver, tuple(full_name(namespace, one.driver_namespace) for one in sources), file
    )
    nodes = []
    for number, source in enumerate(sources):
        parameters = {
            **driver.parameters(source.driver_namespace, number),
            **(driver.measuring if points else {}),
            **(more or {}),
            **simulated_time(given),
        }
        nodes.append(
            Node(
                package=driver.package,
                executable=driver.executable,
                name=driver.node,
                namespace="/".join(filter(None, (given["namespace"], source.driver_namespace))),
                # Of a driver the file knows best.
                parameters=[*typed(parameters), *([file] if file else [])],
                output="screen",
            )
        )
    return nodes


def point_nodes(given: Mapping[str, str], sources: Sequence[Source]) -> list[Node]:
    """Return `labelled_points` for each camera, if the argument `points` says so.

    Args:
        given: values of `points`, `depth`, `camera`, `params_file`, `namespace` and `use_sim_time`.
        sources: the cameras.

    Raises:
        SettingsError: there is no depth, or an argument is not what is expected.
    """
    if not value("points", given["points"], bool):
        if given["depth"]:
            raise SettingsError(f"depth:={given['depth']} has no effect without points:=true")
        return []
    namespace = namespace_in_force(given)
    nodes = []
    for source in sources:
        remappings = {
            **{f"{NODE}/{topic}": source.output(namespace, topic) for topic in LABEL_TOPICS},
            f"{NODE}/vocabulary": Source("", "").output(namespace, "vocabulary"),
            "depth": depth_topic(given, source, len(sources)),
            "camera_info": info_topic(given, source),
        }
        nodes.append(
            Node(
                package="activesam_ros",
                executable=POINTS_NODE,
                name=POINTS_NODE,
                namespace="/".join(filter(None, (given["namespace"], source.name))),
                parameters=[
                    *([given["params_file"]] if given["params_file"] else []),
                    *typed(simulated_time(given)),
                ],
                remappings=list(remappings.items()),
                output="screen",
            )
        )
    return nodes


def rviz_nodes(given: Mapping[str, str], sources: Sequence[Source]) -> list[Node]:
    """Return RViz with the first camera, if the argument `rviz` says so, and what it needs to turn its points upright.

    Raises:
        SettingsError: RViz is not installed.
    """
    if not value("rviz", given["rviz"], bool):
        return []
    require_installed("rviz:=true", "rviz2")
    points = value("points", given["points"], bool)
    config = Path(get_package_share_directory("activesam_ros")) / "config"
    link = f"{sources[0].driver_namespace}_link"
    arguments = (
        ["-d", str(config / "points.rviz"), "-f", link] if points else ["-d", str(config / "activesam.rviz")]
    )
    shown = Node(
        package="rviz2",
        executable="rviz2",
        name="rviz2",
        namespace=given["namespace"],
        arguments=arguments,
        parameters=typed(simulated_time(given)),
        remappings=shown_topics(namespace_in_force(given), sources[0]),
    )
    # Real cameras have a description that publishes this.
    turned = points and given["camera"] == "toytown"
    return [shown, _upright(given, link, sources[0].driver_namespace)] if turned else [shown]


def _upright(given: Mapping[str, str], link: str, optical: str) -> Node:
    """Return a publisher of the frame of a camera with x forward and z up, from that with z forward and y down."""
    require_installed("rviz:=true with points:=true", "tf2_ros")
    angles = ["--roll", str(-math.pi / 2), "--yaw", str(-math.pi / 2)]
    return Node(
        package="tf2_ros",
        executable="static_transform_publisher",
        name=f"{link}_publisher",
        namespace=given["namespace"],
        arguments=[*angles, "--frame-id", link, "--child-frame-id", optical],
        parameters=typed(simulated_time(given)),
    )


def studio(given: Mapping[str, str], sources: Sequence[Source]) -> list[ExecuteProcess]:
    """Return the studio on the node and its first camera, if the argument `studio` says so."""
    if not value("studio", given["studio"], bool):
        return []
    name = full_name(namespace_in_force(given), NODE)
    camera = ["--camera", sources[0].name] if sources[0].name else []
    program = ExecutableInPackage(package="activesam_ros", executable="studio")
    return [ExecuteProcess(cmd=[program, "--node", name, *camera], name="studio", output="screen")]


def shown_topics(namespace: str, source: Source) -> list[tuple[str, str]]:
    """Return the remappings from the topics of RViz's configurations to those of a camera; equal ones are left out."""
    wanted = [("/camera/image_raw", source.image_in(namespace))]
    wanted += [
        (f"/{NODE}/{topic}", source.output(namespace, topic))
        for topic in ("overlay", "labels_color", "detections_overlay")
    ]
    wanted.append((f"/{NODE}/legend", Source("", "").output(namespace, "legend")))
    wanted.append((f"/{POINTS_NODE}/points", full_name(namespace, source.name, POINTS_NODE, "points")))
    return [(shown, real) for shown, real in wanted if shown != real]


def simulated_time(given: Mapping[str, str]) -> dict[str, object]:
    """Return the parameter use_sim_time if it is on; if not, it is left to params_file.

    Raises:
        SettingsError: it is neither true nor false.
    """
    return {"use_sim_time": True} if value("use_sim_time", given["use_sim_time"], bool) else {}


def typed(parameters: Mapping[str, object]) -> list[dict[str, object]]:
    """Return parameters for `Node` in which texts stay texts, also those that look like numbers."""

    def described(one: object) -> object:
        if isinstance(one, str):
            return ParameterValue(one, value_type=str)
        if isinstance(one, list) and one and isinstance(one[0], str):
            return ParameterValue(one, value_type=list[str])
        return one

    made = {name: described(one) for name, one in parameters.items()}
    return [made] if made else []


def when_over(process: Node, what: str, then: Action | None = None) -> RegisterEventHandler:
    """Have `then` follow the end of a process; its failure ends the launch with exit code 1 and says `what` failed."""

    def react(event: ProcessExited, context: LaunchContext) -> Action | None:
        if context.is_shutdown:
            return None
        if event.returncode:
            raise RuntimeError(f"{what} ended with exit code {event.returncode}; see above why")
        return then

    return RegisterEventHandler(OnProcessExit(target_action=process, on_exit=react))


def all_required(nodes: Iterable[Node]) -> list[RegisterEventHandler]:
    """Have the launch end with whichever of the nodes fails."""
    return [when_over(node, f"the program {node.node_executable}") for node in nodes]
