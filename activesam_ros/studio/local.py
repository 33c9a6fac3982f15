"""A studio on pictures of its own: one segmenter, whose work is kept from one edit to the next."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from activesam_ros.errors import ActiveSamError, ImageError
from activesam_ros.studio.findings import class_findings
from activesam_ros.studio.session import Probe, Scan, Session, View

if TYPE_CHECKING:
    from collections.abc import Mapping

    from activesam_ros.prompts.prompt_set import PromptSet
    from activesam_ros.results import SegmentationResult
    from activesam_ros.segmenter import ActiveSegmenter, KeptImage
    from activesam_ros.studio.document import Document
    from activesam_ros.studio.frames import Frames

logger = logging.getLogger(__name__)

_KEPT_IMAGES = 2
"""Number of pictures whose features stay in memory."""

_MOST_MAPS = 8
"""Number of score maps of classes that are not decoded otherwise."""


class LocalSession(Session):
    """A session that labels pictures itself; its thread owns the segmenter."""

    def __init__(self, segmenter: ActiveSegmenter, frames: Frames, document: Document) -> None:
        """Prepare for the first picture.

        Args:
            segmenter: of the model; used by this session alone from now on.
            frames: the pictures.
            document: the classes and settings at the beginning.

        Raises:
            VocabularyError: a prompt is longer than the model's context.
        """
        super().__init__(frames, document)
        segmenter.check(document.vocabulary)
        self._segmenter = segmenter
        self._kept: OrderedDict[int, KeptImage] = OrderedDict()
        self._prompts: PromptSet | None = None
        self._stages: dict[str, float] = {}
        self._ran: set[str] = set()

    def _check(self, document: Document) -> None:
        if document.vocabulary != self.document.vocabulary:
            self._segmenter.check(document.vocabulary)
        if document.configuration.settings != self.document.configuration.settings:
            self._segmenter.check_settings(document.configuration.settings)

    def _label(self) -> None:
        with self._lock:
            history, frame, before = self._history, self._frame, self.view
        document = history.now
        started = time.perf_counter()
        self._ran = set()
        if before and before.frame == frame and _asks_the_same(before.document, document):
            # Colours, or the order in which classes are listed.
            result = replace(before.result, vocabulary=document.vocabulary)
            spent: Mapping[str, float] = {}
        else:
            segmenter = self._prepared(document)
            kept = self._kept_image(frame)
            encoded = segmenter.encode_kept(kept)
            result = segmenter.decode(encoded, instances=False, score_maps=True)
            spent = result.timings
        self._stages.update((name, seconds) for name, seconds in spent.items() if name != "total")
        rgb = self._kept[frame].image if frame in self._kept else before.rgb if before else None
        assert rgb is not None
        self._ran.update(spent)
        view = View(
            number=(before.number if before else 0) + 1,
            document=document,
            frame=frame,
            rgb=rgb,
            result=result,
            findings=class_findings(document, result),
            timings={**self._stages, "total": time.perf_counter() - started},
            reused=frozenset(self._stages) - self._ran,
        )
        with self._lock:
            if before is None or not _asks_the_same(before.document, document):
                self.scan = Scan(len(self.frames))
                self._scanning = []
            self.maps = {}
            self._unmade = frozenset()
            self.view = view
            self._good = (history, frame)

    def _prepared(self, document: Document) -> ActiveSegmenter:
        """Return the segmenter with the settings and the prompts of a document."""
        settings = document.configuration.settings
        if settings != self._segmenter.settings:
            self._segmenter = self._segmenter.with_settings(settings, follow=False)
        prompts = self._prompts
        if prompts is None or prompts.vocabulary != document.vocabulary or not self._segmenter.fits(prompts):
            started = time.perf_counter()
            prompts = self._segmenter.encode(document.vocabulary)
            self._stages["prompts"] = time.perf_counter() - started
            self._ran.add("prompts")
            self._prompts = prompts
        self._segmenter.use(prompts)
        return self._segmenter

    def _kept_image(self, frame: int) -> KeptImage:
        kept = self._kept.pop(frame, None) or self._segmenter.keep(self.frames.read(frame))
        self._kept[frame] = kept
        while len(self._kept) > _KEPT_IMAGES:
            self._kept.popitem(last=False)
        return kept

    def _map(self, class_id: int) -> None:
        """Decode the prompts of one class of the view."""
        view = self.view
        if view is None or self._prompts is None or (view.number, class_id) in self.maps:
            return
        if view.document is not self.document:
            return  # its next view comes first
        key = (view.number, class_id)
        self._unmade |= {key}
        vocabulary = self._prompts.vocabulary
        owner = vocabulary.prompt_classes
        only = [prompt for prompt, index in enumerate(owner) if vocabulary.class_ids[index] == class_id]
        if not only:
            return
        result = self._decode_only(view.frame, self._prompts, only)
        assert result.score_maps is not None
        known = dict(list(self.maps.items())[1 - _MOST_MAPS :])
        self.maps = {**known, key: result.score_maps[0]}
        self._unmade -= {key}

    def _probe(self, phrase: str, view: View | None) -> None:
        """Ask the picture for one phrase beside the vocabulary."""
        if view is None:
            return
        started = time.perf_counter()
        try:
            document = view.document.added(phrase)
            self._segmenter.check(document.vocabulary)
            prompts = self._segmenter.encode(document.vocabulary)
            only = list(range(len(view.document.vocabulary.prompts), len(prompts)))
            result = self._decode_only(view.frame, prompts, only)
        except ActiveSamError as error:
            self.probe = Probe(phrase, view.frame, refused=str(error))
            return
        assert result.score_maps is not None and result.preview_presence is not None
        self.probe = Probe(
            phrase,
            view.frame,
            presence=max(result.prompt_presence or (0.0,)),
            preview=float(np.nanmax(result.preview_presence)),
            scores=result.score_maps.max(axis=0),
            seconds=time.perf_counter() - started,
        )

    def _decode_only(self, frame: int, prompts: PromptSet, only: list[int]) -> SegmentationResult:
        encoded = self._segmenter.encode_kept(self._kept_image(frame), prompts, only)
        return self._segmenter.decode(encoded, instances=False, score_maps=True)

    def _scan_one(self) -> None:
        """Label one picture for the scan."""
        with self._lock:
            if not self._scanning:
                return
            index = self._scanning[0]
            scan, document = self.scan, self.document
        segmenter = self._prepared(document)
        presence: dict[int, float] = {}
        shares: dict[int, float] = {}
        try:
            kept = self._kept.get(index) or segmenter.keep(self.frames.read(index))
            result = segmenter.decode(segmenter.encode_kept(kept), instances=False)
        except ImageError:
            logger.debug("picture %d is left out of the scan", index, exc_info=True)
        else:
            presence = {one.class_id: one.presence for one in result.active}
            shares = {one.class_id: (one.pixels or 0) / result.labels.size for one in result.active}
        with self._lock:
            if scan is self.scan and self._scanning[:1] == [index]:
                self._scanning = self._scanning[1:]
                self.scan = Scan(
                    scan.total, {**scan.presence, index: presence}, {**scan.shares, index: shares}
                )


def _asks_the_same(one: Document, other: Document) -> bool:
    """Return whether two documents give the same labels: they differ in colours at most."""
    first, second = one.vocabulary, other.vocabulary
    return (
        one.configuration.settings == other.configuration.settings
        and first.prompts == second.prompts
        and first.prompt_classes == second.prompt_classes
        and first.class_ids == second.class_ids
        and first.background_id == second.background_id
    )
