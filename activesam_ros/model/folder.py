"""The folder of a model: where it is, what its files say and may not ask for, and what identifies its text encoder.

The folder is data. transformers follows requests in it for code or for files from elsewhere; they end here.
"""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from activesam_ros.errors import ModelError
from activesam_ros.system.files import write_atomically

logger = logging.getLogger(__name__)

BUNDLED = {"toytown": Path(__file__).parent.parent / "toytown" / "model"}
"""Models that ship with the package, by the name that stands for their folder."""

_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
    "merges.txt",
    "special_tokens_map.json",
)
_TEXT_WEIGHTS = ("text_encoder.", "text_projection.")
# Keys of video checkpoints come with the prefix.
_VIDEO_PREFIX = "detector_model."
_REMEMBERED = 64

_READ_SUFFIXES = (".json", ".txt", ".safetensors")
_LFS_POINTER = b"version https://git-lfs.github.com/spec/"
_PLAIN_NUMBERS = ("F64", "F32", "F16", "BF16")
# Buffers that hold whole numbers.
_COUNTERS = ("num_batches_tracked", "position_ids")

_SAMPLES, _SAMPLE_BYTES = 4096, 4096


def first_line(error: BaseException) -> str:
    """Return the first line of a library's exception, for use inside a sentence."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0].rstrip(".")


def resolve_folder(model: str | Path) -> Path:
    """Find the folder of a model: bundled, local, or a hub repository, which is downloaded if need be.

    Raises:
        ModelError: there is none.
    """
    from activesam_ros.model.hub import find_or_download

    return local_folder(model) or find_or_download(str(model))


def local_folder(model: str | Path) -> Path | None:
    """Find the folder of a model that is bundled or local; None: the name is one of the hub. Imports no torch.

    Raises:
        ModelError: there is none, and it cannot be on the hub.
    """
    name = str(model)
    if not name:
        raise ModelError("model is empty; expected a folder, a hub id such as 'facebook/sam3', or 'toytown'")
    if name in BUNDLED:
        return BUNDLED[name]
    try:
        folder = Path(name).expanduser()
        is_folder, exists = folder.is_dir(), folder.exists()
    except (OSError, RuntimeError, ValueError) as error:
        raise ModelError(
            f"model is {name[:200]!r}, which is no path ({first_line(error)}); expected a folder, a hub id such as "
            "'facebook/sam3', or 'toytown'"
        ) from error
    if is_folder:
        return folder
    if exists:
        raise ModelError(
            f"model is the file {name}; expected the folder that holds config.json and *.safetensors"
        )
    if isinstance(model, Path) or name.startswith((".", "/", "~")) or name.count("/") != 1:
        raise ModelError(
            f"the model folder {name} does not exist; expected a folder with config.json and *.safetensors, a hub id "
            "such as 'facebook/sam3', or 'toytown'"
        )
    return None


def read_json(folder: Path, name: str) -> dict[str, Any]:
    """Read a JSON object from a file of a model; raise ModelError if there is none."""
    path = folder / name
    if not path.is_file():
        raise ModelError(
            f"the model folder {folder} has no {name}; expected a SAM 3 checkpoint as saved by transformers "
            "(config.json, tokenizer files, *.safetensors)"
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path} cannot be read ({error}); download or copy the folder again") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path} holds no JSON object; download or copy the folder again")
    return content


def require_whole(folder: Path) -> None:
    """Raise ModelError if a file is missing, or stands for one that is elsewhere, or if it must not be read."""
    if not folder.is_dir():
        raise ModelError(
            f"the model folder {folder} is gone; expected a folder with config.json and *.safetensors"
        )
    try:
        files = [path for path in sorted(folder.iterdir()) if path.suffix in _READ_SUFFIXES]
    except OSError as error:
        raise ModelError(
            f"the model folder {folder} cannot be read ({error.strerror}); change its permissions"
        ) from error
    for path in files:
        _require_content(path)
    read_json(folder, "config.json")
    _require_weights(folder)
    _require_tokenizer(folder)


def _require_content(path: Path) -> None:
    if path.is_symlink() and not path.exists():
        raise ModelError(
            f"{path} is a link to {path.readlink()}, which is not there; copy the folder again with what its links "
            "point to (cp -rL)"
        )
    if not path.is_file():
        return
    try:
        with path.open("rb") as file:
            begin = file.read(len(_LFS_POINTER))
    except OSError as error:
        raise ModelError(
            f"{path} cannot be read ({error.strerror}); give its owner or permissions to this user"
        ) from error
    if begin == _LFS_POINTER:
        raise ModelError(
            f"{path} is a pointer of Git LFS, not the file itself; run 'git lfs pull' in {path.parent}"
        )


def _require_tokenizer(folder: Path) -> None:
    """Raise ModelError if there is no tokenizer; the loader would silently make an empty one."""
    if not (folder / "tokenizer.json").is_file() and not all(
        (folder / name).is_file() for name in ("vocab.json", "merges.txt")
    ):
        raise ModelError(
            f"the model folder {folder} has no tokenizer; expected tokenizer.json, or vocab.json and merges.txt, in it"
        )


def _require_weights(folder: Path) -> None:
    """Raise ModelError if the weights are missing, might hold code, are elsewhere, or have others to add to them."""
    found = sorted(folder.glob("*.safetensors"))
    if not found:
        others = sorted(path.name for path in folder.glob("*.[pb][ti]*"))
        note = f" (it has {others[0]}, which is not read since it may hold code)" if others else ""
        raise ModelError(
            f"the model folder {folder} has no *.safetensors file{note}; expected SAM 3 weights in it"
        )
    for index in folder.glob("*.safetensors.index.json"):
        _index_names(index)
    adapters = [folder / "adapter_config.json", *(path for path in found if path not in weight_files(folder))]
    for path in adapters:
        if path.exists() and _is_adapter(path):
            raise ModelError(
                f"the model folder {folder} has an adapter ({path.name}), which is not read; merge it into the "
                "weights, or take it out"
            )


def _is_adapter(path: Path) -> bool:
    """Whether a file beside the weights is meant to change them."""
    if "adapter" in path.name or "lora" in path.name.lower():
        return True
    try:
        with safe_open(path, framework="pt") as tensors:
            return any("lora_" in name for name in tensors.keys())  # noqa: SIM118
    except (OSError, SafetensorError):
        return False


def weight_files(folder: Path) -> list[Path]:
    """Return the files that the weights are read from: model.safetensors, or else those that an index names.

    Raises:
        ModelError: the index is none, names other files, or names one that is missing.
    """
    whole = folder / "model.safetensors"
    if whole.is_file():
        return [whole]
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        return sorted(folder.glob("*.safetensors"))
    files = [folder / name for name in sorted(_index_names(index))]
    for path in files:
        if not path.is_file():
            raise ModelError(
                f"{index} names {path.name}, which is missing; download or copy the folder again"
            )
    return files


def _index_names(index: Path) -> set[str]:
    """Return the names of the files in an index; refuse anything but *.safetensors beside it."""
    try:
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ModelError(
            f"{index} is no index of weights ({error!r}); download or copy the folder again"
        ) from error
    for name in names:
        plain = isinstance(name, str) and name == Path(name).name and name.endswith(".safetensors")
        if not plain:
            raise ModelError(
                f"{index} names {name!r}; expected *.safetensors files beside it, so download or copy the folder again"
            )
    return names


def require_plain_numbers(folder: Path) -> None:
    """Raise ModelError for weights that are stored as something else than floats of 16 bit or more."""
    for path in weight_files(folder):
        with safe_open(path, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118
                kind = tensors.get_slice(name).get_dtype()
                if kind not in _PLAIN_NUMBERS and not name.endswith(_COUNTERS):
                    raise ModelError(
                        f"the weight {name!r} in {path} is stored as {kind}, so it is quantized or damaged; expected "
                        "the plain weights of SAM 3 in 16 or 32 bit floats"
                    )


def text_fingerprint(folder: Path, text_config: dict[str, Any], memo: Path | None = None) -> str:
    """Hash all that a prompt's embedding depends on; every layout of one checkpoint has the same hash.

    Args:
        folder: of the checkpoint.
        text_config: the text encoder's configuration.
        memo: file that remembers the hash of unchanged files, since hashing SAM 3's text encoder reads 1.4 GB; a
            damaged one is rewritten. None: none.

    Returns:
        32 hexadecimal digits.
    """
    weights = weight_files(folder)
    tokenizer = [folder / name for name in _TOKENIZER_FILES if (folder / name).is_file()]
    config = json.dumps(text_config, sort_keys=True).encode()
    files = json.dumps([_identity(path) for path in [*weights, *tokenizer]])
    state = hashlib.blake2b(config + files.encode(), digest_size=16).hexdigest()
    known = _read_memo(memo)
    if state not in known:
        found = _hash_contents(weights, tokenizer, config)
        if memo is not None:
            kept = dict([*known.items()][1 - _REMEMBERED :])
            _write_memo(memo, {**kept, state: found})
        return found
    return known[state]


def model_fingerprint(folder: Path) -> str:
    """Identify the files that a model is read from by what they hold, of large ones by pieces: 32 hexadecimal digits.

    Copies with other names of folders and other times are the same.

    Raises:
        ModelError: one cannot be read.
    """
    digest = hashlib.blake2b(digest_size=16)
    try:
        for path in sorted(folder.iterdir()):
            if path.suffix in _READ_SUFFIXES and path.is_file():
                digest.update(f"{path.name} {path.stat().st_size} {_sampled(path)}\n".encode())
    except OSError as error:
        raise ModelError(f"the model in {folder} cannot be read ({first_line(error)})") from error
    return digest.hexdigest()


def _hash_contents(weights: list[Path], tokenizer: list[Path], config: bytes) -> str:
    import torch  # Else looking for a model's folder would take the seconds of this import.

    digest = hashlib.blake2b(config, digest_size=16)
    places = []
    for path in weights:
        with safe_open(path, framework="pt") as tensors:
            places += [(key.removeprefix(_VIDEO_PREFIX), path, key) for key in tensors.keys()]  # noqa: SIM118
    for name, path, key in sorted(places):
        if name.startswith(_TEXT_WEIGHTS):
            with safe_open(path, framework="pt") as tensors:
                tensor = tensors.get_tensor(key).contiguous()
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    for path in tokenizer:
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _identity(path: Path) -> list[str | int]:
    """Identify a file without reading a large one as a whole.

    Size and times alone do not do: images of file systems and containers give all files the same times. So pieces
    from all over the file count, too; of a file of up to 16 MB that is all of it.
    """
    status = path.stat()
    times = (status.st_mtime_ns, status.st_ctime_ns)
    return [str(path.resolve()), status.st_ino, status.st_size, *times, _sampled(path)]


def _sampled(path: Path) -> str:
    """Hash pieces from all over a file; of one of up to 16 MB that is all of it."""
    size, digest = path.stat().st_size, hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        for start in range(0, size, max(_SAMPLE_BYTES, size // _SAMPLES)):
            file.seek(start)
            digest.update(file.read(_SAMPLE_BYTES))
    return digest.hexdigest()


def _read_memo(memo: Path | None) -> dict[str, str]:
    if memo is None:
        return {}
    try:
        content = json.loads(memo.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        logger.warning("%s is unreadable (%s); it is made again", memo, error)
        return {}
    whole = isinstance(content, dict) and all(isinstance(value, str) for value in content.values())
    return content if whole else {}


def _write_memo(memo: Path, content: dict[str, str]) -> None:
    try:
        write_atomically(memo, json.dumps(content, indent=0).encode())
    except OSError as error:
        logger.warning("%s cannot be written (%s); the model is hashed again next time", memo, error)
