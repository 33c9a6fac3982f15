"""The command that starts one of the executables as it was started."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


def command_line(executable: str, parameters: Mapping[str, Any], remappings: Mapping[str, str]) -> str:
    """`ros2 run` with parameters and remappings, quoted for a shell.

    Args:
        executable: its name.
        parameters: values by name; a list must not be empty.
        remappings: new name by old name.
    """
    words = ["ros2", "run", "activesam_ros", executable]
    if parameters or remappings:
        words.append("--ros-args")
    # JSON is YAML; its quotes keep a text a text that looks like a number.
    for name, value in parameters.items():
        words += ["-p", f"{name}:={json.dumps(value, ensure_ascii=False)}"]
    for old, new in remappings.items():
        words += ["-r", f"{old}:={new}"]
    return shlex.join(words)
