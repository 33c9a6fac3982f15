"""From a call to its labels: words of its own are encoded aside, the image is labelled in the worker's thread."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING

from activesam_ros.errors import ImageError, VocabularyError, describe
from activesam_ros.images.raw import image_to_rgb
from activesam_ros.ros.calls import Answer, Call, CallQueue, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from activesam_ros.prompts.prompt_set import PromptSet
    from activesam_ros.ros.vocabulary_loader import LoadedVocabulary
    from activesam_ros.segmenter import ActiveSegmenter
    from activesam_ros.settings import SegmenterSettings

_REFUSALS = (ImageError, VocabularyError)


class CallAnswering:
    """Answers calls with one model; never raises for a call's sake."""

    def __init__(
        self,
        calls: CallQueue,
        current: Callable[[], ActiveSegmenter | None],
        ready: Callable[[], None],
        failed: Callable[[str], None],
    ) -> None:
        """Args:
        calls: where they come from, and are ended.
        current: gives the segmenter that frames are labelled with; None: there is none any more. In either thread.
        ready: the turn of one more can come; called in the encoding thread.
        failed: told, in one sentence, why a call failed by a fault; in either thread.
        """
        self._calls = calls
        self._current = current
        self._tell_ready = ready
        self._tell_failed = failed
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False
        # A second segmenter over the same weights, so that the stream's own keeps its words; worker's thread.
        self._aside: tuple[ActiveSegmenter, ActiveSegmenter] | None = None

    def prepare(self) -> None:
        """Have the words of the calls that wait encoded, one call after the other; returns at once."""
        with self._changed:
            if self._closed or self._thread is not None:
                return  # The one that runs looks again before it ends.
            # A daemon: encoding cannot be interrupted, and the process must be able to end meanwhile.
            self._thread = threading.Thread(
                target=self._encode_all, name="activesam-encode-calls", daemon=True
            )
            self._thread.start()

    def __call__(self, call: Call, prompts: PromptSet | None, served: LoadedVocabulary) -> None:
        """Label the image of a call, or have its words encoded again and leave it waiting; worker's thread.

        Args:
            call: in work.
            prompts: of its own words; None: it has none.
            served: what frames are labelled with, which stays so.
        """
        if prompts is not None and not served.segmenter.fits(prompts):
            # The number of context tokens was changed meanwhile. Encoding here would hold up the stream.
            self._calls.put_back(call)
            self.prepare()
            return
        try:
            answer = self._labelled(call, prompts, served)
        except Exception as error:  # one call must not take the node down
            answer = self._refusal(error)
        self._calls.end(call, answer)

    def close(self) -> None:
        """Encode no more; what is being encoded ends by itself, without effect."""
        with self._changed:
            self._closed = True

    def join(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds for the encoding thread, and let go of the model; whether it has ended."""
        with self._changed:
            ended = self._changed.wait_for(lambda: self._thread is None, timeout)
        if ended:
            self._aside = None
        return ended

    def _encode_all(self) -> None:
        while True:
            # Words of a call that has waited for too long are nobody's any more.
            self._calls.expire()
            with self._changed:
                # Asked anew for each call, since settings may change while words are encoded.
                segmenter = None if self._closed else self._current()
                call = None if segmenter is None else self._calls.unprepared()
                if call is None:
                    # In the same breath, so that no call slips in between the last look and the end.
                    self._thread = None
                    self._changed.notify_all()
                    return
            try:
                prompts = segmenter.encode(call.asked.vocabulary)
            except Exception as error:  # whatever the model raises is the caller's to know
                self._calls.end(call, self._refusal(error))
            else:
                self._calls.prepared(call, prompts)
                self._tell_ready()
            del segmenter  # Its memory must be free as soon as another one takes its place.

    def _labelled(self, call: Call, prompts: PromptSet | None, served: LoadedVocabulary) -> Answer:
        asked = call.asked
        settings = replace(served.segmenter.settings, **asked.thresholds)
        rgb = image_to_rgb(asked.image, settings.max_pixels)
        if prompts is None and settings == served.segmenter.settings:
            return Answer(Outcome.LABELLED, result=served.segmenter.segment(rgb), revision=served.revision)
        segmenter = self._beside(served.segmenter, settings)
        revision = 0
        if prompts is None:
            prompts, revision = served.segmenter.prompts, served.revision
        segmenter.use(prompts)
        return Answer(Outcome.LABELLED, result=segmenter.segment(rgb), revision=revision)

    def _beside(self, segmenter: ActiveSegmenter, settings: SegmenterSettings) -> ActiveSegmenter:
        if self._aside is None or self._aside[0] is not segmenter or self._aside[1].settings != settings:
            self._aside = (segmenter, segmenter.with_settings(settings))
        return self._aside[1]

    def _refusal(self, error: Exception) -> Answer:
        if isinstance(error, _REFUSALS):
            return Answer(Outcome.REFUSED, str(error))
        sentence = describe(error)
        self._tell_failed(f"a call failed: {sentence}")
        return Answer(Outcome.FAILED, sentence)
