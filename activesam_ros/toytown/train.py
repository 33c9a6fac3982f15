"""Train the demo model on a CPU: ``python -m activesam_ros.toytown.train --out FOLDER --minutes 90``.

Two stages. Dense pre-training teaches the image and text encoders to agree pixel by pixel; then SAM 3's
losses train the whole network on words that are present and words that are not. Training can be stopped and
resumed at any step: ``FOLDER/state.pt`` holds everything, and each batch depends on the seed and the step's
number alone. With ``--steps`` instead of ``--minutes`` the result does not depend on the machine's speed.
"""

import argparse
import math
import os
import sys
import time
from collections import deque
from collections.abc import Sequence
from copy import deepcopy
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn
from tqdm import tqdm
from transformers import CLIPTokenizer, Sam3Model

from activesam_ros.toytown import model_folder
from activesam_ros.toytown.examples import Sampler, load_or_render
from activesam_ros.toytown.network import make_model, save
from activesam_ros.toytown.objective import DENSE, Objective, Plan, TrainSettings, plan
from activesam_ros.toytown.workers import LocalGradients, PooledGradients


class Trainer:
    """The network, its moving average, the optimisers and the step count, saved and restored as a whole."""

    def __init__(self, model: Sam3Model, tokenizer: CLIPTokenizer, settings: TrainSettings) -> None:
        self.model, self.tokenizer, self.settings = model.train(), tokenizer, settings
        self.average = deepcopy(model).eval()
        self.objective = Objective(model, settings.seed)
        self.dense_head = self.objective.dense_head
        self.step, self.seconds, self.second_stage_step = 0, 0.0, -1
        matrices, rest = [], list(self.dense_head.parameters())
        for name, parameter in model.named_parameters():
            table = any(word in name for word in ("embed", "reference", "presence_token"))
            (matrices if parameter.ndim == 2 and "layers" in name and not table else rest).append(parameter)
        self.matrix_optimizer = torch.optim.Muon(
            matrices, lr=settings.matrix_rate, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"
        )
        self.optimizer = torch.optim.AdamW(rest, lr=settings.rate, betas=(0.9, 0.98), weight_decay=0.01)

    @property
    def progress(self) -> float:
        """How far training has come, 0..1."""
        if self.settings.steps is not None:
            return self.step / self.settings.steps
        return self.seconds / (60 * self.settings.minutes)

    def progress_after(self) -> float:
        """How far training will have come after the next step, as far as one can say."""
        if self.settings.steps is not None:
            return (self.step + 1) / self.settings.steps
        return self.progress

    def next_plan(self) -> Plan:
        """The plan of the next step."""
        return plan(self.settings, self.step, self.progress)

    def update(self, chosen: Plan) -> None:
        """Change the parameters by their gradients."""
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

    def state(self) -> dict:
        """Everything that `restore` needs to go on."""
        return {
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "dense_head": self.dense_head.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "matrix_optimizer": self.matrix_optimizer.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
            "second_stage_step": self.second_stage_step,
        }

    def restore(self, state: dict) -> None:
        """Go on where the trainer that gave ``state`` was."""
        for name in ("model", "average", "dense_head", "optimizer", "matrix_optimizer"):
            getattr(self, name).load_state_dict(state[name])
        self.step, self.seconds = state["step"], state["seconds"]
        self.second_stage_step = state["second_stage_step"]

    def write(self, folder: Path) -> None:
        """Save the state and, as a model folder, the moving average."""
        folder.mkdir(parents=True, exist_ok=True)
        partial = folder / "state.pt.partial"
        torch.save(self.state(), partial)
        os.replace(partial, folder / "state.pt")
        save(self.average, self.tokenizer, folder)


def run(
    trainer: Trainer,
    gradients: LocalGradients | PooledGradients,
    out: Path,
    progress: bool = True,
    until_step: int | None = None,
) -> None:
    """Train to the goal (or to ``until_step``), saving now and then and at the end."""
    recent: dict[str, deque] = {}
    saved = time.monotonic()
    form = "{l_bar}{bar}| {elapsed}{postfix}"
    with (
        open(out / "log.txt", "a", encoding="utf-8") as log,
        tqdm(total=1000, desc="training", disable=not progress, mininterval=2, bar_format=form) as bar,
    ):
        chosen = trainer.next_plan()
        while True:
            started = time.monotonic()
            parts = gradients.compute(chosen)
            current, chosen = chosen, plan(trainer.settings, trainer.step + 1, trainer.progress_after())
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
    """A sampler over rendered scenes (folder, count, seed)."""
    return Sampler(load_or_render(*scenes, processes=1, progress=False), tokenizer)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="activesam-train-toytown", description="Train the Toy Town demo model."
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the model and the training state")
    goal = parser.add_mutually_exclusive_group()
    goal.add_argument("--minutes", type=float, help="training time, rendering not counted (default 90)")
    goal.add_argument("--steps", type=int, help="train this many steps instead: repeatable on any machine")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights, scenes and batches (default 0)")
    parser.add_argument("--resume", action="store_true", help="go on from the state saved in --out")
    parser.add_argument(
        "--init", type=Path, help="start from this model folder's weights instead of random ones"
    )
    parser.add_argument(
        "--threads",
        type=int,
        default=2,
        choices=(1, 2),
        help="CPU threads: 1, or 2 (default) to share each step",
    )
    parser.add_argument("--scenes", type=int, default=7000, help="number of training scenes (default 7000)")
    parser.add_argument("--cache", type=Path, help="folder for rendered scenes, 3 GB (default: OUT/scenes)")
    parser.add_argument(
        "--tokenizer",
        type=Path,
        default=model_folder(),
        help="folder with the tokenizer files (default: the shipped model's)",
    )
    given = parser.parse_args(arguments)
    minutes = 90.0 if given.minutes is None and given.steps is None else given.minutes
    try:
        settings = TrainSettings(minutes=minutes, steps=given.steps, seed=given.seed)
    except ValueError as error:
        parser.error(str(error))
    state = given.out / "state.pt"
    if given.resume and not state.exists():
        parser.error(f"nothing to resume: {state} does not exist; start without --resume")
    if not given.resume and state.exists():
        parser.error(f"{state} exists; add --resume to go on from it, or choose another --out")
    torch.set_num_threads(given.threads)
    cv2.setNumThreads(1)
    torch.manual_seed(given.seed)
    given.out.mkdir(parents=True, exist_ok=True)
    scenes = (given.cache or given.out / "scenes", given.scenes, given.seed)
    load_or_render(*scenes, given.threads)
    tokenizer = CLIPTokenizer.from_pretrained(given.tokenizer)
    model = (
        Sam3Model.from_pretrained(given.init, dtype=torch.float32)
        if given.init
        else make_model(len(tokenizer))
    )
    trainer = Trainer(model, tokenizer, settings)
    if given.resume:
        trainer.restore(torch.load(state, weights_only=True))
    make_sampler = partial(open_sampler, scenes, tokenizer)
    source = PooledGradients if given.threads > 1 else LocalGradients
    with source(trainer.objective, make_sampler, settings) as gradients:
        run(trainer, gradients, given.out)
    print(f"trained {trainer.step} steps in {trainer.seconds / 60:.1f} minutes; the model is in {given.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
