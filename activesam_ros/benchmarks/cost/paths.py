"""One path of the model in a process of its own: it labels images and tells what that took."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from activesam_ros.errors import ModelError
from activesam_ros.model.compiling import keep_compiled, torch_compiler
from activesam_ros.model.fused.heads import FusedPromptHeads
from activesam_ros.model.prompt_heads import PromptHeads, PromptTokens
from activesam_ros.prompts.hypernyms import TableHypernyms
from activesam_ros.segmenter import ActiveSegmenter, StreamMemory
from activesam_ros.settings import PROFILES, SegmenterSettings
from activesam_ros.system.machine import machine
from activesam_ros.system.memory import memory, release_memory
from activesam_ros.vocabulary import Vocabulary

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from activesam_ros.stages.decoding import EncodedImage

_RESET_PEAK = "5"
_CLEAR_REFS = Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class PathSpec:
    """A way to run the model.

    Attributes:
        name: in tables.
        plain: transformers' own modules, as published; otherwise the lean path.
        profile: settings, by the name of the profile.
        dtype: another precision than the one that was asked for; None: that one.
        compiled: whether torch compiles its large parts.
    """

    name: str
    plain: bool = False
    profile: str = "paper"
    dtype: str | None = None
    compiled: bool = False


PATHS = {
    path.name: path
    for path in (
        PathSpec("plain", plain=True),
        PathSpec("lean"),
        PathSpec("realtime", profile="realtime"),
        PathSpec("bfloat16", dtype="bfloat16"),
        PathSpec("compiled", compiled=True),
    )
}
"""What can be measured. All but the first share what prompts have in common."""


@dataclass(frozen=True)
class Loaded:
    """A path that is ready.

    Attributes:
        machine: on what it runs.
        device: such as "cpu" or "cuda:0", with the name of a GPU.
        dtype: precision of the matrix products.
        full_resolution, preview_resolution: in pixels.
        weights: bytes in memory with the weights and the encoded words: resident, or allocated on a GPU.
    """

    machine: str
    device: str
    dtype: str
    full_resolution: int
    preview_resolution: int
    weights: int


@dataclass(frozen=True, eq=False)
class Run:
    """One image.

    Attributes:
        seconds: by stage, and "total".
        gpu_seconds: between the first and the last operation on the GPU; None on a CPU.
        peak: most bytes above the weights while it was labelled; None: the system does not tell.
        labels: uint8 or uint16 [H, W].
        active_prompts: which prompts were decoded.
        instances: how many masks each of them kept.
    """

    seconds: dict[str, float]
    gpu_seconds: float | None
    peak: int | None
    labels: np.ndarray
    active_prompts: tuple[int, ...]
    instances: tuple[int, ...]


class MeasuredPath:
    """A segmenter that is measured; meaningful in a process of its own only."""

    def __init__(
        self,
        path: PathSpec,
        model: str,
        device: str,
        dtype: str,
        names: Sequence[str],
        prompt_cache: Path | None,
    ) -> None:
        """Args:
            path: how to run it.
            model, device, dtype: as for `load_checkpoint`.
            names: the vocabulary.
            prompt_cache: its folder; with all words in it the text encoder is not loaded. None: in memory only.

        Raises:
            ModelError: the model cannot be loaded.
        """
        if path.compiled:
            keep_compiled()
        settings = SegmenterSettings(**PROFILES[path.profile])
        self._segmenter = ActiveSegmenter.from_pretrained(
            model,
            device,
            path.dtype or dtype,
            settings,
            TableHypernyms.shipped(),
            prompt_cache=prompt_cache,
            plain=path.plain,
            compiler=torch_compiler() if path.compiled else None,
        )
        self._segmenter.set_vocabulary(Vocabulary.from_names(names))
        if path.compiled:
            self._segmenter.warm_up(self._segmenter.prompts)
        self._stream = StreamMemory() if settings.reuses_frames else None
        # Weights that are mapped from a file are resident once they were read.
        for weight in self._segmenter.checkpoint.model.parameters():
            weight.abs().max()
        release_memory()
        self._weights = self._in_use()

    def loaded(self) -> Loaded:
        """What was loaded, before the first image."""
        segmenter = self._segmenter
        device = segmenter.device
        if self._on_gpu:
            device += f" ({torch.cuda.get_device_name(segmenter.checkpoint.device)})"
        return Loaded(
            machine(torch.get_num_threads()),
            device,
            segmenter.dtype,
            segmenter.full_resolution,
            segmenter.preview_resolution,
            self._weights,
        )

    def threshold_for(self, rgb: np.ndarray, masks: int) -> float:
        """The confidence threshold at which the active prompts of an image keep so many masks each, on average.

        Args:
            rgb: uint8 [H, W, 3].
            masks: how many.

        Raises:
            ModelError: the prompts have fewer instances than that.
        """
        segmenter = self._segmenter
        with torch.inference_mode():
            (image,) = segmenter.encode_images([rgb])
            heads = (PromptHeads if segmenter.plain else FusedPromptHeads)(segmenter.checkpoint)
            scores = torch.cat([_scores(heads, image, query) for query in image.active])
        wanted = masks * len(image.active)
        if len(scores) <= wanted:
            raise ModelError(f"prompts have {len(scores)} instances in all; expected more than {wanted}")
        best = scores.sort(descending=True).values
        return float((best[wanted - 1] + best[wanted]) / 2)

    def use_threshold(self, threshold: float) -> None:
        """Has another confidence threshold from now on; a video begins anew."""
        settings = replace(self._segmenter.settings, confidence_threshold=threshold)
        self._segmenter = self._segmenter.with_settings(settings)
        self._stream = StreamMemory() if settings.reuses_frames else None

    def run(self, rgb: np.ndarray) -> Run:
        """Labels uint8 [H, W, 3]; raises as `ActiveSegmenter.segment`."""
        release_memory()
        known = self._reset_peak()
        begin, end = self._events()
        result = self._segmenter.segment(rgb, self._stream)
        gpu_seconds = None
        if begin is not None:
            end.record()
            end.synchronize()
            gpu_seconds = begin.elapsed_time(end) / 1000
        return Run(
            dict(result.timings),
            gpu_seconds,
            max(0, self._peak() - self._weights) if known else None,
            result.labels,
            result.active_prompts,
            result.instances,
        )

    @property
    def _on_gpu(self) -> bool:
        return self._segmenter.checkpoint.device.type == "cuda"

    def _events(self):
        if not self._on_gpu:
            return None, None
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        return begin, end

    def _in_use(self) -> int:
        if self._on_gpu:
            return torch.cuda.memory_allocated(self._segmenter.checkpoint.device)
        return memory().resident

    def _reset_peak(self) -> bool:
        """Forgets the peak so far; False if the system does not allow it."""
        if self._on_gpu:
            torch.cuda.reset_peak_memory_stats(self._segmenter.checkpoint.device)
            return True
        try:
            _CLEAR_REFS.write_text(_RESET_PEAK)
        except OSError:
            return False
        return True

    def _peak(self) -> int:
        if self._on_gpu:
            return torch.cuda.max_memory_allocated(self._segmenter.checkpoint.device)
        return memory().peak


def _scores(heads: PromptHeads | FusedPromptHeads, image: EncodedImage, query: int) -> torch.Tensor:
    """Scores of all instances of a prompt."""
    prompts, one = image.prompts, [query]
    tokens = PromptTokens(
        torch.cat([prompts.text[one], prompts.context.tokens[one]], dim=1),
        torch.cat([prompts.text_valid[one], prompts.context.valid[one]], dim=1),
    )
    (answer,) = heads.decode(image.features, tokens, 0.0)
    return answer.instance_scores.float()
