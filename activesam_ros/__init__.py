"""Open-vocabulary semantic segmentation of camera images, as a library and as a ROS 2 node."""

from pkgutil import extend_path

# The generated messages (`activesam_ros.msg`) are built into another folder of the same package name.
__path__ = extend_path(__path__, __name__)

__version__ = "0.1.0"
