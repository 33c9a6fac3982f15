"""What all commands share: arguments, progress, messages, exit codes, and how they end.

Exit codes:

* 0: done.
* 1: measured or checked, and the result is not as it should be.
* 2: not done, or not for every input: wrong arguments, or an error that one sentence on stderr explains.
* 130: interrupted with Ctrl-C.
"""

from __future__ import annotations

import argparse
import errno
import logging
import math
import os
import re
import signal
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from activesam_ros.errors import ActiveSamError
from activesam_ros.model.folder import local_folder
from activesam_ros.system.machine import let_waiting_threads_sleep

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from activesam_ros.vocabulary import Vocabulary

DONE, UNFIT, FAILED, INTERRUPTED = 0, 1, 2, 130

VOCABULARY_HELP = (
    "a path to YAML or text, a preset's name, or class names: semicolons between classes, commas between aliases "
    "('road; car, automobile; sky')"
)


class UsageError(Exception):
    """Arguments that do not go together; shown with the usage of the command."""


def run(
    parser: argparse.ArgumentParser,
    work: Callable[[argparse.Namespace], int],
    arguments: Sequence[str] | None = None,
    *,
    interrupted: str = "interrupted",
    intermixed: bool = False,
) -> int:
    """Parse the arguments, do the work, and turn whatever ends it into a message and an exit code.

    Args:
        parser: of the command; `prog` is its name in messages.
        work: what the command does; returns its exit code.
        arguments: command line without the program's name; None: that of the process.
        interrupted: said after Ctrl-C, such as what was kept.
        intermixed: positional arguments may stand between options.

    Raises:
        SystemExit: after `--help` (code 0) and for wrong arguments (code 2).
    """
    print_utf8()
    given = argparse.Namespace()
    try:
        given = parser.parse_intermixed_args(arguments) if intermixed else parser.parse_args(arguments)
        if getattr(given, "model", None):
            local_folder(given.model)  # A missing one is told before torch is imported, which takes seconds.
        let_waiting_threads_sleep()
        logging.basicConfig(level=logging.WARNING, format="%(message)s")
        with _interruptible():
            code = work(given)
        sys.stdout.flush()
        return code
    except UsageError as error:
        parser.error(str(error))
    except SystemExit:
        _flush_what_is_left()
        raise
    except KeyboardInterrupt:
        sentence, code = interrupted, INTERRUPTED
    except ModuleNotFoundError as error:
        sentence, code = missing_module(error), FAILED
    except BrokenPipeError:
        # The reader, such as `head`, has seen enough.
        _silence(sys.stdout)
        return DONE
    except OSError as error:
        sentence, code = _about_file(error, given), FAILED
    except ActiveSamError as error:
        sentence, code = str(error), FAILED
    except MemoryError:
        sentence, code = "memory ran out; free some, and run the command again", FAILED
    complain(parser.prog, sentence)
    _flush_what_is_left()
    return code


def print_utf8() -> None:
    """Have stdout and stderr take any character, whatever the locale or PYTHONIOENCODING says."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")


def complain(program: str, sentence: str) -> None:
    """Print an error or a warning of a command to stderr."""
    print(f"{program}: {sentence}", file=sys.stderr, flush=True)


def say(text: str) -> None:
    """Print a line of progress to stderr."""
    print(f"… {text}", file=sys.stderr, flush=True)


def missing_module(error: ModuleNotFoundError) -> str:
    """Say what to do about a Python module that is not installed, or not built."""
    return f"the Python module {error.name!r} is missing; run `make setup` once and `source env.sh` in this shell"


@contextmanager
def loading() -> Iterator[None]:
    """Import slow modules inside: Ctrl-C then ends the process at once.

    A KeyboardInterrupt inside an import may be printed and forgotten, or come out as another error.
    """
    if signal.getsignal(signal.SIGINT) is not _interrupt:
        yield
        return
    signal.signal(signal.SIGINT, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, _interrupt)


def leave(*_: object) -> NoReturn:
    """End the process as after Ctrl-C; a handler of SIGINT for when nothing is to be cleaned up."""
    os.write(2, f"{Path(sys.argv[0]).name}: interrupted\n".encode())
    os._exit(INTERRUPTED)


def _interrupt(*_: object) -> NoReturn:
    # Whoever presses Ctrl-C again does not want to wait for the clean-up.
    signal.signal(signal.SIGINT, leave)
    if "multiprocessing" in sys.modules:
        # Else the clean-up may wait for what they are at; they are not asked themselves, see `ignoring_interrupts`.
        for child in sys.modules["multiprocessing"].active_children():
            child.terminate()
    raise KeyboardInterrupt


@contextmanager
def _interruptible() -> Iterator[None]:
    """Have Ctrl-C raise KeyboardInterrupt inside, in a process that `leave` would end."""
    if signal.getsignal(signal.SIGINT) is not leave:
        yield
        return
    signal.signal(signal.SIGINT, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, leave)


def _about_file(error: OSError, given: argparse.Namespace) -> str:
    """Explain an error of a file; one that names no file is about the output."""
    reason = (error.strerror or str(error)).lower()
    outputs = [getattr(given, name, None) for name in ("out", "json", "log", "prompt_cache")]
    path = error.filename or next((one for one in outputs if isinstance(one, Path)), "the standard output")
    if error.errno == errno.ENOSPC:
        return f"{path} cannot be written: no space left on the device; free some and run the command again"
    return f"{path}: {reason}" if error.errno else str(error)


def _flush_what_is_left() -> None:
    """Flush stdout now, as an error at the interpreter's end would be printed with a traceback."""
    try:
        sys.stdout.flush()
    except OSError:
        _silence(sys.stdout)


def _silence(stream: Any) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def progress_bar(total: int, what: str, unit: str) -> Any:
    """Return a tqdm bar on stderr, which is shown on a terminal only."""
    from tqdm import tqdm

    return tqdm(total=total, desc=what, unit=unit, disable=None)


# Arguments that several commands have.


def add_model(parser: Any, default: str | None = None, *, required: bool = False, note: str = "") -> None:
    """Add `--model`."""
    ending = note or (f" (default: {default})" if default else "")
    parser.add_argument(
        "--model",
        default=default,
        required=required,
        help=f"model folder or hub id, or 'toytown' for the demo model{ending}",
    )


def add_device(parser: Any, default: str | None = "auto") -> None:
    """Add `--device`."""
    parser.add_argument("--device", type=_device, default=default, help="auto (default), cpu, cuda or cuda:N")


def add_dtype(parser: Any, default: str | None = "auto") -> None:
    """Add `--dtype`."""
    dtypes = ("auto", "float32", "bfloat16", "float16")
    parser.add_argument(
        "--dtype", choices=dtypes, default=default, help="auto (default), float32, bfloat16 or float16"
    )


def add_parameters(parser: Any) -> None:
    """Declare `--params`, a parameter file of the node, and `--param`, single ones."""
    parser.add_argument(
        "--params", type=Path, metavar="FILE", help="parameter file of the node: words, settings and model"
    )
    parser.add_argument(
        "--param", action="append", default=[], metavar="NAME=VALUE", help="one of the node's parameters"
    )


def add_part(parser: Any) -> None:
    """Declare `--every`, `--start` and `--end`, which choose a part of a recording's images."""
    parser.add_argument("--every", type=whole_number(1), default=1, metavar="N", help="take every N-th image")
    parser.add_argument("--start", type=number(0), metavar="S", help="seconds from the beginning")
    parser.add_argument("--end", type=number(0), metavar="S", help="seconds from the beginning")


def add_threads(parser: Any, default: int | None = None) -> None:
    """Add `--threads`."""
    shown = default or "its choice"
    parser.add_argument(
        "--threads", type=whole_number(1), default=default, help=f"of torch (default: {shown})"
    )


def add_vocabulary(parser: Any, **options: Any) -> None:
    """Add `--vocabulary`."""
    parser.add_argument("--vocabulary", metavar="FILE|PRESET|NAMES", help=VOCABULARY_HELP, **options)


def vocabulary_of(text: str) -> Vocabulary:
    """Return the vocabulary that `--vocabulary` names: a preset, a file, or class names.

    Raises:
        VocabularyError: it is none of them, or not a valid vocabulary.
    """
    from activesam_ros.vocabulary import Vocabulary
    from activesam_ros.vocabulary.files import load_vocabulary_file, parse_class_list

    words = parse_class_list(text)
    return load_vocabulary_file(text).vocabulary() if words is None else Vocabulary.from_names(words)


def add_prompt_cache(parser: Any) -> None:
    """Add `--prompt-cache`."""
    parser.add_argument(
        "--prompt-cache",
        type=Path,
        metavar="DIR",
        help="folder of the prompt cache (default: in the XDG cache folder)",
    )


def add_json(parser: Any) -> None:
    """Add `--json FILE`."""
    parser.add_argument(
        "--json", type=output_file, metavar="FILE", help="also write the figures to this file"
    )


# Types of arguments.


def whole_number(low: int, high: int | None = None) -> Callable[[str], int]:
    """Return the type of a whole number from `low` to `high`, None: any that is higher."""
    expected = f"a whole number from {low}" + ("" if high is None else f" to {high}")

    def whole(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = low - 1
        if value < low or (high is not None and value > high):
            raise argparse.ArgumentTypeError(f"{text!r}; expected {expected}")
        return value

    return whole


def number(low: float, high: float = math.inf) -> Callable[[str], float]:
    """Return the type of a number from `low` to `high`."""
    expected = f"a number from {low:g}" + ("" if math.isinf(high) else f" to {high:g}")

    def real(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (low <= value <= high and math.isfinite(value)):
            raise argparse.ArgumentTypeError(f"{text!r}; expected {expected}")
        return value

    return real


def _device(text: str) -> str:
    # Whether there is such a device only torch knows.
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", text):
        raise argparse.ArgumentTypeError(f"{text!r}; expected auto, cpu, cuda or cuda:N")
    return text


def names(text: str) -> tuple[str, ...]:
    """Return the names of a list with commas."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def whole_numbers(text: str) -> tuple[int, ...]:
    """Return the numbers of a list with commas."""
    try:
        return tuple(int(one) for one in names(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}; expected whole numbers such as 1,3") from error


def image_size(text: str) -> tuple[int, int]:
    """Return width and height of WIDTHxHEIGHT."""
    parts = text.split("x")
    if len(parts) != 2 or not all(part.isdigit() and int(part) >= 32 for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r}; expected WIDTHxHEIGHT such as 640x480, from 32x32")
    return int(parts[0]), int(parts[1])


def output_file(text: str) -> Path:
    """Return the path of a file that can be written as far as its folder goes."""
    path = Path(text)
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{path} is a folder; expected a file")
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {path.parent}; make it first")
    return path
