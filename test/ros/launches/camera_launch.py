"""camera.launch.py, included for two robots: one with one rendered camera, one with two."""

import sys
import tempfile
import unittest
from pathlib import Path

import launch_testing
import launch_testing.asserts
from sensor_msgs.msg import CameraInfo, Image

sys.path.append(str(Path(__file__).parent))

from activesam_ros.msg import Vocabulary
from described import under_test
from watching import Watcher

from activesam_ros.ros import qos

SMALL = "/**: {ros__parameters: {width: 96, height: 64, rate: 10.0}}"


def generate_test_description():
    drivers = Path(tempfile.mkdtemp()) / "drivers.yaml"
    drivers.write_text(SMALL)
    given = {"camera": "toytown", "model": "toytown", "camera_params_file": str(drivers)}
    return under_test(
        "camera",
        {**given, "namespace": "", "cameras": "", "vocabulary": "[road, sky]"},
        {**given, "namespace": "robot", "cameras": "[front, rear]", "vocabulary": "[sky, car, '7']"},
    )


class WhileItRuns(unittest.TestCase):
    def setUp(self):
        self.watcher = Watcher()
        self.addCleanup(self.watcher.close)

    def test_one_camera_is_labelled_with_the_words_that_are_set(self):
        self.watcher.require_active()
        labels = self.watcher.message(Image, "/activesam/labels")
        assert (labels.width, labels.height, labels.header.frame_id) == (96, 64, "camera")
        first = self.watcher.message(Image, "/activesam/legend", profile=qos.latched_out())
        self.watcher.set_words(["road", "sky", "car", "building"])
        words = self.watcher.message(
            Vocabulary, "/activesam/vocabulary", lambda message: message.revision == 2, qos.latched_out()
        )
        assert [one.name for one in words.classes] == ["road", "sky", "car", "building"]
        second = self.watcher.message(
            Image, "/activesam/legend", lambda message: message.data != first.data, qos.latched_out()
        )
        assert second.height > first.height

    def test_two_cameras_share_a_node_in_a_namespace(self):
        self.watcher.require_active("/robot/activesam")
        for camera in ("front", "rear"):
            labels = self.watcher.message(Image, f"/robot/activesam/{camera}/labels")
            assert labels.header.frame_id == camera
            info = self.watcher.message(CameraInfo, f"/robot/{camera}/camera_info")
            assert (info.width, info.height) == (96, 64)
        words = self.watcher.message(Vocabulary, "/robot/activesam/vocabulary", profile=qos.latched_out())
        assert [one.name for one in words.classes] == ["sky", "car", "7"]


@launch_testing.post_shutdown_test()
class AfterTheEnd(unittest.TestCase):
    def test_everything_ended_well(self, proc_info):
        assert len(proc_info.process_names()) == 5
        launch_testing.asserts.assertExitCodes(proc_info)
