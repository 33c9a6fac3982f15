"""Turning wanted parameters into a segmenter with prompts, reusing whatever did not change."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from activesam_ros.prompts.prompt_set import PromptSet
    from activesam_ros.prompts.text_encoder import EncodingReport
    from activesam_ros.ros.parameters import Wanted
    from activesam_ros.segmenter import ActiveSegmenter
    from activesam_ros.settings import SegmenterSettings
    from activesam_ros.vocabulary import Vocabulary


@dataclass(frozen=True)
class Prepared:
    """A segmenter with the wanted settings, and the encoded prompts that it shall use next."""

    wanted: Wanted
    segmenter: ActiveSegmenter
    prompts: PromptSet
    seconds: float


@dataclass(frozen=True)
class Served:
    """What frames are labelled with until the next swap.

    `revision` is that of the vocabulary, `report` what encoding its prompts took.
    """

    segmenter: ActiveSegmenter
    vocabulary: Vocabulary
    revision: int
    report: EncodingReport


class Preparer:
    """Prepares one `Wanted` after the other; one thread at a time."""

    def __init__(self, segmenter: ActiveSegmenter, clock: Callable[[], float]) -> None:
        self._base = segmenter
        self._clock = clock
        self._last: Prepared | None = None

    @property
    def last(self) -> Prepared | None:
        """The last one that could be prepared; None before the first."""
        return self._last

    def check(self, wanted: Wanted) -> None:
        """Whether the model can serve `wanted`, as far as that is known without encoding; for any thread.

        Raises:
            SettingsError: a resolution does not fit the model.
            VocabularyError: a prompt is too long for the model.
        """
        last = self._last.wanted if self._last else None
        if last is None or wanted.settings != last.settings:
            self._check_resolutions(wanted.settings)
        if last is None or wanted.vocabulary != last.vocabulary:
            self._base.check(wanted.vocabulary)

    def _check_resolutions(self, settings: SegmenterSettings) -> None:
        now = self._base.settings
        resolutions = replace(
            now, full_resolution=settings.full_resolution, preview_resolution=settings.preview_resolution
        )
        if resolutions != now:
            self._base.with_settings(resolutions)

    def __call__(self, wanted: Wanted) -> Prepared:
        """Raises ActiveSamError if the settings or the vocabulary do not fit the model."""
        started = self._clock()
        last = self._last
        segmenter = last.segmenter if last else self._base
        if wanted.settings != segmenter.settings:
            segmenter = segmenter.with_settings(wanted.settings)
        for prompts in (last.prompts if last else None, segmenter.prompts):
            if prompts is not None and prompts.vocabulary == wanted.vocabulary and segmenter.fits(prompts):
                break
        else:
            prompts = segmenter.encode(wanted.vocabulary)
        if last is None and segmenter.compiled:
            # Later words may bring sizes of their own; those are compiled with the frames that need them, since
            # nothing else may use the model beside the stream.
            segmenter.warm_up(prompts)
        self._last = Prepared(wanted, segmenter, prompts, self._clock() - started)
        return self._last


def swap(prepared: Prepared) -> Served:
    """Bring `prepared` into force; only between two frames, by the thread that owns the segmenter."""
    prepared.segmenter.use(prepared.prompts)
    wanted = prepared.wanted
    return Served(prepared.segmenter, wanted.vocabulary, wanted.revision, prepared.prompts.report)
