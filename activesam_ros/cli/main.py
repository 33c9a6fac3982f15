"""Start the command whose name the program has: `activesam-NAME` on the path, `ros2 run activesam_ros NAME`.

The names differ in one way only: `activesam-make-bag` is `make_bag` for ROS.
"""

from __future__ import annotations

import argparse
import signal
import sys
from importlib import import_module
from pathlib import Path

from activesam_ros import __version__
from activesam_ros.cli.command import DONE, FAILED, complain, leave, missing_module, run
from activesam_ros.system.machine import ENDING

COMMANDS = {
    "bench": "activesam_ros.cli.bench",
    "cache": "activesam_ros.cli.cache",
    "demo": "activesam_ros.cli.demo",
    "evaluate": "activesam_ros.cli.evaluate",
    "evaluate_toytown": "activesam_ros.cli.evaluate_toytown",
    "label": "activesam_ros.cli.label",
    "make_bag": "activesam_ros.cli.make_bag",
    "segment": "activesam_ros.cli.segment",
    "studio": "activesam_ros.cli.studio",
    "train_toytown": "activesam_ros.cli.train_toytown",
    "vocabulary": "activesam_ros.cli.vocabulary",
}
NODES = {
    "activesam": "activesam_ros.ros.main",
    "labelled_points": "activesam_ros.ros.labelled_points",
    "replay": "activesam_ros.cli.replay",
    "toytown_camera": "activesam_ros.ros.toytown_camera",
}
ALIASES = {"evaluate_bag": "evaluate", "prompt_cache": "cache"}
"""Earlier names for `ros2 run`."""

_ABOUT = {
    "activesam": "Label camera images with the classes that you name: the ROS 2 node.",
    "labelled_points": "Publish a point cloud whose points know their class, from labels, depth and camera info.",
    "replay": "Play a recording to the node, every image, as fast as it is answered; record and score the labels.",
    "toytown_camera": "Publish images of a rendered street, for trying things out without a camera.",
}
_EXAMPLES = {
    "activesam": "-p model:=toytown -p vocabulary_file:=toytown -r image:=/camera/image_raw",
    "labelled_points": "-r depth:=/camera/depth_registered/image_raw -r camera_info:=/camera/camera_info",
    "replay": "-p bag:=FOLDER",
}


def main() -> int:
    """Run the command that `sys.argv[0]` names; return its exit code."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, leave)
    program = Path(sys.argv[0]).name
    name = program.removeprefix("activesam-").replace("-", "_")
    name = ALIASES.get(name, name)
    module = NODES.get(name) or COMMANDS.get(name)
    if module is None:
        complain(program, f"there is no such command; expected one of {', '.join([*NODES, *COMMANDS])}")
        return FAILED
    own = _own_arguments() if name in NODES else []
    # Signals wait until a ROS program handles them: one that comes during the imports ends it like any other.
    runs_node = name in NODES and not own
    signal.pthread_sigmask(signal.SIG_BLOCK if runs_node else signal.SIG_UNBLOCK, ENDING)
    if own:
        # Ends with the help, the version, or the usage and the unknown argument.
        return run(_node_parser(program, name), lambda _: DONE, own)
    try:
        return import_module(module).main()
    except ModuleNotFoundError as error:
        complain(program, missing_module(error))
        return FAILED


def _own_arguments() -> list[str]:
    """Return the arguments that do not belong to ROS."""
    arguments = sys.argv[1:]
    return arguments[: arguments.index("--ros-args")] if "--ros-args" in arguments else arguments


def _node_parser(program: str, name: str) -> argparse.ArgumentParser:
    example = _EXAMPLES.get(name, "-p NAME:=VALUE")
    lines = [f"for example: {program} --ros-args {example}"]
    if name == "activesam":
        others = (f"  activesam-{other.replace('_', '-')}" for other in sorted({**COMMANDS, **NODES}))
        lines += [
            "",
            "Parameters, topics and services: docs/interface.md, or `ros2 param describe` of the running node.",
            "",
            "Other commands; each answers to --help, and to `ros2 run activesam_ros NAME`, such as make_bag:",
            *(other for other in others if other.strip() != "activesam-activesam"),
        ]
    parser = argparse.ArgumentParser(
        prog=program,
        usage=f"{program} [-h] [--version] [--ros-args [-p NAME:=VALUE] [-r OLD:=NEW] [--params-file FILE] …]",
        description=_ABOUT[name],
        epilog="\n".join(lines),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"activesam_ros {__version__}")
    return parser
