"""The configuration loader: prepares requested vocabularies and settings beside the image stream, for the worker."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from activesam_ros.errors import ActiveSamError
from activesam_ros.system.machine import start_thread
from activesam_ros.system.memory import trim_heap

if TYPE_CHECKING:
    from collections.abc import Callable

    from activesam_ros.configuration.configuration import Configuration
    from activesam_ros.prompts.prompt_set import PromptSet
    from activesam_ros.prompts.text_encoder import EncodingReport
    from activesam_ros.segmenter import ActiveSegmenter
    from activesam_ros.vocabulary import Vocabulary

    # A request, why it could not be loaded, and the configuration that was loaded last.
    _Failure = tuple[Configuration, Exception, Configuration | None]


@dataclass(frozen=True)
class LoadedConfiguration:
    """A segmenter with the requested settings, and the encoded prompts that it uses once they are in force.

    Attributes:
        configuration: that was requested.
        segmenter: with its settings.
        prompts: of its vocabulary.
        seconds: that loading it took.
    """

    configuration: Configuration
    segmenter: ActiveSegmenter
    prompts: PromptSet
    seconds: float

    @property
    def vocabulary(self) -> Vocabulary:
        """The classes with their ids and colours."""
        return self.configuration.vocabulary

    @property
    def revision(self) -> int:
        """Revision of the vocabulary."""
        return self.configuration.revision

    @property
    def report(self) -> EncodingReport:
        """How many prompts came from the cache, and how long encoding the others took."""
        return self.prompts.report

    def put_in_force(self) -> None:
        """Have the segmenter use the prompts; only between two frames, by the thread that owns it."""
        self.segmenter.use(self.prompts)


class ConfigurationLoader:
    """Takes requests from any thread and loads the newest one in a short-lived thread.

    A request that a newer one overtakes before its turn is never loaded. What was loaded is kept until the worker
    collects it or a newer one is ready, so that it comes into force even if the newer one fails. Requests may come
    before the model is there; they wait for `open`.
    """

    def __init__(
        self,
        failed: Callable[[Configuration, Exception, Configuration | None], None],
        ready: Callable[[], None] = lambda: None,
    ) -> None:
        """Create a loader without a model.

        Args:
            failed: called, in the loading thread or where that could not be started, if a request failed and no
                newer one waits, with the request, the error and the configuration that was loaded last (None: none
                yet). It may call the loader.
            ready: called in the loading thread if there is something to collect.
        """
        self._failed = failed
        self._tell_ready = ready
        self._changed = threading.Condition()
        self._newest: Configuration | None = None
        self._base: ActiveSegmenter | None = None
        self._last: LoadedConfiguration | None = None
        self._pending: Configuration | None = None
        self._ready: LoadedConfiguration | None = None
        self._thread: threading.Thread | None = None
        self._since: float | None = None
        self._closed = False

    @property
    def newest(self) -> Configuration | None:
        """What was requested last; None before the first request."""
        return self._newest

    def submit(self, request: Configuration) -> None:
        """Request a configuration; returns at once."""
        with self._changed:
            if not self._closed:
                self._newest = self._pending = request
            failure = self._start()
        self._report(failure)

    def open(self, segmenter: ActiveSegmenter) -> None:
        """Start loading, with the model of `segmenter`."""
        with self._changed:
            self._base = segmenter
            failure = self._start()
        self._report(failure)

    def check(self, request: Configuration) -> None:
        """Check, as far as possible without encoding, whether the model can serve a request; for any thread.

        Raises:
            SettingsError: a resolution does not fit the model.
            VocabularyError: a prompt is too long for the model.
        """
        with self._changed:
            base, last = self._base, self._last.configuration if self._last else None
        if base is None:
            return
        if last is None or request.settings != last.settings:
            base.check_settings(request.settings)
        if last is None or request.vocabulary != last.vocabulary:
            base.check(request.vocabulary)

    def collect(self) -> LoadedConfiguration | None:
        """Return what became ready since the last call, or None; never waits for the loading thread."""
        with self._changed:
            ready, self._ready = self._ready, None
            return ready

    def wait(self) -> LoadedConfiguration | None:
        """Wait until something is ready and return it; None once the loader is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._ready is not None)
            ready, self._ready = self._ready, None
            return None if self._closed else ready

    @property
    def since(self) -> float | None:
        """When the request in work was begun, `time.monotonic()` seconds; None if none is in work."""
        return self._since

    def close(self) -> None:
        """Forget what waits and let go of the model; a request in work ends by itself, without effect."""
        with self._changed:
            self._closed = True
            self._pending = self._ready = self._base = self._last = None
            self._changed.notify_all()

    def join(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds for the loading thread; return whether none runs any more."""
        with self._changed:
            return self._changed.wait_for(lambda: self._thread is None, timeout)

    def _start(self) -> _Failure | None:
        """Start the loading thread if a request waits for it; return what to report once the lock is free."""
        if self._base is None or self._thread is not None or self._pending is None or self._closed:
            return None
        # A daemon: encoding cannot be interrupted, and the process must be able to end meanwhile.
        thread = threading.Thread(target=self._run, name="activesam-encode", daemon=True)
        try:
            start_thread(thread)
        except ActiveSamError as error:
            request, self._pending = self._pending, None
            return request, error, self._last.configuration if self._last else None
        self._thread = thread
        return None

    def _report(self, failure: _Failure | None) -> None:
        """Tell of a failure; without the lock, which who is told may want too."""
        if failure is not None:
            self._failed(*failure)

    def _run(self) -> None:
        try:
            while self._load_pending():
                pass
        finally:
            # However it ends: with a thread still noted, every later request would wait for ever.
            with self._changed:
                self._thread = self._since = None
                failure = self._start()  # for a request that came after the last one was taken
                self._changed.notify_all()
            self._report(failure)
        trim_heap()

    def _load_pending(self) -> bool:
        """Load the pending request, and report a failure; return whether there was one."""
        with self._changed:
            request, self._pending = self._pending, None
            base, last = self._base, self._last
            if request is None or base is None or self._closed:
                return False
            self._since = time.monotonic()
        error: Exception | None = None
        try:
            loaded = load_configuration(request, base, last)
        except Exception as raised:  # whatever the model raises is the caller's to report
            error = raised
        with self._changed:
            self._since = None
            reported = error is not None and not self._closed and self._pending is None
            if error is None and not self._closed:
                self._last = self._ready = loaded
                self._changed.notify_all()
        if error is None:
            self._tell_ready()
        elif reported:
            self._report((request, error, last.configuration if last else None))
        return True


def load_configuration(
    request: Configuration, base: ActiveSegmenter, last: LoadedConfiguration | None
) -> LoadedConfiguration:
    """Load a request, reusing whatever it shares with the last one; raises ActiveSamError if it does not fit."""
    started = time.monotonic()
    segmenter, prompts = (last.segmenter, last.prompts) if last else (base, base.prompts)
    if request.settings != segmenter.settings:
        # Without the vocabulary in force, which other context tokens would have encoded anew, maybe for nothing.
        segmenter = segmenter.with_settings(request.settings, follow=False)
    if prompts is None or prompts.vocabulary != request.vocabulary or not segmenter.fits(prompts):
        prompts = segmenter.encode(request.vocabulary)
    if last is None and segmenter.compiled:
        # Sizes that later prompts bring are compiled with the frames that need them, since nothing else may use the
        # model beside the stream.
        segmenter.warm_up(prompts)
    return LoadedConfiguration(request, segmenter, prompts, time.monotonic() - started)
