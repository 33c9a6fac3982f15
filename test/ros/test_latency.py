from activesam_ros.ros.inbox import Drop, FrameCounts
from activesam_ros.ros.latency import Latency, Percentiles, format_stages


def test_the_report_adds_up_and_gives_medians_since_the_last_one():
    latency = Latency()
    for milliseconds in (1, 2, 9):
        latency.add({"decode": milliseconds / 1000, "latency": 0.5}, active=3, classes=60)
    counts = FrameCounts(
        received=10,
        answered=3,
        waiting=1,
        in_work=1,
        dropped=((Drop.SUPERSEDED, 4), (Drop.BAD_IMAGE, 1)),
    )
    assert latency.report(counts) == (
        "frames: 10 in = 3 out + 5 dropped + 2 pending; dropped: superseded 4, bad image 1; "
        "median ms: decode 2.0, latency 500.0; active classes: 3 of 60"
    )
    latency.add({"decode": 0.1, "latency": 0.5}, active=2, classes=60)
    assert "decode 100.0, latency 500.0; active classes: 2 of 60" in latency.report(counts)
    assert "decode 2.0" in latency.summary(counts)
    assert "median" not in latency.report(counts)


def test_a_report_before_the_first_frame_has_counts_only():
    assert Latency().report(FrameCounts()) == "frames: 0 in = 0 out + 0 dropped + 0 pending"


def test_percentiles_are_of_the_recent_frames_stage_by_stage():
    latency = Latency(keep=1000, recent=100)
    assert latency.percentiles() == {}
    for _ in range(50):
        latency.add({"decode": 99.0}, 1, 2)
    for number in range(100, 0, -1):
        latency.add({"decode": number / 1000, "latency": 2 * number / 1000}, 1, 2)
    assert latency.percentiles() == {"decode": Percentiles(0.050, 0.095), "latency": Percentiles(0.1, 0.19)}
    assert list(latency.percentiles()) == ["decode", "latency"]


def test_one_frame_is_its_own_percentiles():
    latency = Latency()
    latency.add({"decode": 0.25}, 1, 2)
    assert latency.percentiles() == {"decode": Percentiles(0.25, 0.25)}


def test_a_stage_that_some_frames_skip_counts_where_it_ran():
    latency = Latency()
    latency.add({"preview": 0.010, "decode": 0.002}, 1, 2)
    latency.add({"decode": 0.004}, 1, 2)
    latency.add({"decode": 0.004}, 1, 2)
    assert latency.percentiles()["preview"] == Percentiles(0.010, 0.010)
    assert "preview 10.0, decode 4.0" in latency.summary(FrameCounts())


def test_it_knows_when_and_how_the_last_frame_was_answered():
    now = [100.0]
    latency = Latency(clock=lambda: now[0])
    assert latency.since_answer is None and latency.active is None
    latency.add({"decode": 0.1}, 3, 60)
    now[0] = 107.5
    assert latency.since_answer == 7.5 and latency.active == (3, 60)


def test_memory_is_bounded():
    latency = Latency(keep=3)
    for seconds in (9.0, 9.0, 9.0, 9.0, 0.001, 0.001):
        latency.add({"decode": seconds}, 1, 2)
    assert "decode 1.0" in latency.summary(FrameCounts()) and "decode 1.0" in latency.report(FrameCounts())


def test_stages_are_written_in_milliseconds():
    assert format_stages({"decode": 0.01234, "fuse": 1.0}) == "decode 12.3, fuse 1000.0"
