"""Score labels that are in a recording, as a node has published them or `activesam-label` has written them."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from activesam_ros.datasets.class_map import recorded_class_map
from activesam_ros.datasets.label_origin import label_origin
from activesam_ros.datasets.recordings import Recording
from activesam_ros.datasets.samples import (
    TRUE_INSTANCES_TOPIC,
    SampleReader,
    default_image_topic,
    default_labels_topic,
    require_ids,
)
from activesam_ros.errors import EvaluationError
from activesam_ros.evaluation.config import EvaluationOutcome
from activesam_ros.evaluation.method_scores import MethodScores
from activesam_ros.evaluation.report.findings import LIVE_METHOD
from activesam_ros.evaluation.report.gallery import Gallery
from activesam_ros.evaluation.results import finalize
from activesam_ros.evaluation.run_folder import PICTURES, RunFolder, describe_run
from activesam_ros.evaluation.scoring import FrameCost, FrameLabels
from activesam_ros.results import ActiveClass
from activesam_ros.vocabulary import Vocabulary, VocabularyClass
from activesam_ros.vocabulary.palette import class_colours

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from activesam_ros.datasets.samples import Sample
    from activesam_ros.evaluation.config import ScoringConfig

_VOCABULARY, _ACTIVE_CLASSES = "activesam_ros/msg/Vocabulary", "activesam_ros/msg/ActiveClasses"
_DECODED = 2


def evaluate_predictions(
    config: ScoringConfig,
    topic: str,
    overwrite: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> EvaluationOutcome:
    """Score the labels on a topic and write the report; nothing is labelled, and no model is loaded.

    Labels belong to the image of the same stamp. An equal run is scored anew.

    Args:
        config: what to score them against.
        topic: of the labels.
        overwrite: whatever the folder holds of an earlier run.
        say: called with the name of each step as it begins.

    Raises:
        ActiveSamError: the recording, its truth or the folder cannot be used, in one sentence.
    """
    folder = RunFolder(config.out.expanduser())
    folder.require_own()
    with Recording(config.bag.expanduser()) as recording:
        vocabulary, revision = recorded_vocabulary(recording, topic)
        truth_topic = default_labels_topic(recording, config.labels_topic)
        image_topic = config.image_topic or _image_topic(recording, topic, truth_topic)
        config = replace(config, image_topic=image_topic, labels_topic=truth_topic)
        config.require_identities(recording)
        matching = config.matching(recording, vocabulary)
        origin = label_origin(recording)
        said = {**config.describe(recording), "predictions_topic": topic}
        description = describe_run(
            recording={**said, "played": dict(origin.played)} if origin.played else said,
            model=origin.model or {"name": f"that of {topic}"},
            vocabulary=vocabulary,
            matching=matching,
            settings={LIVE_METHOD: origin.settings},
            methods=[{"name": LIVE_METHOD, "description": f"the labels on {topic}", "differences": []}],
            corruptions=[],
            seed=0,
            machine=f"of the scoring: {platform.machine()}, {len(os.sched_getaffinity(0))} cores",
            command=config.command,
        )
        if folder.begin(description, overwrite):
            folder.begin(description, overwrite=True)
        say(f"scoring {topic}")
        with folder.append_to() as file:
            gallery = Gallery(folder.path / PICTURES, vocabulary, matching)
            scores = MethodScores(folder, file, matching, LIVE_METHOD, gallery=gallery)
            for sample, answer in _answers(recording, config, topic, revision):
                if isinstance(answer, str) or sample.rgb is None:
                    scores.fail(sample, str(answer))
                else:
                    scores.add(sample, sample.rgb, answer.labels, FrameCost(latency=answer.latency))
        notes, shortage = [*origin.notes, *recording.notes], recording.shortage(image_topic, topic)
    page, table = finalize(folder, notes)
    return EvaluationOutcome(page, table, False, scores.labelled, shortage)


def recorded_vocabulary(recording: Recording, topic: str) -> tuple[Vocabulary, int | None]:
    """Return the classes of recorded labels: as the node's `vocabulary` beside them says, else as LabelInfo does.

    Where they change, they are those at first, and their revision is returned too.

    Raises:
        EvaluationError: nothing says what the ids mean, or which labels have another meaning.
    """
    recording.require(topic)
    # Of several cameras there is one, a level above their labels.
    spaces = [topic.rsplit("/", depth)[0] for depth in (1, 2) if topic.count("/") >= depth]
    beside = [f"{space}/vocabulary" for space in spaces]
    found = next((one for one in beside if one in recording.topics_of(_VOCABULARY)), None)
    if found is None:
        names = recorded_class_map(recording, topic).names
        colours = class_colours(list(names.values())).tolist()
        pairs = zip(names.items(), colours, strict=True)
        vocabulary = _vocabulary(
            VocabularyClass(class_id, name, (name,), tuple(colour)) for (class_id, name), colour in pairs
        )
        return vocabulary, None
    said = [
        (
            int(one.message.revision),
            _vocabulary(map(_class, one.message.classes), int(one.message.background_id)),
        )
        for one in recording.messages([found])
        if one.message is not None
    ]
    if not said:
        raise EvaluationError(f"{found} has no message that can be read, so the ids of {topic} have no names")
    distinct = dict.fromkeys(said)
    if len({vocabulary for _, vocabulary in distinct}) == 1:
        return said[0][1], None
    told_apart = len({revision for revision, _ in distinct}) == len(distinct)
    if not told_apart or _active_topic(topic) not in recording.topics_of(_ACTIVE_CLASSES):
        raise EvaluationError(
            f"the vocabulary on {found} changes within {recording.path}, so its labels cannot be scored as one "
            "run; cut the recording where it changes"
        )
    revision, vocabulary = said[0]
    return vocabulary, revision


@dataclass(frozen=True, eq=False)
class _Answer:
    """Labels of a frame, and the seconds from its recording to theirs; None if they were not recorded live."""

    labels: FrameLabels
    latency: float | None


def _answers(
    recording: Recording, config: ScoringConfig, topic: str, revision: int | None
) -> Iterator[tuple[Sample, _Answer | str]]:
    """Return each image with the labels of its stamp, or why there are none, in one sentence.

    `revision` is that of the vocabulary; None: all labels have the same.
    """
    assert config.image_topic is not None
    samples = SampleReader(
        recording,
        config.image_topic,
        config.labels_topic,
        config.tolerance,
        config.every,
        config.start,
        config.end,
        predictions_topic=topic,
        true_ids_topic=config.instances_topic,
        predicted_ids_topic=_ids_topic(recording, topic) if config.instances_topic else None,
    )
    active = _active_classes(recording, topic)
    labelled_at = 0
    for sample in tqdm(samples, "scoring", len(samples), unit="frame", disable=None):
        predicted = sample.predicted
        if predicted is None:
            yield sample, sample.error or f"{topic} has no labels of its stamp"
        elif predicted.labels is None:
            yield sample, sample.error or f"its labels cannot be used: {predicted.error}"
        elif sample.rgb is not None and predicted.labels.shape != sample.rgb.shape[:2]:
            (height, width), (own_height, own_width) = predicted.labels.shape, sample.rgb.shape[:2]
            yield sample, f"the labels are {width}x{height}, the image is {own_width}x{own_height}"
        else:
            labels = predicted.labels
            of, classes = active.get(sample.stamp, (revision, None))
            if revision not in (None, of):
                about = f"the run is about revision {revision}"
                yield sample, f"it was labelled with revision {of} of the vocabulary, {about}"
                continue
            latency = (predicted.time - (sample.time or 0)) / 1e9
            timings = {}
            if latency > 0:
                # In which the node did nothing else: other images wait meanwhile.
                timings["total"] = max(0.0, min(latency, (predicted.time - labelled_at) / 1e9))
            labelled_at = predicted.time
            unlabeled = int(np.iinfo(labels.dtype).max)
            yield (
                sample,
                _Answer(
                    FrameLabels(labels, unlabeled, classes, timings, sample.predicted_ids),
                    latency if latency > 0 else None,
                ),
            )


def _ids_topic(recording: Recording, topic: str) -> str:
    """Return where a node has the ids of things beside labels; raises EvaluationError if they were not recorded."""
    ids = f"{topic.rpartition('/')[0]}/instances"
    require_ids(recording, ids)
    return ids


def _active_topic(topic: str) -> str:
    """Return where a node has the active classes of labels."""
    return f"{topic.rpartition('/')[0]}/active_classes"


def _active_classes(recording: Recording, topic: str) -> dict[int, tuple[int, tuple[ActiveClass, ...]]]:
    """Return by stamp the revision of the vocabulary and the decoded classes, where they were recorded."""
    beside = _active_topic(topic)
    if beside not in recording.topics_of(_ACTIVE_CLASSES):
        return {}
    found = {}
    for one in recording.messages([beside]):
        if one.message is not None and one.message.stage == _DECODED:
            stamp = one.message.header.stamp
            found[int(stamp.sec * 1_000_000_000 + stamp.nanosec)] = (
                int(one.message.vocabulary_revision),
                tuple(
                    ActiveClass(int(each.class_id), str(each.name), float(each.presence), None, None)
                    for each in one.message.classes
                ),
            )
    return found


def _image_topic(recording: Recording, topic: str, truth_topic: str | None) -> str:
    """Return the only image topic that is neither truth nor one of the node's results."""
    try:
        return default_image_topic(recording, truth_topic)
    except EvaluationError as error:
        space = topic.rpartition("/")[0]
        images = [
            one
            for one in recording.topics_of("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
            if one not in (truth_topic, TRUE_INSTANCES_TOPIC) and not one.startswith(f"{space}/")
        ]
        if len(images) != 1:
            raise error
        return images[0]


def _class(message: Any) -> VocabularyClass:
    colour = (round(255 * message.color.r), round(255 * message.color.g), round(255 * message.color.b))
    return VocabularyClass(
        int(message.class_id), str(message.name), tuple(message.prompts), colour, tuple(message.members)
    )


def _vocabulary(classes: Any, background: int = -1) -> Vocabulary:
    classes = tuple(classes)
    following = max((one.class_id for one in classes), default=-1) + 1
    return Vocabulary(classes, None if background < 0 else background, following)
