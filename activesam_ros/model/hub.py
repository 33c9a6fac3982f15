"""Models of the Hugging Face hub: a whole one in the local cache, else downloaded.

The download runs in a subprocess, which prints a line whenever something has arrived, and at last its result. A hub
that falls silent, or a storage library that never returns, ends with that process.
"""

from __future__ import annotations

import json
import logging
import os
import select
import subprocess
import sys
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from activesam_ros.errors import ModelError, describe, reason

if TYPE_CHECKING:
    from collections.abc import Iterator

logger = logging.getLogger(__name__)

FILES = ["*.json", "*.txt", "*.safetensors"]
"""What is read of a repository."""

ANSWER_SECONDS = 60.0
"""The hub has this long until the first file begins to arrive."""

QUIET_SECONDS = 300.0
"""A download ends when nothing has arrived for so long. The client counts in blocks of 10 MB."""

_LONGEST = 300

_ADVICE = {
    401: "check the spelling and HF_TOKEN, or run 'hf auth login' if it is private",
    403: "change what your account or its token may read on the hub's pages",
    404: "check the spelling, or run 'hf auth login' if it is private",
    429: "wait some minutes and try again",
}


def find_or_download(hub_id: str) -> Path:
    """Return the folder of a hub model; the hub is only asked if the cache does not have it whole.

    Raises:
        ModelError: it is not here, and cannot be downloaded.
    """
    try:
        # The import reads the environment, where anything may stand.
        from huggingface_hub import constants
        from huggingface_hub.utils import validate_repo_id

        cache = Path(constants.HF_HUB_CACHE).expanduser()
        validate_repo_id(hub_id)
    except ModuleNotFoundError:
        raise
    except Exception as error:
        raise ModelError(
            f"{hub_id!r} is neither a folder here nor a valid hub id ({_short(reason(error))}); expected a form like "
            "'facebook/sam3'"
        ) from error
    cached = _whole_in_cache(hub_id, cache)
    if cached is not None:
        logger.info(
            "%s is in the cache, as of its last download; 'hf download %s' looks for a newer one",
            *2 * (hub_id,),
        )
        return cached
    logger.info("%s is not whole on this machine; downloading it into %s", hub_id, cache)
    answer = _download_apart(hub_id, cache)
    if "folder" not in answer:
        raise ModelError(
            str(answer.get("sentence") or f"the download of {hub_id} ended without a word; try again")
        )
    return Path(answer["folder"])


def _whole_in_cache(hub_id: str, cache: Path) -> Path | None:
    """Return the folder of the newest snapshot in the cache if each of its files is there; else None."""
    from huggingface_hub import snapshot_download

    from activesam_ros.model.folder import require_whole

    try:
        folder = Path(snapshot_download(hub_id, cache_dir=cache, allow_patterns=FILES, local_files_only=True))
        # A snapshot of an older client has no list of its files.
        require_whole(folder)
        if _wrong_sizes(hub_id, cache, folder):
            return None
    except Exception as error:  # whatever is wrong with it: the hub is asked for another
        logger.debug("%s is not whole in %s: %s", hub_id, cache, describe(error))
        return None
    return folder


def _wrong_sizes(hub_id: str, cache: Path, folder: Path) -> list[Path]:
    """Return the files that have another size than the hub's list says, such as a login page."""
    from huggingface_hub import get_cached_repo_tree
    from huggingface_hub.errors import CachedRepoTreeNotFoundError

    try:
        listed = {folder / one.path: one.size for one in get_cached_repo_tree(hub_id, cache_dir=cache)}
    except CachedRepoTreeNotFoundError:
        return []
    return [path for path, size in listed.items() if path.is_file() and path.stat().st_size != size]


def _download_apart(hub_id: str, cache: Path) -> dict[str, Any]:
    """Run the download in a subprocess, and return what it printed last."""
    command = [sys.executable, "-m", "activesam_ros.model.hub", hub_id, str(cache)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    if not sys.stderr.isatty():
        # A log is no place for bars.
        environment.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        env=environment,
        # Ctrl-C is for this process, which ends the other.
        start_new_session=True,
    ) as child:
        assert child.stdout is not None
        try:
            printed = _listen(child.stdout.fileno())
        except TimeoutError as error:
            raise ModelError(
                f"{hub_id} is not on this machine, and the hub at {_endpoint()} stopped answering for {error} s; check "
                f"the network and try again, which goes on where it ended, or {_elsewhere()}"
            ) from error
        finally:
            child.kill()
    try:
        answer = json.loads(printed.splitlines()[-1])
    except (IndexError, ValueError):
        answer = {}
    return answer if isinstance(answer, dict) else {}


def _listen(output: int) -> bytes:
    """Read an output to its end; raise TimeoutError, with the seconds, when it is silent for too long."""
    printed, limit = b"", ANSWER_SECONDS
    while select.select([output], [], [], limit)[0]:
        piece = os.read(output, 65536)
        if not piece:
            return printed
        printed, limit = printed + piece, QUIET_SECONDS
    raise TimeoutError(f"{limit:g}")


def _endpoint() -> str:
    return os.environ.get("HF_ENDPOINT") or "https://huggingface.co"


def _elsewhere() -> str:
    return "copy the folder of the model here and give that path"


def _sentence(hub_id: str, error: BaseException, cache: Path) -> str:
    """Say in one sentence why a download failed, whatever library raised whatever type."""
    chain = list(_causes(error))
    missing = f"{hub_id} is not on this machine, and"
    for one in chain:
        response = getattr(one, "response", None)
        status = getattr(response, "status_code", None)
        if isinstance(status, int):
            return f"{missing} the hub at {_endpoint()} {_answered(status, response, one)}, or {_elsewhere()}"
        if isinstance(one, OSError) and (one.filename or one.errno == 28) and one.strerror:
            return (
                f"{hub_id} cannot be stored: {one.filename or cache}: {one.strerror.lower()}; make room or choose "
                f"another folder with HF_HOME, or {_elsewhere()}"
            )
    if any(type(one).__name__ == "OfflineModeIsEnabled" for one in chain):
        return (
            f"{missing} HF_HUB_OFFLINE forbids asking the hub; connect once and run 'hf download {hub_id}', or "
            f"{_elsewhere()}"
        )
    return (
        f"{missing} the hub at {_endpoint()} cannot be reached, or gives no answer of a hub "
        f"({_short(describe(chain[-1]))}); check the network (is there a login page or a proxy?), HF_ENDPOINT and "
        f"HF_TOKEN, or {_elsewhere()}"
    )


def _answered(status: int, response: Any, error: BaseException) -> str:
    """Say what the hub answered, in its own words, and what to do."""
    words = getattr(error, "server_message", None) or response.headers.get("X-Error-Message")
    if not words:
        words = (
            HTTPStatus(status).phrase if status in {one.value for one in HTTPStatus} else "no reason given"
        )
    if response.headers.get("X-Error-Code") == "GatedRepo":
        advice = "it is gated: accept its licence on its hub page, then run 'hf auth login' on this machine"
    else:
        advice = _ADVICE.get(status, "try again later")
    return f"answered {status} ({_short(' '.join(str(words).split()))}); {advice}"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and what it was raised from."""
    following: BaseException | None = error
    while following is not None:
        yield following
        following = following.__cause__


def _short(text: str) -> str:
    text = text.rstrip(".")
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _download(hub_id: str, cache: Path, output: int) -> None:
    """Download a model; write to `output` an empty line whenever something arrives, and last the result."""
    try:
        import huggingface_hub
        from huggingface_hub.utils import logging as chatter
        from huggingface_hub.utils import tqdm

        class Told(tqdm):
            def update(self, n: float | None = 1) -> bool | None:
                if n:
                    os.write(output, b"\n")
                return super().update(n)

        chatter.set_verbosity_error()
        folder = huggingface_hub.snapshot_download(
            hub_id, cache_dir=cache, allow_patterns=FILES, tqdm_class=Told
        )
        wrong = _wrong_sizes(hub_id, cache, Path(folder))
        for path in wrong:
            # The client would keep them for ever.
            path.resolve().unlink(missing_ok=True)
            path.unlink(missing_ok=True)
        answer = {"folder": folder}
        if wrong:
            answer = {
                "sentence": f"{wrong[0].name} of {hub_id} arrived with another size than the hub at {_endpoint()} "
                "lists, and was thrown away; check the network (is there a login page or a proxy?) and try again, or "
                f"{_elsewhere()}"
            }
    except BaseException as error:  # this is the border: no exception of a library passes it
        answer = {"sentence": _sentence(hub_id, error, cache)}
    os.write(output, b"\n" + json.dumps(answer).encode() + b"\n")


if __name__ == "__main__":
    # Nothing that a library prints may come between the lines.
    lines = os.dup(1)
    os.dup2(2, 1)
    with suppress(BrokenPipeError):  # whoever listened is gone
        _download(sys.argv[1], Path(sys.argv[2]), lines)
    # Threads of the client may still wait for the network.
    os._exit(0)
