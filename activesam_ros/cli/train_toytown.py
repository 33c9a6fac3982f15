"""The command `activesam-train-toytown`: train the Toy Town demo model on a CPU."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from activesam_ros.cli import command
from activesam_ros.toytown import model_folder

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
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
        "--init",
        type=Path,
        help="model folder with the initial weights instead of random ones; no dense pre-training, half the rates",
    )
    threads = "CPU threads: 1, or 2 (default) to share each step"
    parser.add_argument("--threads", type=int, default=2, choices=(1, 2), help=threads)
    parser.add_argument("--scenes", type=int, default=7000, help="number of training scenes (default 7000)")
    parser.add_argument("--cache", type=Path, help="folder for rendered scenes, 3 GB (default: OUT/scenes)")
    tokenizer = "folder with the tokenizer files (default: the shipped model's)"
    parser.add_argument("--tokenizer", type=Path, default=model_folder(), help=tokenizer)
    return command.run(
        parser, _train, arguments, interrupted="interrupted; --resume goes on from the last saved state"
    )


def _train(given: argparse.Namespace) -> int:
    state = given.out / "state.pt"
    if given.resume and not state.exists():
        raise command.UsageError(f"nothing to resume: {state} does not exist; start without --resume")
    if not given.resume and state.exists():
        raise command.UsageError(f"{state} exists; add --resume to go on from it, or choose another --out")
    with command.loading():
        from activesam_ros.toytown.objective import TrainSettings
        from activesam_ros.toytown.train import train

    minutes = 90.0 if given.minutes is None and given.steps is None else given.minutes
    try:
        settings = TrainSettings(minutes=minutes, steps=given.steps, seed=given.seed)
    except ValueError as error:
        raise command.UsageError(str(error)) from error
    scenes = (given.cache or given.out / "scenes", given.scenes, given.seed)
    trainer = train(given.out, settings, given.tokenizer, scenes, given.threads, given.init, given.resume)
    print(f"trained {trainer.step} steps in {trainer.seconds / 60:.1f} minutes; the model is in {given.out}")
    return command.DONE


if __name__ == "__main__":
    sys.exit(main())
