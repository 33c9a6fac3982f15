"""Orders for `faulty_node.py`."""

from __future__ import annotations

import json
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

FOR_EVER = 1_000_000


class Faults:
    """The file that tells one faulty node when its model misbehaves."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._numbers = count(1)
        self.none()

    def order(
        self, do: str, at: str = "decode", *, times: int = FOR_EVER, above: int = 0, seconds: float = 0.0
    ) -> None:
        """From now on; `faulty_node.py` says what the values mean."""
        self._write(
            {
                "number": next(self._numbers),
                "at": at,
                "do": do,
                "times": times,
                "above": above,
                "seconds": seconds,
            }
        )

    def none(self) -> None:
        """No more faults; what waits goes on."""
        self._write({})

    def _write(self, order: dict) -> None:
        # In one step: the node may read at any moment.
        draft = self.path.with_suffix(".draft")
        draft.write_text(json.dumps(order))
        draft.replace(self.path)
