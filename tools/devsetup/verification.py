"""The end of the set-up: import what has to live in one process; fail now, not at the first image."""

from collections.abc import Mapping
from pathlib import Path

from devsetup.profiles import Profile
from devsetup.progress import Progress
from devsetup.virtualenv import VenvPlan, wheel_environ

_TOGETHER = """\
import sys
import cv_bridge, cv2, numpy, rclpy, torch, torchvision, transformers
from sensor_msgs.msg import Image
from transformers import Sam3Model
from vision_msgs.msg import LabelInfo, VisionClass

bridge = cv_bridge.CvBridge()
picture = numpy.arange(18, dtype=numpy.uint8).reshape(2, 3, 3)
message = bridge.cv2_to_imgmsg(picture, "rgb8")
assert (bridge.imgmsg_to_cv2(message, "rgb8") == picture).all()
versions = {module.__name__: module.__version__ for module in (torch, torchvision, transformers, numpy, cv2)}
print(sys.version.split()[0], versions)
"""

_DISTRIBUTION_STAYS = """
for module in (numpy, cv2, cv_bridge, rclpy):
    if module.__file__.startswith(sys.prefix + "/"):
        sys.exit(f"{module.__name__} in {sys.prefix} hides the one of the distribution")
"""

_MESSAGES = "import rclpy; from activesam_ros.msg import ActiveClass, ActiveClasses; ActiveClasses()"


def verify_environment(
    plan: VenvPlan, profile: Profile, environ: Mapping[str, str], progress: Progress
) -> None:
    """Import cv_bridge, cv2, torch and transformers together in the virtual environment; convert one image.

    With ROS it also makes sure that pip has put nothing in front of the distribution's numpy and OpenCV.
    Raises SetupError.
    """
    code = _TOGETHER + (_DISTRIBUTION_STAYS if profile.ros else "")
    env = wheel_environ(plan, environ) if profile.ros is None else environ
    progress.run(
        [plan.interpreter, "-c", code],
        env,
        "importing cv_bridge, cv2, torch and transformers together",
        cwd=Path("/"),
    )


def verify_clone(root: Path, environ: Mapping[str, str], progress: Progress) -> None:
    """Import the clone's messages in a shell that has entered the environment as a user does.

    Raises SetupError.
    """
    progress.run(
        ["bash", "-c", 'set -eu; . "$1"; exec python -c "$2"', "bash", root / "env.sh", _MESSAGES],
        environ,
        "importing the messages",
        cwd=Path("/"),
    )
