"""replay.launch.py, which is ended before the recording does."""

import json
import sys
import tempfile
import unittest
from pathlib import Path

import launch_testing
import launch_testing.asserts
from sensor_msgs.msg import Image

sys.path.append(str(Path(__file__).parent))

from described import under_test
from watching import Watcher

from activesam_ros.datasets.labelled_bag import write_drive

FOLDER = Path(tempfile.mkdtemp())
# More than can be labelled while the tests run.
IMAGES = 1500


def generate_test_description():
    write_drive(FOLDER / "drive", 900_402, IMAGES, 30.0, (64, 48))
    return under_test(
        "replay",
        {
            "bag": str(FOLDER / "drive"),
            "labels": "/ground_truth/labels",
            "model": "toytown",
            "vocabulary": "[road, 'car, automobile', sky]",
            "out": str(FOLDER / "out"),
        },
    )


class WhileItRuns(unittest.TestCase):
    def setUp(self):
        self.watcher = Watcher()
        self.addCleanup(self.watcher.close)

    def test_the_recording_is_labelled(self):
        self.watcher.require_active()
        first = self.watcher.message(Image, "/activesam/labels")
        assert (first.width, first.height) == (64, 48)
        self.watcher.set_number("image_timeout", 60.0)
        self.watcher.message(
            Image, "/activesam/labels", lambda message: message.header.stamp != first.header.stamp
        )


@launch_testing.post_shutdown_test()
class AfterTheEnd(unittest.TestCase):
    def test_all_programs_ended_well_with_a_report_of_what_was_done(self, proc_info):
        assert len(proc_info.process_names()) == 2
        launch_testing.asserts.assertExitCodes(proc_info)
        results = json.loads((FOLDER / "out" / "results.json").read_text())
        assert 0 < results["summaries"][0]["scored"] < IMAGES
