"""Score labels that are in a recording, as a node has published them or `activesam-label` has written them."""

from __future__ import annotations

import platform
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from activesam_ros.datasets.class_map import recorded_class_map
from activesam_ros.datasets.recordings import Recording
from activesam_ros.datasets.samples import (
    TRUE_INSTANCES_TOPIC,
    SampleReader,
    default_image_topic,
    default_labels_topic,
)
from activesam_ros.errors import EvaluationError
from activesam_ros.evaluation.live import LiveRun
from activesam_ros.evaluation.report.findings import LIVE_METHOD
from activesam_ros.evaluation.run_folder import RunFolder, describe_run
from activesam_ros.evaluation.runner import EvaluationOutcome, describe_recording, matching_of
from activesam_ros.evaluation.scoring import FrameLabels
from activesam_ros.results import ActiveClass
from activesam_ros.vocabulary import Vocabulary, VocabularyClass
from activesam_ros.vocabulary.palette import class_colours

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from activesam_ros.datasets.samples import Sample
    from activesam_ros.evaluation.runner import EvaluationConfig

_VOCABULARY, _ACTIVE_CLASSES = "activesam_ros/msg/Vocabulary", "activesam_ros/msg/ActiveClasses"
_DECODED = 2


def evaluate_predictions(
    config: EvaluationConfig,
    topic: str,
    overwrite: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> EvaluationOutcome:
    """Score the labels on a topic and write the report; nothing is labelled, and no model is loaded.

    Labels belong to the image of the same stamp. An equal run is scored anew.

    Args:
        config: what to evaluate; its model, vocabulary, settings, methods and corruptions do not count.
        topic: of the labels.
        overwrite: whatever the folder holds of an earlier run.
        say: called with the name of each step as it begins.

    Raises:
        ActiveSamError: the recording, its truth or the folder cannot be used, in one sentence.
    """
    folder = RunFolder(config.out.expanduser())
    folder.require_own()
    with Recording(config.bag.expanduser()) as recording:
        vocabulary = recorded_vocabulary(recording, topic)
        truth_topic = default_labels_topic(recording, config.labels_topic)
        image_topic = config.image_topic or _image_topic(recording, topic, truth_topic)
        config = replace(
            config, image_topic=image_topic, labels_topic=truth_topic, vocabulary=vocabulary, methods=()
        )
        matching = matching_of(config, recording)
        method = {"name": LIVE_METHOD, "description": f"the labels on {topic}", "differences": []}
        description = describe_run(
            recording={**describe_recording(config, recording), "predictions_topic": topic},
            model={"name": f"that of {topic}"},
            vocabulary=vocabulary,
            matching=matching,
            settings={},
            methods=[method],
            corruptions=[],
            seed=0,
            machine=f"of the scoring: {platform.machine()}",
            command=config.command,
        )
        if folder.begin(description, overwrite):
            folder.begin(description, overwrite=True)
        run = LiveRun(folder, vocabulary, matching)
        say(f"scoring {topic}")
        with run:
            for sample, answer in _answers(recording, config, topic):
                if isinstance(answer, str):
                    run.add_failed(sample, answer)
                else:
                    run.add(sample, answer)
        notes, shortage = list(recording.notes), recording.shortage(image_topic, topic)
    page, table = run.finalize(notes)
    return EvaluationOutcome(page, table, False, run.failed < run.frames, shortage)


def recorded_vocabulary(recording: Recording, topic: str) -> Vocabulary:
    """Return the classes of recorded labels: as the node's `vocabulary` beside them says, else as LabelInfo does.

    Raises:
        EvaluationError: nothing says what the ids mean, or they change their meaning within the recording.
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
        return _vocabulary(
            VocabularyClass(class_id, name, (name,), tuple(colour)) for (class_id, name), colour in pairs
        )
    said = [one.message for one in recording.messages([found]) if one.message is not None]
    if not said:
        raise EvaluationError(f"{found} has no message that can be read, so the ids of {topic} have no names")
    vocabularies = {_vocabulary(map(_class, one.classes), int(one.background_id)) for one in said}
    if len(vocabularies) > 1:
        raise EvaluationError(
            f"the vocabulary on {found} changes within {recording.path}, so its labels cannot be scored as one "
            "run; cut the recording where it changes"
        )
    return vocabularies.pop()


def _answers(
    recording: Recording, config: EvaluationConfig, topic: str
) -> Iterator[tuple[Sample, FrameLabels | str]]:
    """Return each image with the labels of its stamp, or why there are none, in one sentence."""
    part = (config.every, config.start, config.end)
    assert config.image_topic is not None
    samples = SampleReader(recording, config.image_topic, config.labels_topic, config.tolerance, *part)
    answers = SampleReader(recording, config.image_topic, topic, 0.0, *part)
    active = _active_classes(recording, topic)
    bar = tqdm(zip(samples, answers, strict=True), "scoring", len(samples), unit="frame", disable=None)
    for sample, answer in bar:
        if answer.truth is None:
            why = sample.error or answer.error or f"{topic} has no labels of its stamp"
            yield sample, why.replace("ground truth", "label image")
        else:
            labels = answer.truth
            yield sample, FrameLabels(labels, int(np.iinfo(labels.dtype).max), active.get(sample.stamp))


def _active_classes(recording: Recording, topic: str) -> dict[int, tuple[ActiveClass, ...]]:
    """Return the decoded classes by stamp, where they were recorded beside the labels."""
    beside = f"{topic.rpartition('/')[0]}/active_classes"
    if beside not in recording.topics_of(_ACTIVE_CLASSES):
        return {}
    found = {}
    for one in recording.messages([beside]):
        if one.message is not None and one.message.stage == _DECODED:
            stamp = one.message.header.stamp
            found[int(stamp.sec * 1_000_000_000 + stamp.nanosec)] = tuple(
                ActiveClass(int(each.class_id), str(each.name), float(each.presence), None, None)
                for each in one.message.classes
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
