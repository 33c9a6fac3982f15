"""Label on a cluster: the shards of a job as tasks of Ray Data, with a segmenter for each worker."""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from activesam_ros.errors import DatasetError
from activesam_ros.labelling.job import open_job
from activesam_ros.labelling.label import LabelOutcome, complete, label, load_segmenter, merge
from activesam_ros.labelling.work import Shard, WorkFolder

if TYPE_CHECKING:
    from collections.abc import Callable

    from activesam_ros.labelling.job import LabelConfig
    from activesam_ros.segmenter import ActiveSegmenter

# Of independent images, for each worker: few enough that reading the recordings again costs little, and enough that no
# worker waits long for the last.
_SHARDS_PER_WORKER = 4


@dataclass(frozen=True)
class Cluster:
    """Where to label.

    Attributes:
        address: of a Ray cluster, "auto" for the one that runs here; None: start one in this process.
        workers: how many segmenters; None: one for each GPU of the cluster, or one if it has none.
    """

    address: str | None = None
    workers: int | None = None


def label_on_ray(
    config: LabelConfig,
    cluster: Cluster,
    overwrite: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> LabelOutcome:
    """Label with several workers that share a file system, and write the same as `label`.

    A shard whose worker is lost is labelled by another one, except for the images that are done.

    Args:
        config: what to do; paths mean the same on every machine.
        cluster: the workers.
        overwrite: begin anew, and remove what an earlier job wrote.
        say: called with the name of each step as it begins.

    Raises:
        DatasetError: Ray is missing or cannot be reached, or as `label`.
    """
    try:
        import ray
        import ray.data
        from ray.exceptions import RayError
    except ModuleNotFoundError as error:
        raise DatasetError(
            f"--ray needs Ray Data ({error.name} is missing); run: pip install 'ray[data]'"
        ) from error

    with ExitStack() as opening:
        sources, job = open_job(config, opening)
        there = complete(config.out, job, overwrite)
        if there is not None:
            return there
        WorkFolder(config.out).begin(job, overwrite)
        streams = sum(len(source.streams) for source in sources)
    try:
        ray.init(
            address=cluster.address, log_to_driver=False, include_dashboard=False, ignore_reinit_error=True
        )
    except (RayError, ConnectionError, ValueError) as error:
        raise DatasetError(
            f"there is no Ray cluster at {cluster.address} ({error}); start one with: ray start --head"
        ) from error
    try:
        gpus = int(ray.cluster_resources().get("GPU", 0))
        workers = cluster.workers or gpus or 1
        # Images that depend on those before them stay together.
        shards = streams if config.settings.reuses_frames else workers * _SHARDS_PER_WORKER
        say(f"labelling {shards} shards with {workers} workers of Ray")
        numbers = ray.data.from_items(
            [{"number": number} for number in range(1, shards + 1)], override_num_blocks=shards
        )
        done = numbers.map_batches(
            _Worker,
            fn_constructor_args=(config, shards, str(Path.cwd())),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=min(workers, shards)),
            num_gpus=1 if gpus else 0,
        )
        split: dict[int, int] = {}
        for row in done.iter_rows():
            split[int(row["process"])] = split.get(int(row["process"]), 0) + 1
        say(f"shards of each worker: {', '.join(map(str, sorted(split.values(), reverse=True)))}")
    except RayError as error:
        raise DatasetError(
            f"a worker failed ({' '.join(str(error).split())[-400:]}); the same command goes on with what is done"
        ) from error
    finally:
        ray.shutdown()
    return merge(config.out, say, overwrite)


class _Worker:
    """Labels one shard after another with one segmenter; lives in a process of Ray."""

    def __init__(self, config: LabelConfig, shards: int, folder: str) -> None:
        # Relative paths are those of the command.
        os.chdir(folder)
        self._config = config
        self._shards = shards
        self._segmenter: ActiveSegmenter | None = None

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        for number in batch["number"].tolist():
            if self._segmenter is None:
                self._segmenter = load_segmenter(self._config)
            # The command has begun the job, and seen that what is there may be replaced.
            shard = Shard(number, self._shards)
            label(self._config, shard, overwrite=True, segmenter=self._segmenter)
        return {"number": batch["number"], "process": [os.getpid()] * len(batch["number"])}
