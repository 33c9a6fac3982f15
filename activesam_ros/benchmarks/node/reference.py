"""The bare segmenter in a process of its own: what the node is compared with."""

from __future__ import annotations

import multiprocessing
import time
from typing import TYPE_CHECKING

from activesam_ros.errors import ActiveSamError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from multiprocessing.connection import Connection
    from types import TracebackType

    import numpy as np


class Reference:
    """Segments pictures on demand, with the settings that the node gives the same parameters.

    Example:
        >>> with Reference({"model": "toytown", "vocabulary": ["road", "sky"]}, pictures, threads=1) as reference:
        ...     reference.seconds(0)
    """

    def __init__(
        self, parameters: Mapping[str, object], pictures: Sequence[np.ndarray], threads: int | None
    ) -> None:
        """Args:
        parameters: of the node, among them `model`.
        pictures: uint8 [H, W, 3] each.
        threads: of torch; None: its choice.
        """
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, dict(parameters), list(pictures), threads), daemon=True
        )
        self._theirs = theirs

    def __enter__(self) -> Reference:
        self._process.start()
        # The other end is the process's alone, so that its end is noticed.
        self._theirs.close()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()
        self._process.join()

    def seconds(self, picture: int) -> float:
        """How long `segment` takes for one of the pictures.

        Raises:
            ActiveSamError: the process ended; it has printed why.
        """
        try:
            self._connection.send(picture)
            return self._connection.recv()
        except (EOFError, OSError) as error:
            raise ActiveSamError(
                "the process of the bare segmenter ended; see what it printed above"
            ) from error


def _serve(
    connection: Connection,
    parameters: dict[str, object],
    pictures: list[np.ndarray],
    threads: int | None,
) -> None:
    import torch

    from activesam_ros.configuration import first_configuration
    from activesam_ros.segmenter import ActiveSegmenter

    if threads is not None:
        torch.set_num_threads(threads)
    wanted = first_configuration(parameters)
    segmenter = ActiveSegmenter.from_pretrained(
        parameters["model"], settings=wanted.settings, prompt_cache=None
    )
    segmenter.set_vocabulary(wanted.vocabulary)
    while True:
        try:
            picture = connection.recv()
        except EOFError:
            return
        begin = time.perf_counter()
        segmenter.segment(pictures[picture])
        connection.send(time.perf_counter() - begin)
