"""What set-up shares: its one error, its progress output, and its lock."""

import fcntl
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

_POLL_SECONDS = 0.2
_QUIET_SECONDS = 20.0
_TAIL_LINES = 15


class SetupError(Exception):
    """Set-up cannot go on; the message says what was wrong, what was expected and what to do."""


class Progress:
    """Prints `[  12 s] text` lines; long commands go to a log file, with a line now and then."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self._start = time.monotonic()

    @property
    def elapsed(self) -> float:
        """Seconds since set-up started."""
        return time.monotonic() - self._start

    def say(self, text: str) -> None:
        """Print one line with the elapsed time."""
        print(f"[{self.elapsed:4.0f} s] {text}", flush=True)

    def run(
        self,
        command: Sequence[str | os.PathLike[str]],
        environ: Mapping[str, str],
        what: str,
        summarise: Callable[[str], str | None] = lambda line: None,
        explain: Callable[[str], str | None] = lambda output: None,
        cwd: Path | None = None,
    ) -> None:
        """Run a command with its output in the log file.

        `summarise` turns an output line into a phrase worth showing (or None); `explain` turns the output of
        a failed command into a sentence. Raises SetupError if the command fails.
        """
        self.say(what)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        latest = {"phrase": "", "shown": time.monotonic()}
        lines: list[str] = []
        with self.log.open("a", encoding="utf-8", errors="replace") as log:
            log.write(f"$ {' '.join(map(str, command))}\n")
            process = subprocess.Popen(
                [str(part) for part in command],
                env=dict(environ),
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
            )
            done = threading.Event()

            def remind() -> None:
                while not done.wait(_QUIET_SECONDS):
                    self.say(f"  still at it: {latest['phrase']}" if latest["phrase"] else "  still at it")

            reminder = threading.Thread(target=remind, daemon=True)
            reminder.start()
            try:
                assert process.stdout is not None
                for line in process.stdout:
                    log.write(line)
                    lines.append(line)
                    latest["phrase"] = summarise(line.strip()) or latest["phrase"]
                code = process.wait()
            except BaseException:
                process.terminate()
                process.wait()
                raise
            finally:
                done.set()
                reminder.join()
        if code != 0:
            output = "".join(lines)
            reason = explain(output) or f"`{Path(command[0]).name}` failed with exit code {code}"
            tail = "".join(f"    {line}" for line in lines[-_TAIL_LINES:])
            sys.stdout.flush()
            raise SetupError(
                f"{what}: {reason}\n  Its last lines (all of them: {self.log}):\n{tail.rstrip()}"
            )


@contextmanager
def exclusive(path: Path, progress: Progress) -> Iterator[None]:
    """Hold the lock file `path`, waiting audibly for another holder; the kernel frees it if one dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as handle:
        told = None
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if told is None or time.monotonic() - told > _QUIET_SECONDS:
                    progress.say(f"another set-up is at work, waiting for it (lock: {path})")
                    told = time.monotonic()
                time.sleep(_POLL_SECONDS)
        yield
