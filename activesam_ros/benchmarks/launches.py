"""Count what a GPU would be told to do for an image: kernels to launch, and how often the host waits for it.

The segmenter itself runs, on torch's meta device, which computes nothing: no weights, no GPU and little time are
needed.
Where the host reads numbers of the device, which decide what happens next, it reads assumed ones.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from activesam_ros.benchmarks.work import Assumptions
from activesam_ros.evaluation.report.formatting import markdown_table
from activesam_ros.model.checkpoint import Checkpoint
from activesam_ros.model.compiling import Compiler
from activesam_ros.model.cuda_graphs import each_tensor
from activesam_ros.model.folder import resolve_folder
from activesam_ros.prompts.prompt_set import ContextTokens, PromptSet
from activesam_ros.prompts.text_encoder import EncodingReport
from activesam_ros.segmenter import ActiveSegmenter
from activesam_ros.settings import settings_for
from activesam_ros.stages.temporal_reuse import StreamMemory
from activesam_ros.vocabulary import Vocabulary

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

PROFILES = ("paper", "fast", "realtime")
STAGES = ("prepare", "preview", "encode", "decode", "fuse")

_DEVICE = "meta"
_CONTEXT_TOKENS = 4
_PRESENT, _UNCERTAIN, _ABSENT = 0.95, 0.3, 1e-4

_aten = torch.ops.aten
_WHOLE = {
    _aten.linear.default,
    _aten.scaled_dot_product_attention.default,
    _aten.layer_norm.default,
    _aten.group_norm.default,
    _aten.conv2d.default,
    _aten.conv_transpose2d.input,
    _aten.matmul.default,
    _aten.einsum.default,
    _aten.upsample_bilinear2d.vec,
    _aten.softmax.int,
    _aten.pad.default,
    _aten.repeat_interleave.self_int,
}
"""Operations of one kernel (einsum: of few) that torch would take apart on this device."""

_WITHOUT_KERNEL = {
    _aten.empty,
    _aten.empty_like,
    _aten.empty_strided,
    _aten.new_empty,
    _aten.new_empty_strided,
    _aten.detach_,
    _aten._unsafe_view,
}


@dataclass
class StageLaunches:
    """What one stage of an image makes the device and the host do.

    Attributes:
        kernels: operations that compute or copy on the device.
        copies: copies between host and device.
        waits: how often the host waits until the device has done all that it was told.
    """

    kernels: int = 0
    copies: int = 0
    waits: int = 0


@dataclass
class FrameLaunches:
    """The counts of one image by stage, and which operations they are."""

    stages: dict[str, StageLaunches] = field(default_factory=dict)
    operations: dict[str, int] = field(default_factory=dict)
    waits_for: list[str] = field(default_factory=list)

    @property
    def kernels(self) -> int:
        """Of all stages."""
        return sum(one.kernels for one in self.stages.values())

    @property
    def waits(self) -> int:
        """Of all stages."""
        return sum(one.waits for one in self.stages.values())


class LaunchCounter(TorchDispatchMode):
    """Counts the operations on tensors of the meta device as if it were a GPU.

    Every operation is one kernel, unless it is a view. A blocking copy in either direction is a wait, as is a number
    that is read, and an index by a mask or by a Python list; copies to the host that do not block wait once together,
    when the host goes on to compute.
    """

    def __init__(self, numbers: Callable[[str, torch.Tensor], torch.Tensor]) -> None:
        """Create a counter.

        Args:
            numbers: what the host reads of a tensor of the device, by the stage and the tensor.
        """
        super().__init__()
        self.frame = FrameLaunches()
        self._numbers = numbers
        self._stack: list[str] = []
        self._reading = False

    def __torch_dispatch__(
        self, operation: Any, types: Any, arguments: Any = (), named: Mapping[str, Any] | None = None
    ) -> Any:
        """Count an operation, and run it."""
        named = dict(named or {})
        if operation is torch.ops.profiler._record_function_enter_new.default:
            self._stack.append(arguments[0])
        elif operation is torch.ops.profiler._record_function_exit._RecordFunction:
            self._stack.pop()
        given = _tensors((arguments, named))
        target = torch.device(named["device"]) if named.get("device") is not None else None
        on_device = any(one.device.type == _DEVICE for one in given)
        if target is not None and given and target.type != given[0].device.type:
            return self._transfer(operation, given[0], target, named)
        if not on_device and (target is None or target.type != _DEVICE):
            return operation(*arguments, **named)
        if operation in (_aten.item.default, _aten._local_scalar_dense.default, _aten.is_nonzero.default):
            self._wait(operation)
            return self._numbers(self._stage, given[0]).item()
        if operation is _aten.detach_.default:
            # torch.tensor(numbers, device=...) makes its tensor on the host.
            self._of_stage.copies += 1
            self._wait(operation)
        if operation is _aten.index.Tensor:
            return self._indexed(operation, *arguments)
        if operation not in _WHOLE:
            with self:
                parts = operation.decompose(*arguments, **named)
            if parts is not NotImplemented:
                return parts
        if not _is_view(operation) and operation.overloadpacket not in _WITHOUT_KERNEL:
            self._of_stage.kernels += 1
            name = f"{self._stage}: {operation}"
            self.frame.operations[name] = self.frame.operations.get(name, 0) + 1
            self._reading = False
        return operation(*arguments, **named)

    @property
    def _stage(self) -> str:
        return self._stack[-1] if self._stack else "other"

    @property
    def _of_stage(self) -> StageLaunches:
        return self.frame.stages.setdefault(self._stage, StageLaunches())

    def _wait(self, operation: Any) -> None:
        self._of_stage.waits += 1
        self.frame.waits_for.append(f"{self._stage}: {operation}")

    def _transfer(
        self, operation: Any, tensor: torch.Tensor, target: torch.device, named: Mapping[str, Any]
    ) -> torch.Tensor:
        """Copy a tensor to the host, or to the device."""
        dtype = named.get("dtype") or tensor.dtype
        self._of_stage.copies += 1
        if target.type == _DEVICE:
            if not named.get("non_blocking"):
                self._wait(operation)
            return torch.empty(tensor.shape, dtype=dtype, device=target)
        if not (named.get("non_blocking") and self._reading):
            self._wait(operation)
        self._reading = bool(named.get("non_blocking"))
        return self._numbers(self._stage, tensor).to(dtype)

    def _indexed(self, operation: Any, tensor: torch.Tensor, indices: Sequence[Any]) -> torch.Tensor:
        self._wait(operation)
        self._of_stage.kernels += 1
        (place,) = [place for place, one in enumerate(indices) if one is not None]
        chosen = indices[place]
        count = len(chosen)
        if chosen.dtype is torch.bool:
            count = int(self._numbers(self._stage, chosen).sum())
        return tensor.new_empty((*tensor.shape[:place], count, *tensor.shape[place + chosen.dim() :]))


def _tensors(given: Any) -> list[torch.Tensor]:
    if isinstance(given, torch.Tensor):
        return [given]
    if isinstance(given, dict):
        given = given.values()
    elif not isinstance(given, list | tuple):
        return []
    return [tensor for one in given for tensor in _tensors(one)]


def _is_view(operation: Any) -> bool:
    returned = [one.alias_info for one in operation._schema.returns]
    return any(alias is not None and not alias.is_write for alias in returned)


class _AssumedNumbers:
    """What the host reads of the device: presence, and scores of instances, as `Assumptions` has them."""

    def __init__(self, inputs: Assumptions, prompts: int) -> None:
        self._inputs = inputs
        self._prompts = prompts
        self._scored = self._decoded = 0

    def __call__(self, stage: str, tensor: torch.Tensor) -> torch.Tensor:
        """Make the numbers of a tensor of the device."""
        made = torch.zeros(tensor.shape, dtype=tensor.dtype)
        if tensor.dtype is torch.bool and not tensor.dim():
            return made.fill_(True)
        if stage == "preview" and tensor.dtype is torch.int64:
            # Which prompts were scored on the finer map before the host knew which are uncertain.
            return made + torch.arange(len(made)) + self._inputs.shown
        if stage == "preview" and tensor.dim() == 1:
            return self._presence(made)
        if stage == "decode" and tensor.dim() == 2 and tensor.dtype is not torch.bool:
            # Presence of each decoded prompt, and which of its instances are kept.
            made[: self._inputs.shown, 0] = _PRESENT
            made[:, 1 : 1 + self._inputs.kept] = 1
        elif stage == "decode" and tensor.dtype is torch.bool:
            made[..., : self._inputs.kept] = True
        elif stage in ("decode", "fuse") and not tensor.dim():
            # Presence of one prompt after the other.
            made.fill_(_PRESENT if self._decoded < self._inputs.shown else _ABSENT)
            self._decoded += 1
        return made

    def _presence(self, made: torch.Tensor) -> torch.Tensor:
        """Presence of the prompts that are asked: on the first map of a frame some are uncertain."""
        count = len(made)
        made += torch.linspace(_ABSENT, _ABSENT / 4, count)
        shown = self._inputs.shown if count == self._prompts else 0
        if not self._scored:
            uncertain = int(np.ceil(self._inputs.uncertain * count))
            made[shown : shown + uncertain] = torch.linspace(_UNCERTAIN, _UNCERTAIN / 2, uncertain)
            made[:shown] = torch.linspace(_PRESENT, 0.9, shown)
        self._scored += 1
        return made


@dataclass(frozen=True)
class ProfileLaunches:
    """The counts of a profile on a model; of a stream, `frame` is the first one.

    Attributes:
        graphs: whether parts of the model are CUDA graphs, each of which the host launches as a whole.
        later: a later frame of a stream, whose prompts are scored in turns; None: a single image.
    """

    model: str
    profile: str
    graphs: bool
    frame: FrameLaunches
    later: FrameLaunches | None


def count_launches(
    model: str,
    say: Callable[[str], None],
    profiles: Sequence[str] = PROFILES,
    classes: int = 150,
    size: tuple[int, int] = (1280, 720),
    inputs: Assumptions | None = None,
    instances: bool = False,
    graphs: bool = False,
) -> list[ProfileLaunches]:
    """Count every profile.

    Args:
        model: "published" for SAM 3's architecture, or as for `load_checkpoint`, of which the configuration is read.
        say: reports progress.
        profiles: names of profiles.
        classes: of the vocabulary, one prompt each.
        size: width and height of the images.
        inputs: what is assumed.
        instances: whether instances are asked for, too.
        graphs: whether parts of the model are CUDA graphs.

    Raises:
        ModelError: there is no such model.
    """
    inputs = inputs or Assumptions()
    checkpoint = meta_checkpoint(model)
    rgb = np.zeros((size[1], size[0], 3), np.uint8)
    found = []
    for profile in profiles:
        say(f"counting {profile} on the model {model}")
        settings = settings_for(profile, {})
        segmenter = ActiveSegmenter(
            checkpoint,
            settings,
            hypernyms=lambda _: (),
            prompt_cache=None,
            compiler=Compiler(_as_graph) if graphs else None,
        )
        segmenter.use(_prompts(segmenter, classes, inputs))
        memory = StreamMemory() if settings.reuses_frames else None
        # A frame before pays for what is computed once per process.
        _count(segmenter, rgb, memory, inputs, instances)
        if memory is None:
            frames = [_count(segmenter, rgb, None, inputs, instances)]
        else:
            memory.forget()
            # Prompts that were active only because of the first frame have left by then.
            frames = [
                _count(segmenter, rgb, memory, inputs, instances) for _ in range(2 + settings.leave_after)
            ]
        found.append(ProfileLaunches(model, profile, graphs, frames[0], frames[-1] if memory else None))
    return found


def _as_graph(function: Any) -> Any:
    """Stand in for a captured function: a copy of each input, one launch, and a copy of each result."""

    def call(*given: Any) -> Any:
        inputs = each_tensor(given, torch.clone)
        torch.zeros(1, device=_DEVICE)  # the launch
        with _disable_current_modes():
            results = function(*inputs)
        return each_tensor(results, torch.clone)

    return call


def _count(
    segmenter: ActiveSegmenter,
    rgb: np.ndarray,
    memory: StreamMemory | None,
    inputs: Assumptions,
    instances: bool,
) -> FrameLaunches:
    assert segmenter.prompts is not None
    counter = LaunchCounter(_AssumedNumbers(inputs, len(segmenter.prompts)))
    with counter:
        segmenter.segment(rgb, memory, instances)
    return counter.frame


def meta_checkpoint(model: str) -> Checkpoint:
    """Make a model without memory: "published" for SAM 3's architecture, or as for `load_checkpoint`."""
    from transformers import Sam3Config

    from activesam_ros.model.parts import Sam3WithoutText

    folder = Path() if model == "published" else resolve_folder(model)
    config = Sam3Config() if model == "published" else Sam3Config.from_pretrained(folder)
    with torch.device(_DEVICE):
        network = Sam3WithoutText(config).eval().requires_grad_(False)
    half = (0.5, 0.5, 0.5)
    return Checkpoint(
        None, config, {}, model, folder, network, half, half, torch.device(_DEVICE), torch.float32
    )


def _prompts(segmenter: ActiveSegmenter, classes: int, inputs: Assumptions) -> PromptSet:
    vocabulary = Vocabulary.from_names([f"class {number}" for number in range(classes)])
    size, _ = segmenter.checkpoint.embedding_sizes
    own = inputs.tokens - _CONTEXT_TOKENS - 1
    with torch.device(_DEVICE):
        return PromptSet(
            vocabulary,
            vocabulary.prompts,
            torch.empty(classes, own, size),
            torch.empty(classes, own, dtype=torch.bool),
            ContextTokens(
                torch.empty(classes, _CONTEXT_TOKENS, size),
                torch.empty(classes, _CONTEXT_TOKENS, dtype=torch.bool),
            ),
            segmenter.settings.neighbor_tokens,
            segmenter.settings.hypernym_tokens,
            EncodingReport(0, 0, 0.0),
        )


def to_markdown(found: Sequence[ProfileLaunches], classes: int, size: tuple[int, int]) -> str:
    """Format the counts as a table."""
    rows = []
    for one in found:
        frames = [("", one.frame)]
        if one.later:
            frames = [(", first frame", one.frame), (", later frame", one.later)]
        for which, frame in frames:
            kernels = [str(frame.stages[stage].kernels) if stage in frame.stages else "" for stage in STAGES]
            by = " with graphs" if one.graphs else ""
            rows.append(
                [f"{one.model}, `{one.profile}`{by}{which}", *kernels, str(frame.kernels), str(frame.waits)]
            )
    header = ["model, profile", *STAGES, "kernels", "waits"]
    return (
        f"Kernels that an image of {size[0]}x{size[1]} with {classes} classes launches on a GPU, by stage, and how "
        "often the host waits for the device. Counted without a GPU, in float32: an operation is one kernel, as is a "
        "CUDA graph.\n\n" + markdown_table(header, rows) + "\n"
    )
