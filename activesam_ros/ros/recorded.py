"""Messages of a recording as ROS's own."""

from __future__ import annotations

import array
from typing import TYPE_CHECKING, Any

from builtin_interfaces.msg import Time
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header
from vision_msgs.msg import LabelInfo, VisionClass

if TYPE_CHECKING:
    from activesam_ros.datasets.class_map import ClassMap


def image_of(message: Any) -> Image | CompressedImage:
    """An image or a compressed image, as it was recorded.

    Args:
        message: with the fields of sensor_msgs/Image or sensor_msgs/CompressedImage, the data as array of bytes.
    """
    if hasattr(message, "format"):
        made = CompressedImage(header=_header(message.header), format=message.format)
    else:
        made = Image(
            header=_header(message.header),
            height=int(message.height),
            width=int(message.width),
            encoding=message.encoding,
            is_bigendian=int(message.is_bigendian),
            step=int(message.step),
        )
    # The setter checks every element of anything but an array of bytes.
    data = array.array("B")
    data.frombytes(memoryview(message.data).cast("B"))
    made.data = data
    return made


def label_info_of(classes: ClassMap) -> LabelInfo:
    """What the ids of a ground truth mean."""
    return LabelInfo(
        class_map=[VisionClass(class_id=number, class_name=name) for number, name in classes.names.items()]
    )


def _header(header: Any) -> Header:
    stamp = Time(sec=int(header.stamp.sec), nanosec=int(header.stamp.nanosec))
    return Header(stamp=stamp, frame_id=header.frame_id)
