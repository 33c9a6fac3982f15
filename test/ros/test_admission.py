import random

import pytest

pytest.importorskip("rclpy", reason="rclpy is missing; source env.sh")

from rclpy.time import Time

from activesam_ros.ros.admission import RateLimit, age_of, too_old


def time_at(seconds: float) -> Time:
    return Time(nanoseconds=round(seconds * 1e9))


def admitted(limit: RateLimit, times, rate: float) -> list[float]:
    return [now for now in times if limit.admits(now, rate)]


def at(frequency: float, seconds: float, start: float = 100.0, jitter: float = 0.0) -> list[float]:
    dice = random.Random(1)
    return [
        start + number / frequency + dice.uniform(-jitter, jitter)
        for number in range(round(frequency * seconds))
    ]


@pytest.mark.parametrize("jitter", [0.0, 0.01])
@pytest.mark.parametrize("rate", [0.5, 1.0, 3.0, 4.0, 7.0, 9.5])
def test_the_average_rate_is_kept(rate, jitter):
    frames = admitted(RateLimit(), at(10, 60, jitter=jitter), rate)
    assert 60 * rate - 1 <= len(frames) <= 60 * rate + 2


@pytest.mark.parametrize("jitter", [0.0, 0.005])
def test_frames_slower_than_the_rate_or_as_fast_all_pass(jitter):
    assert len(admitted(RateLimit(), at(4, 50, jitter=jitter), 10.0)) == 200
    assert len(admitted(RateLimit(), at(10, 50, jitter=jitter), 10.0)) >= 498


def test_the_first_frame_passes_and_the_next_waits_its_turn():
    limit = RateLimit()
    assert [limit.admits(now, 2.0) for now in (5.0, 5.2, 5.4, 5.5, 5.9, 6.0)] == [
        True,
        False,
        False,
        True,
        False,
        True,
    ]


def test_a_pause_is_not_caught_up_with():
    limit = RateLimit()
    limit.admits(0.0, 4.0)
    after = admitted(limit, at(100, 2, start=60.0), 4.0)
    assert after[0] == 60.0 and 8 <= len(after) <= 10


def test_zero_lets_everything_pass_and_the_rate_may_change_at_any_time():
    limit = RateLimit()
    assert len(admitted(limit, at(10, 5), 0.0)) == 50
    assert 9 <= len(admitted(limit, at(10, 5, start=200.0), 2.0)) <= 11
    assert limit.admits(900.0, 0.01) and not limit.admits(901.0, 0.01)
    assert limit.admits(902.0, 5.0), "a higher rate does not wait for the lower one's turn"


def test_a_clock_that_jumps_back_starts_anew():
    limit = RateLimit()
    assert limit.admits(1000.0, 1.0)
    assert limit.admits(3.0, 1.0) and not limit.admits(3.5, 1.0) and limit.admits(4.0, 1.0)


def test_a_clock_that_nobody_has_set_yet_limits_nothing():
    limit = RateLimit()
    assert all(limit.admits(0.0, 2.0) for _ in range(20))
    # It starts, at whatever time the simulation is.
    assert [limit.admits(now, 2.0) for now in (50.0, 50.1, 50.5)] == [True, False, True]
    assert limit.admits(0.0, 2.0) and limit.admits(0.0, 2.0), "the simulation was started anew"


def test_an_age_is_against_the_same_clock():
    early, late = (Time(nanoseconds=1_700_000_000_250_000_000 + 250_000_000 * part) for part in (0, 9))
    assert age_of(early.to_msg(), late) == 2.25 and age_of(late.to_msg(), early) == -2.25


@pytest.mark.parametrize(
    ("stamp", "now", "max_age", "old"),
    [
        (10.0, 10.4, 0.5, False),
        (10.0, 10.5, 0.5, False),
        (10.0, 10.6, 0.5, True),
        (10.0, 9000.0, 0.0, False),  # off
        (10.0, 3.0, 0.5, False),  # from the future, or from before a jump back
        (0.0, 0.0, 0.5, False),
        (0.0, 1.7e9, 0.5, True),  # a camera that does not fill in its stamp
    ],
)
def test_only_frames_from_too_long_ago_are_too_old(stamp, now, max_age, old):
    assert too_old(time_at(stamp).to_msg(), time_at(now), max_age) is old
