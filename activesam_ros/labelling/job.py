"""What a labelling job is asked for, as options and as the plain data that is kept beside its labels."""

from __future__ import annotations

import fnmatch
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

from activesam_ros import __version__
from activesam_ros.errors import DatasetError
from activesam_ros.labelling.sources import Part, RecordingSource, Source, open_sources
from activesam_ros.model.folder import model_fingerprint, resolve_folder
from activesam_ros.vocabulary import Vocabulary, VocabularyClass

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import ExitStack
    from pathlib import Path

    from activesam_ros.datasets.recordings import Recording
    from activesam_ros.settings import SegmenterSettings

Format = Literal["bag", "masks", "coco", "yolo"]

NODE = "/activesam"
"""Of the topics that labels are recorded on: those of the node."""

RESULTS = ("labels", "confidence", "active_classes", "detections", "instances", "panoptic")
LATCHED = ("label_info", "vocabulary")


@dataclass(frozen=True)
class LabelConfig:
    """What to label, and what to make of it.

    Attributes:
        sources: recordings and folders of images.
        out: folder to write.
        model, device, dtype: as for `load_checkpoint`.
        vocabulary, settings: of the segmenter.
        format: what is written.
        topics: name of each camera and topic of its images; empty: the only image topic.
        part: of each source.
        keep: patterns of topics that are copied from a recording beside its labels.
        prefix: of the topics of the labels.
        instances: tell single things apart.
        stuff: names of classes whose instances are not told apart in a data set.
        review: so many images with the lowest confidence are listed.
        threads: torch's; None: its choice.
        prompt_cache: folder; None: the program's own.
    """

    sources: tuple[Path, ...]
    out: Path
    model: str
    vocabulary: Vocabulary
    settings: SegmenterSettings
    device: str = "auto"
    dtype: str = "auto"
    format: Format = "bag"
    topics: tuple[tuple[str, str], ...] = ()
    part: Part = field(default_factory=Part)
    keep: tuple[str, ...] = ()
    prefix: str = NODE
    instances: bool = False
    stuff: tuple[str, ...] = ()
    review: int = 0
    threads: int | None = None
    prompt_cache: Path | None = None


def open_job(config: LabelConfig, opening: ExitStack) -> tuple[list[Source], dict[str, Any]]:
    """Open what is labelled, and return it with all that the labels follow from, see `describe_job`.

    Args:
        config: what to do.
        opening: closes the sources.

    Raises:
        ActiveSamError: a source or the model cannot be read, or as `describe_job`.
    """
    sources = open_sources(config.sources, config.topics, config.part, config.settings.max_pixels, opening)
    return sources, describe_job(config, sources)


def describe_job(config: LabelConfig, sources: Sequence[Source]) -> dict[str, Any]:
    """Return all that the labels and what is made of them follow from, as plain data.

    Raises:
        ModelError: there is no such model.
        DatasetError: a topic would be both kept and written, a name is no class, or a library is missing.
    """
    unknown = [name for name in config.stuff if name not in config.vocabulary.names]
    if unknown:
        raise DatasetError(
            f"--stuff names {unknown[0]!r}, which is no class; expected names of the vocabulary"
        )
    if config.format == "coco" and find_spec("pycocotools") is None:
        raise DatasetError("COCO is written with pycocotools, which is missing; run: pip install pycocotools")
    recordings = [source for source in sources if isinstance(source, RecordingSource)]
    for source in recordings:
        _require_no_clash(config, source)
    _require_kept(config, recordings)
    return {
        "version": __version__,
        "format": config.format,
        "sources": [{"name": source.name, **source.describe()} for source in sources],
        "part": asdict(config.part),
        "model": {
            "name": config.model,
            "fingerprint": model_fingerprint(resolve_folder(config.model)),
            "device": config.device,
            "dtype": config.dtype,
        },
        "vocabulary": [asdict(one) for one in config.vocabulary.classes],
        "unlabeled_id": config.vocabulary.unlabeled_id,
        "background_id": config.vocabulary.background_id,
        "settings": asdict(config.settings),
        "keep": list(config.keep),
        "prefix": config.prefix,
        "instances": config.instances,
        "stuff": list(config.stuff),
        "review": config.review,
    }


def vocabulary_of(job: dict[str, Any]) -> Vocabulary:
    """Return the vocabulary of a job."""
    classes = tuple(
        VocabularyClass(
            one["class_id"],
            one["name"],
            tuple(one["prompts"]),
            tuple(one["colour"]),
            tuple(one["members"]),
        )
        for one in job["vocabulary"]
    )
    return Vocabulary(classes, job["background_id"], max((one.class_id for one in classes), default=-1) + 1)


def kept_topics(recording: Recording, patterns: Sequence[str]) -> list[str]:
    """Return the topics of a recording that patterns such as `/tf*` name, sorted."""
    return [name for name in recording.topics if any(fnmatch.fnmatchcase(name, one) for one in patterns)]


def result_topic(prefix: str, stream: str, name: str) -> str:
    """Return the node's topic for a result of a camera."""
    return f"{prefix}/{stream}/{name}" if stream else f"{prefix}/{name}"


def _require_kept(config: LabelConfig, sources: Sequence[RecordingSource]) -> None:
    if config.keep and (config.format != "bag" or not sources):
        raise DatasetError(
            "--keep copies topics of recordings into recordings; leave it out, or write --to bag"
        )
    for pattern in config.keep:
        if not any(kept_topics(source.recording, [pattern]) for source in sources):
            raise DatasetError(
                f"--keep names {pattern!r}, which is no topic of {sources[0].recording.path}; expected names or "
                f"patterns of {', '.join(sources[0].recording.topics)}"
            )


def _require_no_clash(config: LabelConfig, source: RecordingSource) -> None:
    written = {
        *(result_topic(config.prefix, stream, name) for stream in source.streams for name in RESULTS),
        *(result_topic(config.prefix, "", name) for name in LATCHED),
    }
    twice = written & set(kept_topics(source.recording, config.keep)) if config.format == "bag" else None
    if twice:
        raise DatasetError(
            f"--keep takes {min(twice)} of {source.recording.path}, which would be written as well; keep fewer topics, "
            "or write others with --prefix"
        )
