"""The profile of Fast DDS that is shipped carries best-effort images that its default transports lose."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .program import PATIENCE

pytestmark = pytest.mark.usefixtures("dds_environment")

PROFILE = Path(__file__).parents[2] / "config" / "fastdds.xml"
# Each in a process of its own, since Fast DDS reads profiles once in a process.
CAMERA = """
import sys, rclpy
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image
rclpy.init()
node = rclpy.create_node("camera")
camera = node.create_publisher(Image, "large", qos_profile_sensor_data)
image = Image(height=1080, width=1920, encoding="rgb8", step=5760, data=bytes(range(240)) * 25920)
node.create_timer(0.1, lambda: camera.publish(image))
try:
    rclpy.spin(node)
except rclpy.executors.ExternalShutdownException:
    pass
"""
VIEWER = """
import sys, rclpy
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image
rclpy.init()
node = rclpy.create_node("viewer")
seen = []
node.create_subscription(Image, "large", lambda image: seen.append(bytes(image.data)), qos_profile_sensor_data)
while len(seen) < 5:
    rclpy.spin_once(node)
assert all(data == bytes(range(240)) * 25920 for data in seen)
"""


def test_images_of_six_megabytes_arrive():
    environment = {**os.environ, "FASTDDS_DEFAULT_PROFILES_FILE": str(PROFILE)}
    camera = subprocess.Popen([sys.executable, "-c", CAMERA], env=environment)
    try:
        subprocess.run([sys.executable, "-c", VIEWER], env=environment, timeout=PATIENCE, check=True)
    finally:
        camera.terminate()
        camera.wait(PATIENCE)
