"""Gradients computed by several processes, one CPU thread each.

The network is too small for several threads to share its operations well: two processes with half a step's
examples each are about twice as fast as one with two threads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import torch
from torch import Tensor, multiprocessing

from activesam_ros.toytown.objective import PARTS, Objective, Plan, TrainSettings, draw

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from activesam_ros.toytown.examples import Batch, Sampler


class LocalGradients:
    """Computes a step's gradient in this process, part after part."""

    def __init__(
        self, objective: Objective, make_sampler: Callable[[], Sampler], settings: TrainSettings
    ) -> None:
        self._objective, self._settings, self._sampler = objective, settings, make_sampler()

    def __enter__(self) -> LocalGradients:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def prepare(self, chosen: Plan) -> None:
        """Nothing to do ahead of time in one process."""

    def compute(self, chosen: Plan) -> list[dict[str, float]]:
        """Set the gradient of every parameter that the step touches; returns each part's losses."""
        self._objective.zero_grad(set_to_none=True)
        return [
            self._objective.gradient(draw(self._sampler, self._settings, chosen, part), chosen)
            for part in range(PARTS)
        ]


class PooledGradients:
    """Computes a step's gradient in one process per part.

    The objective's parameters are moved to shared memory, so that the processes see every update.
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
            process.start()
            there.close()
            self._pipes.append(here)
            self._processes.append(process)

    def __enter__(self) -> PooledGradients:
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
        """Let the processes draw a step's examples, to be used by the next `compute`."""
        for part in range(PARTS):
            self._send(part, ("prepare", chosen))

    def compute(self, chosen: Plan) -> list[dict[str, float]]:
        """Set the gradient of every parameter that the step touches; returns each part's losses.

        Raises:
            RuntimeError: a process failed; its error is in the message.
        """
        for part in range(PARTS):
            self._send(part, ("compute", chosen))
        answers = []
        for part, pipe in enumerate(self._pipes):
            try:
                answer = pipe.recv()
            except (EOFError, ConnectionResetError):
                raise RuntimeError(f"training process {part} died; is there enough memory?") from None
            if isinstance(answer, str):
                raise RuntimeError(f"training process {part} failed: {answer}")
            answers.append(answer)
        touched = [any(flags) for flags in zip(*(answer[1] for answer in answers), strict=True)]
        total = torch.stack(self._gradients).sum(0)
        start = 0
        for parameter, used in zip(self._objective.parameters(), touched, strict=True):
            end = start + parameter.numel()
            parameter.grad = total[start:end].view_as(parameter) if used else None
            start = end
        return [answer[0] for answer in answers]

    def _send(self, part: int, order: tuple[str, Plan]) -> None:
        """Give a process an order; one that failed has left its error in the pipe, for `compute` to find."""
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
    """Write all gradients into one vector; returns which parameters have one."""
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
