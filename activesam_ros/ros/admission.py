"""Which frames are worth the work: not too many a second, and not too old."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from builtin_interfaces.msg import Time as Stamp
    from rclpy.time import Time

# Share of a period that a frame may come before its turn: those of just the rate that is asked for come a little
# early as often as late.
_EARLY = 0.1


class RateLimit:
    """Lets the frames of one camera through at an average rate.

    The frames let through keep a schedule of one per period, so frames at 10 Hz and a rate of 4 Hz give four a
    second; waiting a whole period after each of them would give 3.3. What a pause saved up is not caught up with.
    """

    def __init__(self) -> None:
        # When it was the turn of the frame that was let through last.
        self._turn: float | None = None
        self._last = 0.0

    def admits(self, now: float, rate: float) -> bool:
        """Whether the frame that came at `now` is let through.

        Args:
            now: seconds of any clock; one that jumps back starts the schedule anew, and one that stands at 0 limits
                nothing: it is simulated time that nobody has published yet.
            rate: frames a second; 0: every frame. May change from call to call.
        """
        jumped_back = now < self._last
        self._last = now
        if rate <= 0 or now == 0 or self._turn is None or jumped_back:
            self._turn = now
            return True
        period = 1 / rate
        due = self._turn + period
        if now < due - _EARLY * period:
            return False
        self._turn = due if now - due < period else now
        return True


def age_of(stamp: Stamp, now: Time) -> float:
    """Seconds since a stamp; below zero for one in the future."""
    return (now.nanoseconds - stamp.sec * 1_000_000_000 - stamp.nanosec) / 1e9


def too_old(stamp: Stamp, now: Time, max_age: float) -> bool:
    """Whether a frame of this stamp is to be dropped.

    Nothing but the two times counts, so after time jumped back frames with the new stamps pass at once; one from
    before the jump is in the future then, which is no reason to drop it.

    Args:
        stamp: of the image.
        now: the time of the node's clock.
        max_age: in seconds; 0: no frame is too old.
    """
    return 0 < max_age < age_of(stamp, now)
