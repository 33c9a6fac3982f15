"""The folder in which the labels of a job are collected until they are complete, beside what they become."""

from __future__ import annotations

import fcntl
import json
import shutil
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from activesam_ros.errors import DatasetError
from activesam_ros.labelling.parts import LabelPart, PartFile, write_part
from activesam_ros.system.files import remove_abandoned_writes, write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_JOB, _PARTS, _DONE = "job.json", "parts", "done"


@dataclass(frozen=True)
class Shard:
    """One of several processes that share a job: the `number`-th of `count`, from 1."""

    number: int = 1
    count: int = 1

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


class WorkFolder:
    """The parts of a job that are done; several shards write into it at the same time.

    Whatever ends a process, each part is there as a whole or not at all.
    """

    def __init__(self, out: Path) -> None:
        """Take the folder that belongs to the output `out`."""
        self.out = out
        self.path = out.with_name(f".{out.name}.labelling")

    @property
    def job(self) -> dict[str, Any] | None:
        """What was asked for; None if nothing is begun.

        Raises:
            DatasetError: it cannot be read.
        """
        return read_json(self.path / _JOB)

    def begin(self, job: Mapping[str, Any], overwrite: bool) -> None:
        """Make the folder, or go on with the job that it holds.

        Args:
            job: what is asked for, as plain data.
            overwrite: remove what another job left.

        Raises:
            DatasetError: it holds another job.
        """
        job = json.loads(json.dumps(job))
        before = self.job
        if overwrite and before != job:
            self.remove()
            before = None
        if before is None:
            write_atomically(self.path / _JOB, _plain(job), durable=True)
        elif before != job:
            other = next(name for name in {**before, **job} if before.get(name) != job.get(name))
            raise DatasetError(
                f"{self.path} holds unfinished labels with another {other}; give another folder with --out, or begin "
                "anew with --overwrite"
            )
        remove_abandoned_writes(self.path / _PARTS)

    @contextmanager
    def locked(self, shard: Shard) -> Iterator[None]:
        """Keep other processes from the same shard.

        Raises:
            DatasetError: another process has it.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / f"{shard.number}-of-{shard.count}.lock").open("wb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise DatasetError(
                    f"another process is labelling to {self.out}; wait for it, or give another folder with --out"
                ) from error
            except OSError:  # some network file systems have no locks
                pass
            yield

    def has(self, source: int, position: int) -> bool:
        """Return whether a part is there and whole; a damaged one, as after a power cut, is removed."""
        path = self._part(source, position)
        if not path.exists():
            return False
        if _is_whole(path):
            return True
        path.unlink(missing_ok=True)
        return False

    def write(self, part: LabelPart) -> None:
        """Keep a part.

        Raises:
            OSError: it cannot be written, as on a full disk.
        """
        write_part(self._part(part.frame.source, part.frame.position), part)

    def part(self, source: int, position: int) -> PartFile:
        """Open a part.

        Raises:
            DatasetError: it is missing or damaged.
        """
        return PartFile(self._part(source, position))

    def finish(self, shard: Shard, frames: list[int], shortage: list[str]) -> None:
        """State that a shard is complete.

        Args:
            shard: which.
            frames: how many images each source has, of all shards.
            shortage: sentences about images that are missing in damaged recordings.
        """
        path = self.path / _DONE / f"{shard.number}-of-{shard.count}.json"
        write_atomically(path, _plain({"frames": frames, "shortage": shortage}), durable=True)

    def complete(self) -> tuple[list[int], list[str]]:
        """Return how many images each source has, and what is missing in damaged recordings.

        Raises:
            DatasetError: a shard is not complete; the message says which.
        """
        if not self.path.exists():
            raise DatasetError(
                f"there is nothing to merge for {self.out}; label with --shard 1/N to N/N first"
            )
        stated: dict[int, dict[int, Any]] = {}
        for path in (self.path / _DONE).glob("*-of-*.json"):
            number, _, total = path.stem.partition("-of-")
            stated.setdefault(int(total), {})[int(number)] = read_json(path)
        for count, shards in stated.items():
            if len(shards) == count:
                one = shards[min(shards)]
                return one["frames"], one["shortage"]
        if not stated:
            raise DatasetError(f"no shard of {self.out} is complete; run each of them to its end, then merge")
        count, shards = max(stated.items(), key=lambda one: len(one[1]))
        missing = ", ".join(f"{one}/{count}" for one in range(1, count + 1) if one not in shards)
        raise DatasetError(f"these shards of {self.out} are not complete: {missing}; run them, then merge")

    def remove(self) -> None:
        """Remove the folder, what says what it is for at last."""
        for name in (_DONE, _PARTS):
            shutil.rmtree(self.path / name, ignore_errors=True)
        with suppress(OSError):
            (self.path / _JOB).unlink(missing_ok=True)
        shutil.rmtree(self.path, ignore_errors=True)

    def _part(self, source: int, position: int) -> Path:
        return self.path / _PARTS / f"{source:03d}-{position:08d}.zip"


def read_json(path: Path) -> dict[str, Any] | None:
    """Read a file of this package; None if there is none.

    Raises:
        DatasetError: it is damaged.
    """
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path} cannot be read ({error}); begin anew with --overwrite") from error
    return content if isinstance(content, dict) else None


def _plain(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode()


def _is_whole(path: Path) -> bool:
    try:
        with PartFile(path) as part:
            return part.whole
    except DatasetError:
        return False
