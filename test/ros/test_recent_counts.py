from activesam_ros.ros.inbox import Drop, FrameCounts
from activesam_ros.ros.recent_counts import Recent, RecentCounts


def counts(received, answered=0, **dropped) -> FrameCounts:
    return FrameCounts(
        received=received,
        answered=answered,
        dropped=tuple((Drop[name.upper()], number) for name, number in dropped.items()),
    )


def test_the_first_look_has_nothing_to_compare_with():
    first = RecentCounts().look(100.0, counts(50, 40, failed=10))
    assert first == Recent() and first.rate(5) == 0.0


def test_it_is_the_difference_to_the_oldest_look_of_the_span():
    recent = RecentCounts(span=10.0)
    recent.look(100.0, counts(0))
    recent.look(104.0, counts(40, 30, failed=4, superseded=6))
    seen = recent.look(108.0, counts(80, 62, failed=4, superseded=9, bad_image=5))
    assert seen == Recent(8.0, 80, 62, {Drop.FAILED: 4, Drop.SUPERSEDED: 9, Drop.BAD_IMAGE: 5})
    assert seen.rate(seen.received) == 10.0
    seen = recent.look(113.0, counts(120, 100, failed=4, superseded=11, bad_image=5))
    assert seen == Recent(9.0, 80, 70, {Drop.SUPERSEDED: 5, Drop.BAD_IMAGE: 5})
    assert seen.lost(Drop.BAD_IMAGE, Drop.SUPERSEDED) == 10 and seen.lost(Drop.FAILED) == 0


def test_after_a_long_time_without_looking_it_starts_anew():
    recent = RecentCounts(span=10.0)
    recent.look(100.0, counts(0))
    assert recent.look(200.0, counts(1000)) == Recent()


def test_memory_is_bounded_by_the_span():
    recent = RecentCounts(span=10.0)
    for second in range(1000):
        seen = recent.look(float(second), counts(second))
    assert seen.seconds == 10.0 and seen.received == 10
    assert len(recent._looks) == 11
