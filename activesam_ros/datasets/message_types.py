"""Message types that recordings of label images hold, for rosbags."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rosbags.typesys import Stores, get_types_from_idl, get_types_from_msg, get_typestore

from activesam_ros.errors import EvaluationError

if TYPE_CHECKING:
    from rosbags.typesys.store import Typestore

    from activesam_ros.datasets.storage import Connection

_VISION_MSGS = {
    "vision_msgs/msg/VisionClass": "uint16 class_id\nstring class_name",
    "vision_msgs/msg/LabelInfo": "std_msgs/Header header\nvision_msgs/VisionClass[] class_map\nfloat32 threshold",
    "vision_msgs/msg/Point2D": "float64 x\nfloat64 y",
    "vision_msgs/msg/Pose2D": "vision_msgs/Point2D position\nfloat64 theta",
    "vision_msgs/msg/BoundingBox2D": "vision_msgs/Pose2D center\nfloat64 size_x\nfloat64 size_y",
    "vision_msgs/msg/ObjectHypothesis": "string class_id\nfloat64 score",
    "vision_msgs/msg/ObjectHypothesisWithPose": (
        "vision_msgs/ObjectHypothesis hypothesis\ngeometry_msgs/PoseWithCovariance pose"
    ),
    "vision_msgs/msg/Detection2D": (
        "std_msgs/Header header\nvision_msgs/ObjectHypothesisWithPose[] results\n"
        "vision_msgs/BoundingBox2D bbox\nstring id"
    ),
    "vision_msgs/msg/Detection2DArray": "std_msgs/Header header\nvision_msgs/Detection2D[] detections",
}
# Several IDL files in one definition are told apart by a line of these and their names.
_IDL_RULE = "=" * 80 + "\n"


def known_message_types() -> Typestore:
    """Return ROS 2's standard messages, those of vision_msgs that label images need, and this package's own."""
    store = get_typestore(Stores.ROS2_KILTED)
    for name, definition in {**_VISION_MSGS, **_own_definitions()}.items():
        store.register(get_types_from_msg(definition, name))
    return store


def message_types_of(connection: Connection, known: Typestore) -> Typestore:
    """Return the types to read a connection's messages with: the recording's own definitions, then the known ones.

    Raises:
        EvaluationError: the type is neither known, nor does the recording define it in a way that can be read.
    """
    parse = _PARSERS.get(connection.definition_encoding)
    if parse is None or not connection.definition.strip():
        if connection.type in known.fielddefs:
            return known
        raise EvaluationError(
            f"the type {connection.type} is not known, and the recording does not define it; record it with a "
            "ROS 2 version that stores definitions, or convert it there"
        )
    try:
        stated = parse(connection.definition, connection.type)
        if all(known.fielddefs.get(name) == fields for name, fields in stated.items()):
            return known  # which has its readers made already
        store = get_typestore(Stores.EMPTY)
        store.register({**known.fielddefs, **stated})
        store.get_msgdef(connection.type)
    except Exception as error:  # the parser raises nearly anything on text from outside
        if connection.type in known.fielddefs:
            return known
        raise EvaluationError(
            f"the recording's definition of the type {connection.type} cannot be read "
            f"({type(error).__name__}: {' '.join(str(error).split())})"
        ) from error
    return store


def _types_from_idl(text: str, _: str) -> dict[str, Any]:
    if not text.startswith(f"{_IDL_RULE}IDL: "):
        return get_types_from_idl(text)
    types = {}
    for part in text.split(_IDL_RULE)[1:]:
        types.update(get_types_from_idl(part.partition("\n")[2]))
    return types


_PARSERS = {"ros2msg": get_types_from_msg, "ros2idl": _types_from_idl, "omgidl": _types_from_idl}


def _own_definitions() -> dict[str, str]:
    """Read `msg` beside the sources, or in `share` of the prefix that they are installed in; empty without either."""
    package = Path(__file__).resolve().parent.parent
    installed = [folder / "share" / package.name / "msg" for folder in package.parents]
    folder = next((folder for folder in [package.parent / "msg", *installed] if folder.is_dir()), None)
    files = sorted(folder.glob("*.msg")) if folder else []
    return {f"{package.name}/msg/{file.stem}": file.read_text(encoding="utf-8") for file in files}
