"""What an evaluation is asked for, and how that is written down so that it can be repeated."""

from __future__ import annotations

import platform
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from activesam_ros import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from activesam_ros.datasets.class_map import ClassMatching
    from activesam_ros.evaluation.corruptions import Corrupted
    from activesam_ros.settings import SegmenterSettings
    from activesam_ros.vocabulary import Vocabulary

_LIBRARIES = ("torch", "torchvision", "transformers", "numpy", "opencv-python-headless", "rosbags")


@dataclass(frozen=True)
class Request:
    """An evaluation.

    Attributes:
        bag: the recording.
        out: folder of the report.
        model, device, dtype: as for `load_checkpoint`.
        vocabulary, settings: of the segmenter.
        image_topic: None: the only one there is.
        labels_topic: of the ground truth; None: there is none.
        class_map: names of its ids: a topic, or a YAML file; None: the LabelInfo beside the labels.
        mapping: YAML file, names in the truth to names in the vocabulary.
        ignore: ids of the truth to leave out.
        tolerance: seconds between the stamps of an image and of its truth.
        every: each so many-th image is taken.
        start, end: seconds from the recording's beginning.
        methods: names; the first is the one that the others are compared with.
        corruptions: the first method labels the images so corrupted too.
        seed: of the corruptions.
        threads: torch's; None: its choice.
        prompt_cache: folder; None: the program's own.
        command: that asked for it.
    """

    bag: Path
    out: Path
    model: str
    vocabulary: Vocabulary
    settings: SegmenterSettings
    device: str = "auto"
    dtype: str = "auto"
    image_topic: str | None = None
    labels_topic: str | None = None
    class_map: str | None = None
    mapping: Path | None = None
    ignore: tuple[int, ...] = ()
    tolerance: float = 0.02
    every: int = 1
    start: float | None = None
    end: float | None = None
    methods: tuple[str, ...] = ("active",)
    corruptions: tuple[Corrupted, ...] = ()
    seed: int = 0
    threads: int | None = None
    prompt_cache: Path | None = None
    command: str = ""


def described_vocabulary(vocabulary: Vocabulary) -> list[dict[str, Any]]:
    """The classes as plain data: id, name, prompts, colour, members."""
    return [
        {
            "id": one.class_id,
            "name": one.name,
            "prompts": list(one.prompts),
            "colour": list(one.colour),
            "members": list(one.members),
        }
        for one in vocabulary.classes
    ]


def described_matching(matching: ClassMatching | None) -> dict[str, Any] | None:
    """Which classes are evaluated, and which are not, as plain data; None without ground truth."""
    if matching is None:
        return None
    return {
        "classes": list(matching.classes),
        "truth_index": {str(number): index for number, index in matching.truth_index.items()},
        "label_index": {str(number): index for number, index in matching.label_index.items()},
        "unmatched_truth": list(matching.unmatched_truth),
        "unmatched_vocabulary": list(matching.unmatched_vocabulary),
    }


def described_run(
    recording: Mapping[str, Any],
    model: Mapping[str, Any],
    vocabulary: Vocabulary,
    matching: ClassMatching | None,
    settings: Mapping[str, SegmenterSettings],
    methods: Sequence[Mapping[str, Any]],
    corruptions: Sequence[str],
    seed: int,
    machine: str,
    command: str,
) -> dict[str, Any]:
    """The content of `run.json` as plain data.

    Args:
        recording: path, topics and span.
        model: name, device, number format and resolutions.
        vocabulary: what was looked for.
        matching: with the ground truth; None: there is none.
        settings: of each method.
        methods: name, description, differences and path of each.
        corruptions: such as "fog:3".
        seed: of the corruptions.
        machine: that it ran on.
        command: that asked for it.
    """
    return {
        "recording": dict(recording),
        "model": dict(model),
        "vocabulary": described_vocabulary(vocabulary),
        "unlabeled_id": vocabulary.unlabeled_id,
        "background_id": vocabulary.background_id,
        "matching": described_matching(matching),
        "methods": [{**method, "settings": asdict(settings[method["name"]])} for method in methods],
        "corruptions": list(corruptions),
        "seed": seed,
        "versions": versions(),
        "machine": machine,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command,
    }


def versions() -> dict[str, str]:
    """Of this package, of Python and of the libraries that labels depend on."""
    found = {"activesam_ros": __version__, "Python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # a distribution may install it under another name
            continue
    return found
