"""A recording through the real node and the player that records and scores it, each a process of its own."""

import signal

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is missing; source env.sh")
pytest.importorskip("activesam_ros.msg", reason="the messages are not built; run make setup")

from rosbags.rosbag2 import StoragePlugin, Writer

from activesam_ros.configuration.segmenter_parameters import read_parameters
from activesam_ros.datasets.message_types import known_message_types
from activesam_ros.datasets.recordings import Recording
from activesam_ros.evaluation.records import read_records
from activesam_ros.evaluation.run_folder import RunFolder
from activesam_ros.toytown import CLASSES, DEMO_CLASSES
from activesam_ros.toytown.world import World

from .processes import Program

pytestmark = pytest.mark.live

FRAMES = 8
# Frames that cannot be read, and one whose truth is of another size.
UNREADABLE = (3, FRAMES - 1)
ODD_TRUTH = 5
SECOND = 1_000_000_000
PERIOD = SECOND // 10
# The clocks of camera and truth are not quite the same.
LATE = 4_000_000


class Writing:
    """Writes messages into a rosbag2; the stamp of their header is also when they were recorded."""

    IMAGE = "sensor_msgs/msg/Image"
    LABEL_INFO = "vision_msgs/msg/LabelInfo"

    def __init__(self, writer):
        self._writer = writer
        self._store = known_message_types()
        self._connections = {}

    def image(self, topic, pixels, encoding, stamp):
        fields = {
            "height": pixels.shape[0],
            "width": pixels.shape[1],
            "encoding": encoding,
            "is_bigendian": 0,
            "step": pixels.nbytes // pixels.shape[0],
            "data": np.ascontiguousarray(pixels).reshape(-1),
        }
        self._write(topic, self.IMAGE, stamp, fields)

    def label_info(self, topic, names):
        entry = self._store.types["vision_msgs/msg/VisionClass"]
        class_map = [entry(class_id=number, class_name=name) for number, name in enumerate(names)]
        self._write(topic, self.LABEL_INFO, 0, {"class_map": class_map, "threshold": 0.0})

    def _write(self, topic, kind, stamp, fields):
        if topic not in self._connections:
            self._connections[topic] = self._writer.add_connection(topic, kind, typestore=self._store)
        types = self._store.types
        time = types["builtin_interfaces/msg/Time"](sec=1 + stamp // SECOND, nanosec=stamp % SECOND)
        message = types[kind](header=types["std_msgs/msg/Header"](time, "camera"), **fields)
        self._writer.write(self._connections[topic], SECOND + stamp, self._store.serialize_cdr(message, kind))


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    """A short drive with a few faults."""
    path = tmp_path_factory.mktemp("bag") / "drive"
    world = World(900_321, 160, 120)
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        recording = Writing(writer)
        recording.label_info("/ground_truth/label_info", CLASSES)
        for index in range(FRAMES):
            frame = world.render(index / 10)
            encoding = "rgb9" if index in UNREADABLE else "rgb8"
            truth = frame.labels[:-1] if index == ODD_TRUTH else frame.labels
            recording.image("/camera/image", frame.rgb, encoding, index * PERIOD)
            recording.image("/ground_truth/labels", truth, "mono8", index * PERIOD + LATE)
    return path


@pytest.fixture
def start(dds_environment, tmp_path):
    """Starts programs; kills what is left of them."""
    running = []

    def start(module, *arguments):
        log = tmp_path / f"{len(running)}_{module}.log"
        running.append(Program(log, "-m", module, "--ros-args", *arguments))
        return running[-1]

    yield start
    for one in running:
        one.kill()


def play(start, bag, *arguments):
    return start(
        "activesam_ros.cli.replay", "-p", f"bag:={bag}", "-p", "labels:=/ground_truth/labels", *arguments
    )


def play_and_score(start, bag, folder, *arguments):
    given = ["-p", f"record:={folder / 'recording'}", "-p", f"out:={folder / 'live'}"]
    return play(start, bag, *given, *arguments)


def offline(bag, out):
    """The same by the offline evaluation; the folder of its run."""
    from activesam_ros.evaluation.config import EvaluationConfig
    from activesam_ros.evaluation.runner import evaluate

    asked = read_parameters(vocabulary="; ".join(DEMO_CLASSES))
    request = EvaluationConfig(
        bag=bag,
        out=out,
        model="toytown",
        vocabulary=asked.vocabulary,
        settings=asked.settings,
        labels_topic="/ground_truth/labels",
        threads=1,
    )
    evaluate(request)
    return RunFolder(out)


def test_live_and_offline_agree_to_the_pixel(start, start_node, bag, tmp_path):
    node = start_node("-p", "queue:=all", words=list(DEMO_CLASSES))
    player = play_and_score(start, bag, tmp_path, "-p", "command:='ros2 launch …'")
    player.wait_for_log("score them with: activesam-evaluate")
    assert player.wait() == 0, player.log
    assert node.end() == 0
    assert "frames: 8 in = 6 out + 2 dropped + 0 pending; dropped: bad image 2" in node.log
    assert f"report: {tmp_path / 'live' / 'report.html'}" in player.log
    assert "8 images played, 6 of them labelled, mIoU " in player.log

    live, reference = RunFolder(tmp_path / "live"), offline(bag, tmp_path / "offline")
    records = [read_records(folder.records_path) for folder in (live, reference)]
    assert [len(each) for each in records] == [FRAMES, FRAMES]
    for ours, theirs in zip(*records, strict=True):
        same = ("index", "stamp", "error", "width", "height", "active", "pixels", "unlabeled", "truth")
        assert {name: getattr(ours, name) for name in same} == {name: getattr(theirs, name) for name in same}
        labels = live.prediction("node", "", ours.index)
        if ours.index in UNREADABLE:
            assert "rgb9" in ours.error
            assert labels is None
        else:
            assert np.array_equal(labels, reference.prediction("active", "", ours.index))
            assert ours.latency > 0
    scored = [record.index for record in records[0] if record.truth is not None]
    assert scored == [index for index in range(FRAMES) if index not in (*UNREADABLE, ODD_TRUTH)]
    described, expected = live.description(), reference.description()
    assert described["matching"] == expected["matching"]
    assert described["vocabulary"] == expected["vocabulary"]
    assert described["methods"][0]["settings"] == expected["methods"][0]["settings"]
    assert described["model"] == {"name": "toytown", "device": "auto", "dtype": "auto"}
    assert described["recording"]["played"]["recording"] == str(bag)
    assert described["recording"]["played"]["command"] == "ros2 launch …"
    with Recording(tmp_path / "recording") as recording, Recording(bag) as played:
        assert recording.cut is None
        results = {f"/activesam/{one}" for one in ("labels", "active_classes", "label_info", "vocabulary")}
        truth = {"/ground_truth/labels", "/ground_truth/label_info"}
        assert set(recording.topics) == {"/image", *truth, *results}
        for copy, original in (("/image", "/camera/image"), ("/ground_truth/labels", "/ground_truth/labels")):
            copied = [data for _, _, data in recording.serialised([copy])]
            assert copied == [data for _, _, data in played.serialised([original])]


def test_an_interrupted_player_reports_what_was_done(start, start_node, bag, tmp_path):
    node = start_node("-p", "queue:=all")
    player = play_and_score(start, bag, tmp_path, "-p", "unanswered:=1")
    # Of an image that is refused the player learns by the node's diagnostics, which do not come any more.
    node.wait_for_log("rgb9")
    node.process.send_signal(signal.SIGSTOP)
    assert not (tmp_path / "recording").exists()
    assert player.end() == 0, player.log
    node.process.send_signal(signal.SIGCONT)
    records = read_records(tmp_path / "live" / "records.jsonl")
    assert [record.index for record in records] == list(range(len(records)))
    assert UNREADABLE[0] <= len(records) < FRAMES and records[-1].error is None
    assert "interrupted" in (tmp_path / "live" / "report.html").read_text()
    with Recording(tmp_path / "recording") as recording:
        assert recording.topics["/image"].count == len(records) and recording.cut is None


def test_a_player_that_waits_in_vain_says_for_what(start, bag):
    player = play(start, bag, "-p", "timeout:=0.5")
    assert player.wait() == 1
    assert "waited 0.5 s in vain for a node that publishes /activesam/labels" in player.log
    assert "Traceback" not in player.log


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-p", "image:=/front"], "no topic /front; it has /camera/image"),
        (["-p", "labels:=/rear"], "no topic /rear; it has /camera/image"),
        (["-p", "unanswered:=0"], "unanswered is 0; expected at least 1"),
        (["-p", "start:=2.0", "-p", "end:=1.0"], "start is 2 and end 1"),
        (["-p", "end:=1"], "'end' to '1' of type 'INTEGER', expecting type 'DOUBLE'"),
        (["-p", "bag:=''"], "no recording is given"),
        (["-p", "out:=report"], "out is given without record"),
        (["--nonsense"], "unknown arguments after --ros-args: ['--nonsense']"),
    ],
)
def test_a_player_refuses_what_it_cannot_play_in_one_sentence(start, bag, arguments, said):
    player = play(start, bag, *arguments)
    assert player.wait() == 1
    assert said in player.log
    assert "Traceback" not in player.log


def test_a_player_that_has_nothing_to_do_yet_ends_cleanly_and_leaves_nothing(start, bag, tmp_path):
    player = play_and_score(start, bag, tmp_path)
    player.wait_for_log("waiting for")
    assert player.end(signal.SIGTERM) == 0
    assert "nothing was recorded" in player.log
    assert not any(one.name.strip(".").startswith(("live", "recording")) for one in tmp_path.iterdir())


def test_a_recording_may_be_in_the_home_folder(start, bag, monkeypatch):
    monkeypatch.setenv("HOME", str(bag.parent))
    player = play(start, f"~/{bag.name}", "-p", "timeout:=0.5")
    assert player.wait() == 1
    assert "in vain for a node" in player.log


def test_an_earlier_evaluation_or_recording_is_left_alone(start, bag, tmp_path):
    (tmp_path / "live").mkdir()
    (tmp_path / "live" / "run.json").write_text("{}")
    (tmp_path / "live" / "records.jsonl").write_text("{}\n")
    player = play_and_score(start, bag, tmp_path)
    assert player.wait() == 1
    assert "holds an evaluation already" in player.log and "Traceback" not in player.log
    assert (tmp_path / "live" / "records.jsonl").read_text() == "{}\n"
    player = play(start, bag, "-p", f"record:={bag}")
    assert player.wait() == 1
    assert f"{bag} exists; give another name" in player.log


def test_a_replay_without_images_is_a_failure(start, bag):
    player = play(start, bag, "-p", "start:=1000.0")
    assert player.wait() == 1
    assert "has no image on /camera/image in the part that is asked for" in player.log
