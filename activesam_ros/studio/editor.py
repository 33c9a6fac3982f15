"""How one browser's page changes the session: if it may, and saying what is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nicegui import ui

from activesam_ros.errors import ActiveSamError

if TYPE_CHECKING:
    from collections.abc import Callable

    from activesam_ros.studio.document import Document
    from activesam_ros.studio.session import Session
    from activesam_ros.studio.sharing import Control


class Editor:
    """What the parts of one page change the session with.

    Attributes:
        session: that is changed.
        quiet: whether controls are being set to what is so, which is no wish of anybody.
        stale: whether the page has to be shown anew, although the session has not changed.
    """

    def __init__(self, session: Session, control: Control, page: str) -> None:
        """Prepare for the page of an id."""
        self.session = session
        self.quiet = False
        self.stale = True
        self._control = control
        self._page = page
        self._refused = 0

    @property
    def mine(self) -> bool:
        """Whether this page may change the session now."""
        return self._control.holds(self._page)

    @property
    def refused(self) -> int:
        """Number of changes that were refused: fields show what is so again when it rises."""
        return self._refused + self.session.refused

    def act(self, work: Callable[[], None]) -> bool:
        """Do what changes the session, if this page may; say what is refused."""
        if not self._control.claim(self._page):
            ui.notify("somebody else is changing; take over first", type="warning")
            self._refused += 1
            self.stale = True
            return False
        try:
            work()
        except ActiveSamError as error:
            ui.notify(str(error), type="negative", multi_line=True, timeout=8000, close_button="Close")
            self._refused += 1
            self.stale = True
            return False
        return True

    def edit(self, step: Callable[[Document], Document]) -> bool:
        """Change the document."""
        return self.act(lambda: self.session.edit(step))

    def take_over(self) -> None:
        """Take control from whoever has it."""
        self._control.take(self._page)
        self.stale = True

    def leave(self) -> None:
        """Give control back."""
        self._control.release(self._page)


PLACE = """(event) => {
  const box = event.currentTarget.getBoundingClientRect();
  emit((event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
}"""
"""JavaScript that emits where a pointer is, as shares of the width and height."""


def place(args: Any) -> tuple[float, float] | None:
    """Return the shares that `PLACE` emitted; None: something else came."""
    if isinstance(args, list) and len(args) == 2 and all(isinstance(one, int | float) for one in args):
        return float(args[0]), float(args[1])
    return None


def enable(element: Any, enabled: bool) -> None:
    """Let an element be used, or not."""
    element.enable() if enabled else element.disable()


def set_source(image: Any, address: str) -> None:
    """Show a picture in an element `img`."""
    image.props(f'src="{address}"')
