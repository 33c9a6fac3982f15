"""What an evaluation is asked for, and what comes of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from activesam_ros.datasets.class_map import ClassMatching, class_map_of, match_classes, read_mapping
from activesam_ros.datasets.samples import require_ids
from activesam_ros.errors import EvaluationError
from activesam_ros.evaluation.identities import require_motmetrics

if TYPE_CHECKING:
    from pathlib import Path

    from activesam_ros.datasets.recordings import Recording
    from activesam_ros.evaluation.corruptions import Corrupted
    from activesam_ros.settings import SegmenterSettings
    from activesam_ros.vocabulary import Vocabulary


@dataclass(frozen=True)
class ScoringConfig:
    """Which labels are scored, and against what.

    Attributes:
        bag: the recording.
        out: folder of the report.
        image_topic: None: the only one there is.
        labels_topic: of the ground truth; None: that of a recording of `activesam-make-bag`, else none; "none": none.
        class_map: names of its ids: a topic, or a YAML file; None: the LabelInfo beside the labels.
        mapping: YAML file, names in the truth to names in the vocabulary.
        ignore: ids of the truth to leave out.
        instances_topic: ids of the true things, for scores of identities; None: they are not scored.
        tolerance: maximum seconds between the stamps of an image and of its truth.
        every: take each so many-th image.
        start, end: seconds from the recording's beginning.
        command: that asked for it.
    """

    bag: Path
    out: Path
    image_topic: str | None = None
    labels_topic: str | None = None
    class_map: str | None = None
    mapping: Path | None = None
    ignore: tuple[int, ...] = ()
    instances_topic: str | None = None
    tolerance: float = 0.02
    every: int = 1
    start: float | None = None
    end: float | None = None
    command: str = ""

    def matching(self, recording: Recording, vocabulary: Vocabulary) -> ClassMatching | None:
        """Return which classes of the ground truth are which of the vocabulary; None without ground truth.

        Raises:
            EvaluationError: nothing says what the ids of the truth mean, or no class is in both.
        """
        if self.labels_topic is None:
            return None
        class_map = class_map_of(recording, self.labels_topic, self.class_map)
        mapping = read_mapping(self.mapping.expanduser()) if self.mapping else None
        return match_classes(vocabulary, class_map.ignoring(self.ignore), mapping)

    def require_identities(self, recording: Recording) -> None:
        """Refuse true ids that cannot be compared with anything.

        Raises:
            ActiveSamError: there is no ground truth of classes, the topic holds no ids, or motmetrics is missing.
        """
        if self.instances_topic is None:
            return
        if self.labels_topic is None:
            raise EvaluationError(
                f"the ids on {self.instances_topic} need the classes of their pixels; give ground truth with --labels, "
                "or leave out --instances"
            )
        require_ids(recording, self.instances_topic)
        require_motmetrics()

    def describe(self, recording: Recording) -> dict[str, Any]:
        """Return which part of which recording is evaluated, as plain data."""
        path = self.bag.expanduser()
        files = [one for one in path.iterdir() if one.is_file()] if path.is_dir() else [path]
        return {
            "path": str(self.bag),
            # Tells a recording from one that took its place.
            "bytes": sum(one.stat().st_size for one in files),
            "image_topic": self.image_topic,
            "labels_topic": self.labels_topic,
            **({"instances_topic": self.instances_topic} if self.instances_topic else {}),
            "class_map": self.class_map,
            "ignore": list(self.ignore),
            "tolerance": self.tolerance,
            "every": self.every,
            "start": self.start,
            "end": self.end,
            "seconds": ((recording.end or 0) - (recording.start or 0)) / 1e9,
            "images": None if self.image_topic is None else recording.topics[self.image_topic].count,
        }


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig(ScoringConfig):
    """What to label by which methods, and what to score it against.

    Attributes:
        model, device, dtype: as for `load_checkpoint`.
        vocabulary, settings: of the segmenter.
        methods: names; the first is the one that the others are compared with.
        corruptions: the first method labels the images so corrupted too.
        seed: of the corruptions.
        threads: torch's; None: its choice.
        prompt_cache: folder; None: the program's own.
    """

    model: str
    vocabulary: Vocabulary
    settings: SegmenterSettings
    device: str = "auto"
    dtype: str = "auto"
    methods: tuple[str, ...] = ("active",)
    corruptions: tuple[Corrupted, ...] = ()
    seed: int = 0
    threads: int | None = None
    prompt_cache: Path | None = None


@dataclass(frozen=True)
class EvaluationOutcome:
    """The end of an evaluation.

    Attributes:
        report: the page.
        table: the headline in plain text.
        interrupted: whether Ctrl-C ended it before its last frame.
        labelled: whether any frame was labelled; where none was, the report only says why.
        shortage: one sentence if fewer frames could be read than the recording states.
    """

    report: Path
    table: str
    interrupted: bool
    labelled: bool = True
    shortage: str | None = None
