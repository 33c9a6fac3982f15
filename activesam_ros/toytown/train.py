"""Train the demo model on a CPU: ``python -m activesam_ros.toytown.train --out FOLDER --minutes 90``.

Two stages. Dense pre-training teaches the image and text encoders to agree pixel by pixel; then SAM 3's losses train
the whole network on words that are present and words that are not. Training can be stopped and resumed at any step:
``FOLDER/state.pt`` holds everything, and each batch depends on the seed and the step's number alone. With ``--steps``
instead of ``--minutes`` the result does not depend on the machine's speed.
"""

import argparse
import math
import os
import queue
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm
from transformers import CLIPTokenizer, Sam3Model

from activesam_ros.toytown import model_folder
from activesam_ros.toytown.examples import Batch, Sampler
from activesam_ros.toytown.losses import DenseHead, LossWeights, prompt_losses
from activesam_ros.toytown.network import (IMAGE_SIZE, PREVIEW_SIZE, Prediction, context_tokens, image_features,
                                           make_model, pad, pooled_embeddings, predict, save, set_resolution,
                                           text_features)
from activesam_ros.toytown.scenes import load_or_render

DENSE, PROMPTED = 0, 1


@dataclass(frozen=True)
class TrainSettings:
    """How to train. Either ``minutes`` of training time or a number of ``steps`` is the goal.

    ``dense_share`` is the share of the goal spent on dense pre-training; ``matrix_rate`` is Muon's learning rate for
    the weight matrices of the layers, ``rate`` AdamW's for all else. ``preview_share`` gives the share of steps at
    preview size in the first 60 % and in the rest of the second stage.
    """

    minutes: float | None = 90.0
    steps: int | None = None
    seed: int = 0
    dense_share: float = 0.11
    dense_images: int = 14
    images: int = 8
    rate: float = 1.2e-3
    dense_matrix_rate: float = 8e-3
    matrix_rate: float = 5e-3
    preview_share: tuple[float, float] = (0.65, 0.35)
    context_share: tuple[float, float] = (0.06, 0.75)
    average: float = 0.998
    save_every_seconds: float = 180.0

    def __post_init__(self) -> None:
        if (self.minutes is None) == (self.steps is None):
            raise ValueError("give either minutes or steps as the goal of training, not both and not neither")
        if (self.minutes or self.steps or 0) <= 0:
            raise ValueError("the goal of training must be above 0 minutes or steps")


@dataclass(frozen=True)
class Plan:
    """What a step does, fixed by the seed, the step's number and how far training had come when it was planned."""

    step: int
    stage: int
    size: int
    with_context: bool


def plan(settings: TrainSettings, step: int, progress: float) -> Plan:
    """The step's plan at the given progress in 0..1."""
    r = np.random.default_rng([settings.seed, 10, step])
    stage = DENSE if progress < settings.dense_share else PROMPTED
    late = progress >= settings.dense_share + 0.6 * (1 - settings.dense_share)
    size = PREVIEW_SIZE if r.random() < settings.preview_share[int(late and stage == PROMPTED)] else IMAGE_SIZE
    return Plan(step, stage, size, bool(r.random() < settings.context_share[int(size == IMAGE_SIZE)]))


class Trainer:
    """The network, its moving average, the optimisers and the count of steps; saved and restored as a whole."""

    def __init__(self, model: Sam3Model, tokenizer: CLIPTokenizer, settings: TrainSettings) -> None:
        self.model, self.tokenizer, self.settings = model.train(), tokenizer, settings
        self.average = deepcopy(model).eval()
        self.dense_head = DenseHead()
        self.step, self.seconds, self.second_stage_step = 0, 0.0, -1
        matrices, rest = [], list(self.dense_head.parameters())
        for name, parameter in model.named_parameters():
            table = any(word in name for word in ("embed", "reference", "presence_token"))
            (matrices if parameter.ndim == 2 and "layers" in name and not table else rest).append(parameter)
        self.matrix_optimizer = torch.optim.Muon(matrices, lr=settings.matrix_rate, weight_decay=0.01,
                                                 adjust_lr_fn="match_rms_adamw")
        self.optimizer = torch.optim.AdamW(rest, lr=settings.rate, betas=(0.9, 0.98), weight_decay=0.01)

    @property
    def progress(self) -> float:
        """How far training has come, 0..1."""
        if self.settings.steps is not None:
            return self.step / self.settings.steps
        return self.seconds / (60 * self.settings.minutes)

    def learn(self, batch: Batch, chosen: Plan) -> dict[str, float]:
        """One step on one batch; returns the losses."""
        started = time.monotonic()
        self._set_rates(chosen)
        set_resolution(self.model, batch.size)
        losses = self._dense_losses(batch) if chosen.stage == DENSE else self._prompted_losses(batch, chosen)
        loss = sum(losses.values())
        for optimizer in (self.optimizer, self.matrix_optimizer):
            optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_([p for p in self.model.parameters() if p.grad is not None], 1.0)
        if not torch.isfinite(norm):
            raise RuntimeError(f"training diverged at step {self.step}: the gradient is not finite; resume from the "
                               "last saved state with a lower rate")
        for optimizer in (self.optimizer, self.matrix_optimizer):
            optimizer.step()
        self.step += 1
        keep = min(self.settings.average, (1 + self.step) / (20 + self.step))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.model.parameters()), 1 - keep)
        self.seconds += time.monotonic() - started
        return {name: float(value.detach()) for name, value in losses.items()}

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

    def _dense_losses(self, batch: Batch) -> dict[str, Tensor]:
        tokens, mask = pad(batch.words)
        vision = self.model.vision_encoder(batch.pixels)
        text = text_features(self.model, tokens, mask)
        return {"dense": self.dense_head.loss(list(vision.fpn_hidden_states[:-1]), text, mask, batch.dense)}

    def _prompted_losses(self, batch: Batch, chosen: Plan) -> dict[str, Tensor]:
        model = self.model
        image = image_features(model, batch.pixels)
        words, words_mask = pad(batch.words)
        word_text = text_features(model, words, words_mask)
        tokens, mask = pad(batch.prompts)
        text = text_features(model, tokens, mask)
        if chosen.with_context:
            context, context_mask = self._context(batch, chosen, words, words_mask, tokens, mask)
            text, mask = torch.cat([text, context], 1), torch.cat([mask, context_mask], 1)
        out: Prediction = predict(model, image, batch.image_index, text, mask, self._masked(batch, chosen))
        losses = prompt_losses(out, batch.answers, LossWeights())
        losses["dense"] = 0.7 * self.dense_head.loss(image.pyramid, word_text, words_mask, batch.dense)
        return losses

    def _masked(self, batch: Batch, chosen: Plan) -> Tensor:
        """Prompts that get masks in this step: most of the present ones and a few absent ones."""
        r = np.random.default_rng([self.settings.seed, 13, chosen.step])
        order = r.permutation(len(batch.answers))
        present = [i for i in order if batch.answers[i] is not None][: 3 * len(batch.pixels)]
        absent = [i for i in order if batch.answers[i] is None][: len(batch.pixels) // 2]
        return torch.tensor(sorted(present + absent), dtype=torch.long)

    def _context(self, batch: Batch, chosen: Plan, words: Tensor, words_mask: Tensor, tokens: Tensor,
                 mask: Tensor) -> tuple[Tensor, Tensor]:
        """Context tokens of the prompts, as if one image's prompts and some other words were the vocabulary."""
        model = self.model
        r = np.random.default_rng([self.settings.seed, 11, chosen.step])
        others = torch.from_numpy(r.permutation(len(words))[: int(r.integers(3, len(words)))])
        pooled = pooled_embeddings(model, tokens, mask)
        pooled_words = pooled_embeddings(model, words[others], words_mask[others])
        hypernyms, hypernym_mask = torch.zeros(len(tokens), 2, pooled.shape[-1]), torch.zeros(len(tokens), 2).bool()
        flat = [(row, column, ids) for row, found in enumerate(batch.hypernyms) for column, ids in enumerate(found[:2])]
        if flat:
            rows, columns = torch.tensor([f[0] for f in flat]), torch.tensor([f[1] for f in flat])
            hypernyms[rows, columns] = pooled_embeddings(model, *pad([f[2] for f in flat]))
            hypernym_mask[rows, columns] = True
        made = []
        for index in range(len(batch.pixels)):
            own = (batch.image_index == index).nonzero()[:, 0]
            count = len(own)
            room = torch.zeros(len(others), 2, pooled.shape[-1])
            context, context_mask = context_tokens(
                model, torch.cat([pooled[own], pooled_words]), torch.cat([hypernyms[own], room]),
                torch.cat([hypernym_mask[own], torch.zeros(len(others), 2).bool()]))
            made.append((context[:count], context_mask[:count]))
        return torch.cat([m[0] for m in made]), torch.cat([m[1] for m in made])

    def state(self) -> dict:
        """Everything that `restore` needs to go on."""
        return {"model": self.model.state_dict(), "average": self.average.state_dict(),
                "dense_head": self.dense_head.state_dict(), "optimizer": self.optimizer.state_dict(),
                "matrix_optimizer": self.matrix_optimizer.state_dict(), "step": self.step, "seconds": self.seconds,
                "second_stage_step": self.second_stage_step}

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


def batches(sampler: Sampler, trainer: Trainer) -> Iterator[tuple[Plan, Batch]]:
    """Plans and batches from the trainer's step on, prepared ahead of time in a thread.

    A goal in steps makes plans depend on the step's number alone.
    """
    settings, first = trainer.settings, trainer.step
    ahead: queue.Queue = queue.Queue(4)
    stop = threading.Event()

    def work() -> None:
        try:
            step = first
            while not stop.is_set():
                progress = step / settings.steps if settings.steps is not None else trainer.progress
                chosen = plan(settings, step, progress)
                r = np.random.default_rng([settings.seed, 12, step])
                batch = (sampler.dense(r, settings.dense_images, chosen.size) if chosen.stage == DENSE
                         else sampler.prompted(r, settings.images, chosen.size))
                put((chosen, batch))
                step += 1
        except BaseException as error:  # handed to the consumer, which raises it
            put(error)

    def put(item: object) -> None:
        while not stop.is_set():
            try:
                ahead.put(item, timeout=0.2)
                return
            except queue.Full:
                continue

    worker = threading.Thread(target=work, name="batches", daemon=True)
    worker.start()
    try:
        while True:
            item = ahead.get()
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stop.set()
        worker.join()


def run(trainer: Trainer, sampler: Sampler, out: Path, progress: bool = True, until_step: int | None = None) -> None:
    """Train to the goal (or to ``until_step``), saving now and then and at the end."""
    recent: dict[str, deque] = {}
    saved = time.monotonic()
    log = open(out / "log.txt", "a", encoding="utf-8")
    source = batches(sampler, trainer)
    with log, tqdm(total=1000, desc="training", unit="‰", disable=not progress, mininterval=2,
                   bar_format="{l_bar}{bar}| {elapsed}{postfix}") as bar:
        for chosen, batch in source:
            losses = trainer.learn(batch, chosen)
            for name, value in losses.items():
                recent.setdefault(name, deque(maxlen=50)).append(value)
            bar.n = min(1000, int(1000 * trainer.progress))
            text = " ".join(f"{name} {np.mean(values):.3f}" for name, values in recent.items())
            bar.set_postfix_str(f"step {trainer.step} {text}")
            if trainer.step % 50 == 0:
                log.write(f"{trainer.seconds / 60:.2f} min, step {trainer.step}, size {batch.size}: {text}\n")
                log.flush()
            if trainer.progress >= 1 or (until_step is not None and trainer.step >= until_step):
                break
            if time.monotonic() - saved > trainer.settings.save_every_seconds:
                trainer.write(out)
                saved = time.monotonic()
        source.close()
    trainer.write(out)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="activesam-train-toytown", description="Train the Toy Town demo model.")
    parser.add_argument("--out", type=Path, required=True, help="folder for the model and the training state")
    goal = parser.add_mutually_exclusive_group()
    goal.add_argument("--minutes", type=float, help="training time, rendering not counted (default 90)")
    goal.add_argument("--steps", type=int, help="train this many steps instead: repeatable on any machine")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights, scenes and batches (default 0)")
    parser.add_argument("--resume", action="store_true", help="go on from the state saved in --out")
    parser.add_argument("--init", type=Path, help="start from this model folder's weights instead of random ones")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default 2)")
    parser.add_argument("--scenes", type=int, default=7000, help="number of training scenes (default 7000)")
    parser.add_argument("--cache", type=Path, help="folder for rendered scenes, 3 GB (default: OUT/scenes)")
    parser.add_argument("--tokenizer", type=Path, default=model_folder(),
                        help="folder with the tokenizer files (default: the shipped model's)")
    given = parser.parse_args(arguments)
    minutes = given.minutes if given.minutes or given.steps else 90.0
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
    store = load_or_render(given.cache or given.out / "scenes", given.scenes, given.seed, given.threads)
    tokenizer = CLIPTokenizer.from_pretrained(given.tokenizer)
    model = (Sam3Model.from_pretrained(given.init, dtype=torch.float32) if given.init
             else make_model(len(tokenizer)))
    trainer = Trainer(model, tokenizer, settings)
    if given.resume:
        trainer.restore(torch.load(state, weights_only=True))
    run(trainer, Sampler(store, tokenizer), given.out)
    print(f"trained {trainer.step} steps in {trainer.seconds / 60:.1f} minutes; the model is in {given.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
