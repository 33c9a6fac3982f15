"""Preparing new words and settings beside the image stream."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

R = TypeVar("R")
P = TypeVar("P")


class ChangeDesk(Generic[R, P]):
    """Takes requests from any thread, prepares the latest in a short-lived thread, keeps it for the worker.

    A request that a newer one overtakes before its preparation has begun is never prepared. Whatever was
    prepared is kept until a newer one is ready, so that it comes into force even if the newer one fails.
    Nothing is prepared before `open`, so that requests may come in while the model is still loading.
    """

    def __init__(
        self, failed: Callable[[R, Exception], None], ready: Callable[[], None] = lambda: None
    ) -> None:
        """Both are called in the preparing thread.

        Args:
            failed: preparing raised, and no newer request waits.
            ready: there is something to collect.
        """
        self._failed = failed
        self._tell_ready = ready
        self._changed = threading.Condition()
        self._prepare: Callable[[R], P] | None = None
        self._pending: R | None = None
        self._ready: P | None = None
        self._thread: threading.Thread | None = None
        self._since: float | None = None
        self._closed = False

    def submit(self, request: R) -> None:
        """Ask for `request`; returns at once."""
        with self._changed:
            if self._closed:
                return
            self._pending = request
            self._start()

    def open(self, prepare: Callable[[R], P]) -> None:
        """Start preparing with `prepare`, which runs in the short-lived thread."""
        with self._changed:
            self._prepare = prepare
            self._start()

    def collect(self) -> P | None:
        """What became ready since the last call, or None; never blocks on the preparation."""
        with self._changed:
            ready, self._ready = self._ready, None
            return ready

    def wait(self) -> P | None:
        """Block until something is ready and collect it; None once the desk is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._ready is not None)
            ready, self._ready = self._ready, None
            return None if self._closed else ready

    @property
    def since(self) -> float | None:
        """When the preparation that runs began, `time.monotonic()` seconds; None if none does. For any thread."""
        return self._since

    def close(self) -> None:
        """Forget what is pending; a preparation that runs ends by itself, without effect."""
        with self._changed:
            self._closed = True
            self._pending = self._ready = None
            self._changed.notify_all()

    def join(self, timeout: float) -> bool:
        """Wait for the preparing thread, at most `timeout` seconds; whether none runs any more."""
        with self._changed:
            return self._changed.wait_for(lambda: self._thread is None, timeout)

    def _start(self) -> None:
        if self._prepare is None or self._thread is not None or self._pending is None or self._closed:
            return
        # A daemon: encoding cannot be interrupted, and the process must be able to end meanwhile.
        self._thread = threading.Thread(target=self._run, name="activesam-encode", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            while self._prepare_pending():
                pass
        finally:
            # However it ends: a thread that stayed noted would keep every later request waiting.
            with self._changed:
                self._thread = self._since = None
                self._start()  # what came in since the last look
                self._changed.notify_all()

    def _prepare_pending(self) -> bool:
        """Prepare the pending request and report it if it failed; whether there was one."""
        with self._changed:
            request, self._pending = self._pending, None
            if request is None or self._closed:
                return False
            prepare = self._prepare
            self._since = time.monotonic()
        error: Exception | None = None
        prepared: P | None = None
        try:
            prepared = prepare(request)
        except Exception as raised:  # whatever the model raises is the caller's to report
            error = raised
        with self._changed:
            self._since = None
            reported = error is not None and not self._closed and self._pending is None
            if error is None and not self._closed:
                self._ready = prepared
                self._changed.notify_all()
        if error is None:
            self._tell_ready()
        elif reported:
            self._failed(request, error)
        return True
