"""demo.launch.py: a rendered street, the demo model, its words and labelled points."""

import sys
import unittest
from pathlib import Path

import launch_testing
import launch_testing.asserts
import numpy as np
from sensor_msgs.msg import Image, PointCloud2
from vision_msgs.msg import LabelInfo

sys.path.append(str(Path(__file__).parent))

from activesam_ros.msg import Vocabulary
from described import under_test
from watching import Watcher

from activesam_ros.ros import qos
from activesam_ros.toytown import CLASSES, DEMO_CLASSES


def point_field(cloud: PointCloud2, name: str) -> np.ndarray:
    """One field of all points of a cloud, as 32-bit words but for floats."""
    (offset,) = (one.offset for one in cloud.fields if one.name == name)
    words = np.frombuffer(cloud.data, np.uint32).reshape(-1, cloud.point_step // 4)[:, offset // 4]
    return words.view(np.float32) if name == "confidence" else words


def generate_test_description():
    return under_test("demo", {"width": "160", "height": "120", "rate": "5.0", "points": "true"})


class WhileItRuns(unittest.TestCase):
    def setUp(self):
        self.watcher = Watcher()
        self.addCleanup(self.watcher.close)

    def test_the_street_is_labelled_beside_its_truth(self):
        self.watcher.require_active()
        words = self.watcher.message(Vocabulary, "/activesam/vocabulary", profile=qos.latched_out())
        assert tuple(one.name for one in words.classes) == DEMO_CLASSES
        truth = self.watcher.message(LabelInfo, "/camera/ground_truth/label_info", profile=qos.latched_out())
        assert tuple(one.class_name for one in truth.class_map) == CLASSES
        for topic in ("/camera/ground_truth/labels", "/activesam/labels"):
            image = self.watcher.message(Image, topic)
            assert (image.width, image.height, image.encoding) == (160, 120, "mono8")
            assert len(np.unique(np.asarray(image.data))) > 2
        # Of what is in sight, some has an instance.
        cloud = self.watcher.message(
            PointCloud2, "/labelled_points/points", lambda cloud: point_field(cloud, "instance").any()
        )
        assert cloud.header.frame_id == "camera" and 1000 < cloud.width < 160 * 120
        assert len(np.unique(point_field(cloud, "label"))) > 2 and point_field(cloud, "confidence").max() > 0
        assert len(np.unique(point_field(cloud, "rgb"))) > 2
        self.watcher.set_words(["road", "sky"])
        self.watcher.message(
            Vocabulary, "/activesam/vocabulary", lambda message: len(message.classes) == 2, qos.latched_out()
        )
        self.watcher.message(Image, "/activesam/labels", lambda message: set(message.data) <= {0, 10, 255})


@launch_testing.post_shutdown_test()
class AfterTheEnd(unittest.TestCase):
    def test_all_programs_ended_well(self, proc_info):
        assert len(proc_info.process_names()) == 3
        launch_testing.asserts.assertExitCodes(proc_info)
