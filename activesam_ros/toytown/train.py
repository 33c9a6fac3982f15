"""Training of the demo model on a CPU.

Two stages. Dense pre-training teaches the image and text encoders to agree pixel by pixel; then SAM 3's losses train
the whole network on prompts that are present and prompts that are not. Training can be stopped and resumed at any
step: ``state.pt`` holds everything, and each batch depends on the seed and the step's number alone. With a goal in
steps instead of minutes the result does not depend on the machine's speed.
"""

from __future__ import annotations

import math
import time
from collections import deque
from copy import deepcopy
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import cv2
import numpy as np
import torch
from torch import Tensor, multiprocessing, nn
from tqdm import tqdm
from transformers import CLIPTokenizer, Sam3Model

from activesam_ros.system.machine import ignoring_interrupts
from activesam_ros.toytown.examples import Batch, Sampler, load_or_render
from activesam_ros.toytown.network import make_model, save
from activesam_ros.toytown.objective import DENSE, PARTS, Objective, Plan, TrainSettings, draw, plan

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType


class Trainer:
    """The network, its moving average, the optimisers and the step count, saved and restored as a whole."""

    def __init__(self, model: Sam3Model, tokenizer: CLIPTokenizer, settings: TrainSettings) -> None:
        self.model, self.tokenizer, self.settings = model.train(), tokenizer, settings
        self.average = deepcopy(model).eval()
        self.objective = Objective(model, settings.seed)
        self.dense_head = self.objective.dense_head
        self.step, self.seconds, self.second_stage_step = 0, 0.0, -1
        matrices: list[nn.Parameter] = []
        rest = list(self.dense_head.parameters())
        for name, parameter in model.named_parameters():
            table = any(part in name for part in ("embed", "reference", "presence_token"))
            (matrices if parameter.ndim == 2 and "layers" in name and not table else rest).append(parameter)
        self.matrix_optimizer = torch.optim.Muon(
            matrices, lr=settings.matrix_rate, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"
        )
        self.optimizer = torch.optim.AdamW(rest, lr=settings.rate, betas=(0.9, 0.98), weight_decay=0.01)

    @property
    def progress(self) -> float:
        """Progress towards the goal, 0..1."""
        return self._progress(self.step)

    def plan(self, ahead: int = 0) -> Plan:
        """Return the plan of the next step, or of the one ``ahead`` of it (by the progress known now)."""
        return plan(self.settings, self.step + ahead, self._progress(self.step + ahead))

    def _progress(self, step: int) -> float:
        if self.settings.steps is not None:
            return step / self.settings.steps
        return self.seconds / (60 * (self.settings.minutes or 0.0))

    def update(self, chosen: Plan) -> None:
        """Update the parameters with their gradients."""
        self._set_rates(chosen)
        norm = nn.utils.clip_grad_norm_([p for p in self.model.parameters() if p.grad is not None], 1.0)
        if not torch.isfinite(norm):
            raise RuntimeError(
                f"training diverged at step {self.step}: the gradient is not finite; resume from the "
                "last saved state with a lower rate"
            )
        for optimizer in (self.optimizer, self.matrix_optimizer):
            optimizer.step()
        self.step += 1
        keep = min(self.settings.average, (1 + self.step) / (20 + self.step))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.model.parameters()), 1 - keep)

    def _set_rates(self, chosen: Plan) -> None:
        settings, progress = self.settings, self.progress
        if chosen.stage == DENSE:
            share = progress / settings.dense_share
            scale = min(1.0, (self.step + 1) / 80) * (1 if share < 0.6 else max(0.1, (1 - share) / 0.4))
            matrix_rate = settings.dense_matrix_rate
        else:
            if self.second_stage_step < 0:
                self.second_stage_step = self.step
            share = min(1.0, (progress - settings.dense_share) / (1 - settings.dense_share))
            scale = min(1.0, (self.step - self.second_stage_step + 1) / 60)
            scale *= 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * max(share, 0.0)))
            matrix_rate = settings.matrix_rate
        for group in self.optimizer.param_groups:
            group["lr"] = settings.rate * scale
        for group in self.matrix_optimizer.param_groups:
            group["lr"] = matrix_rate * scale

    def state(self) -> dict[str, Any]:
        """Return everything that `restore` needs to continue."""
        return {
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "dense_head": self.dense_head.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "matrix_optimizer": self.matrix_optimizer.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
            "second_stage_step": self.second_stage_step,
            "from_trained": self.settings.dense_share == 0.0,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue where the trainer that gave ``state`` was."""
        for name in ("model", "average", "dense_head", "optimizer", "matrix_optimizer"):
            getattr(self, name).load_state_dict(state[name])
        self.step, self.seconds = state["step"], state["seconds"]
        self.second_stage_step = state["second_stage_step"]

    def write(self, folder: Path) -> None:
        """Save the state and, as a model folder, the moving average."""
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = folder / "state.pt.partial"
        torch.save(self.state(), unfinished)
        unfinished.replace(folder / "state.pt")
        save(self.average, self.tokenizer, folder)


class LocalGradients:
    """Computes a step's gradient in this process, part after part."""

    def __init__(
        self, objective: Objective, make_sampler: Callable[[], Sampler], settings: TrainSettings
    ) -> None:
        self._objective, self._settings, self._sampler = objective, settings, make_sampler()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def prepare(self, chosen: Plan) -> None:
        """Do nothing: one process has nothing to do ahead of time."""

    def compute(self, chosen: Plan) -> list[dict[str, float]]:
        """Set the gradient of every parameter that the step touches; return each part's losses."""
        self._objective.zero_grad(set_to_none=True)
        return [
            self._objective.gradient(draw(self._sampler, self._settings, chosen, part), chosen)
            for part in range(PARTS)
        ]


class PooledGradients:
    """Computes a step's gradient in one single-threaded process per part.

    The network is too small for several threads to share its operations well: two processes with half a step's
    examples each are about twice as fast as one with two threads. The objective's parameters are moved to shared
    memory, so that the processes see every update.
    """

    def __init__(
        self, objective: Objective, make_sampler: Callable[[], Sampler], settings: TrainSettings
    ) -> None:
        self._objective = objective.share_memory()
        count = sum(p.numel() for p in objective.parameters())
        self._gradients = [torch.zeros(count).share_memory_() for _ in range(PARTS)]
        context = multiprocessing.get_context("spawn")
        self._pipes, self._processes = [], []
        for part in range(PARTS):
            here, there = context.Pipe()
            process = context.Process(
                target=_work,
                args=(there, objective, make_sampler, settings, part, self._gradients[part]),
                daemon=True,
            )
            with ignoring_interrupts():
                process.start()
            there.close()
            self._pipes.append(here)
            self._processes.append(process)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            process.join(10)
            if process.is_alive():
                process.terminate()

    def prepare(self, chosen: Plan) -> None:
        """Let the processes draw a step's examples for the next `compute`."""
        for part in range(PARTS):
            self._send(part, ("prepare", chosen))

    def compute(self, chosen: Plan) -> list[dict[str, float]]:
        """Set the gradient of every parameter that the step touches; return each part's losses.

        Raises:
            RuntimeError: a process failed; its error is in the message.
        """
        for part in range(PARTS):
            self._send(part, ("compute", chosen))
        replies = []
        for part, pipe in enumerate(self._pipes):
            try:
                reply = pipe.recv()
            except (EOFError, ConnectionResetError):
                raise RuntimeError(f"training process {part} died; is there enough memory?") from None
            if isinstance(reply, str):
                raise RuntimeError(f"training process {part} failed: {reply}")
            replies.append(reply)
        touched = [any(flags) for flags in zip(*(reply[1] for reply in replies), strict=True)]
        total = torch.stack(self._gradients).sum(0)
        start = 0
        for parameter, used in zip(self._objective.parameters(), touched, strict=True):
            end = start + parameter.numel()
            parameter.grad = total[start:end].view_as(parameter) if used else None
            start = end
        return [reply[0] for reply in replies]

    def _send(self, part: int, order: tuple[str, Plan]) -> None:
        """Send an order; a process that failed has left its error in the pipe, where `compute` finds it."""
        try:
            self._pipes[part].send(order)
        except BrokenPipeError:
            if self._processes[part].is_alive():
                raise


def _work(
    pipe: multiprocessing.connection.Connection,
    objective: Objective,
    make_sampler: Callable[[], Sampler],
    settings: TrainSettings,
    part: int,
    gradient: Tensor,
) -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    sampler: Sampler | None = None
    ready: tuple[Plan, Batch] | None = None
    while True:
        try:
            order, chosen = pipe.recv()
        except EOFError:
            return
        try:
            sampler = sampler or make_sampler()
            if ready is None or ready[0] != chosen:
                ready = (chosen, draw(sampler, settings, chosen, part))
            if order == "compute":
                objective.zero_grad(set_to_none=True)
                losses = objective.gradient(ready[1], chosen)
                pipe.send((losses, _flatten(objective, gradient)))
        except Exception as error:  # the parent raises it
            pipe.send(f"{type(error).__name__}: {error}")
            return


def _flatten(objective: Objective, target: Tensor) -> list[bool]:
    """Write all gradients into one vector; return which parameters have one."""
    start, touched = 0, []
    for parameter in objective.parameters():
        end = start + parameter.numel()
        touched.append(parameter.grad is not None)
        if parameter.grad is None:
            target[start:end] = 0
        else:
            target[start:end] = parameter.grad.reshape(-1)
        start = end
    return touched


def run(
    trainer: Trainer,
    gradients: LocalGradients | PooledGradients,
    out: Path,
    progress: bool = True,
    until_step: int | None = None,
) -> None:
    """Train to the goal (or to ``until_step``), saving periodically and at the end."""
    recent: dict[str, deque[float]] = {}
    saved = time.monotonic()
    form = "{l_bar}{bar}| {elapsed}{postfix}"
    with (
        (out / "log.txt").open("a", encoding="utf-8") as log,
        tqdm(total=1000, desc="training", disable=not progress, mininterval=2, bar_format=form) as bar,
    ):
        chosen = trainer.plan()
        while True:
            started = time.monotonic()
            parts = gradients.compute(chosen)
            current, chosen = chosen, trainer.plan(ahead=1)
            gradients.prepare(chosen)
            trainer.update(current)
            trainer.seconds += time.monotonic() - started
            for losses in parts:
                for name, value in losses.items():
                    recent.setdefault(name, deque(maxlen=100)).append(value)
            bar.n = min(1000, int(1000 * trainer.progress))
            text = " ".join(f"{name} {np.mean(values):.3f}" for name, values in recent.items())
            bar.set_postfix_str(f"step {trainer.step} {text}")
            if trainer.step % 50 == 0:
                log.write(f"{trainer.seconds / 60:.2f} min, step {trainer.step}: {text}\n")
                log.flush()
            if trainer.progress >= 1 or (until_step is not None and trainer.step >= until_step):
                break
            if time.monotonic() - saved > trainer.settings.save_every_seconds:
                trainer.write(out)
                saved = time.monotonic()
    trainer.write(out)


def open_sampler(scenes: tuple[Path, int, int], tokenizer: CLIPTokenizer) -> Sampler:
    """Open a sampler over rendered scenes (folder, count, seed)."""
    return Sampler(load_or_render(*scenes, processes=1, progress=False), tokenizer)


def train(
    out: Path,
    settings: TrainSettings,
    tokenizer_folder: Path,
    scenes: tuple[Path, int, int],
    threads: int = 2,
    init: Path | None = None,
    resume: bool = False,
) -> Trainer:
    """Train a demo model; ``out`` receives the model folder, the log and the training state.

    Args:
        out: folder to write.
        settings: goal, seed and rates.
        tokenizer_folder: folder with the tokenizer files.
        scenes: folder, count and seed of the rendered scenes, as `load_or_render` takes them.
        threads: 1, or 2 to share each step between two processes.
        init: model folder with the initial weights, for which `TrainSettings.for_trained_weights` holds; None: random
            ones.
        resume: continue from the state in ``out``, with the settings that it began with.
    """
    torch.set_num_threads(threads)
    cv2.setNumThreads(1)
    torch.manual_seed(settings.seed)
    out.mkdir(parents=True, exist_ok=True)
    load_or_render(*scenes, threads)
    tokenizer = CLIPTokenizer.from_pretrained(tokenizer_folder)
    model = Sam3Model.from_pretrained(init, dtype=torch.float32) if init else make_model(len(tokenizer))
    state = torch.load(out / "state.pt", weights_only=True) if resume else None
    if init or (state and state.get("from_trained")):
        settings = settings.for_trained_weights()
    trainer = Trainer(model, tokenizer, settings)
    if state:
        trainer.restore(state)
    source = PooledGradients if threads > 1 else LocalGradients
    with source(trainer.objective, partial(open_sampler, scenes, tokenizer), settings) as gradients:
        run(trainer, gradients, out)
    return trainer
