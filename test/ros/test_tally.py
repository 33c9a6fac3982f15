from activesam_ros.ros.frame_slot import FrameCounts
from activesam_ros.ros.tally import Tally, format_stages


def test_the_report_adds_up_and_gives_medians_since_the_last_one():
    tally = Tally()
    for milliseconds in (1, 2, 9):
        tally.add({"decode": milliseconds / 1000, "latency": 0.5}, active=3, classes=60)
    counts = FrameCounts(
        received=9, answered=3, superseded=4, failed=1, waiting=1, by_reason=(("bad image", 1),)
    )
    line = tally.report(counts)
    assert "9 in = 3 out + 4 superseded + 1 failed + 1 pending" in line
    assert "bad image 1" in line and "decode 2.0, latency 500.0" in line and "3 of 60" in line
    tally.add({"decode": 0.1, "latency": 0.5}, active=2, classes=60)
    assert "decode 100.0" in tally.report(counts)
    assert "decode 5.5" in tally.summary(counts)


def test_a_stage_that_some_frames_skip_counts_where_it_ran():
    tally = Tally()
    tally.add({"preview": 0.010, "decode": 0.002}, 1, 2)
    tally.add({"decode": 0.004}, 1, 2)
    assert "preview 10.0, decode 3.0" in tally.report(FrameCounts())


def test_a_report_before_the_first_frame_has_counts_only():
    line = Tally().report(FrameCounts())
    assert line == "frames: 0 in = 0 out + 0 superseded + 0 failed + 0 pending"


def test_stages_are_written_in_milliseconds():
    assert format_stages({"decode": 0.01234, "fuse": 1.0}) == "decode 12.3, fuse 1000.0"
