"""Label the images of one stream, one after another, as the node does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from activesam_ros.stages.association import IdCounter
from activesam_ros.stages.temporal_reuse import StreamMemory

if TYPE_CHECKING:
    import numpy as np

    from activesam_ros.prompts.prompt_set import PromptSet
    from activesam_ros.results import SegmentationResult
    from activesam_ros.settings import SegmenterSettings


class Segmenter(Protocol):
    """What labels an image: an `ActiveSegmenter`, or a method that an evaluation compares it with."""

    @property
    def settings(self) -> SegmenterSettings:
        """Return those in force."""
        ...

    @property
    def prompts(self) -> PromptSet | None:
        """Return those of the vocabulary in force; None without one."""
        ...

    def segment(
        self, rgb: np.ndarray, memory: StreamMemory | None = None, instances: bool = True
    ) -> SegmentationResult:
        """Label an image, as `ActiveSegmenter.segment`."""
        ...


class StreamLabeller:
    """Labels the images of one camera in order; with temporal reuse, in the light of those before."""

    def __init__(self, segmenter: Segmenter, identities: bool = False) -> None:
        """Begin without images; `identities`: things keep their ids from image to image."""
        self._segmenter = segmenter
        self._identities = identities
        self._memory: StreamMemory | None = None
        if segmenter.settings.reuses_frames or identities:
            self._memory = StreamMemory(IdCounter() if identities else None)

    def restore(self, state: dict[str, Any] | None) -> None:
        """Go on after the image that `state` was kept after.

        Raises:
            ValueError, KeyError, TypeError: the state is damaged, or of another vocabulary.
        """
        if self._segmenter.prompts is None:
            raise ValueError("no vocabulary is set")
        prompts = self._segmenter.prompts.vocabulary.prompts
        self._memory = StreamMemory.restored(state, prompts, self._segmenter.settings)

    @property
    def remembers(self) -> bool:
        """Whether results depend on the images before."""
        return self._memory is not None

    @property
    def state(self) -> dict[str, Any] | None:
        """What is remembered, for `restore`; None: nothing."""
        return None if self._memory is None else self._memory.state()

    def label(self, rgb: np.ndarray, stamp: int, instances: bool = False) -> SegmentationResult:
        """Label the next image, as `ActiveSegmenter.segment`.

        Args:
            rgb: uint8 [H, W, 3].
            stamp: when it was taken, nanoseconds.
            instances: whether the result tells instances; with identities it does.
        """
        if self._memory is not None:
            self._memory.at(stamp)
        return self._segmenter.segment(rgb, self._memory, instances=instances or self._identities)
