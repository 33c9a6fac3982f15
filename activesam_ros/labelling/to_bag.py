"""Write labels as a recording with the node's own topics, under the headers and times of the images."""

from __future__ import annotations

import heapq
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from activesam_ros.datasets.bag_writer import DETECTIONS, IMAGE, LABEL_INFO, BagWriter
from activesam_ros.datasets.label_origin import LabelOrigin
from activesam_ros.datasets.recordings import Recording
from activesam_ros.labelling.job import kept_topics, result_topic
from activesam_ros.labelling.segments import instance_ids

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from activesam_ros.labelling.labelled import LabelledImages
    from activesam_ros.labelling.parts import LabelledFrame, PartFile

_ACTIVE_CLASSES, _ACTIVE_CLASS = "activesam_ros/msg/ActiveClasses", "activesam_ros/msg/ActiveClass"
_VOCABULARY, _VOCABULARY_CLASS = "activesam_ros/msg/Vocabulary", "activesam_ros/msg/VocabularyClass"
# As of a node that was started with the vocabulary.
_REVISION = 1
_DECODED = 2

_Write = tuple[int, "Callable[[], None]"]
"""When something was recorded, in nanoseconds, and what writes it."""


def write_bags(images: LabelledImages, folder: Path) -> None:
    """Write one recording a source: `folder` itself, or one folder each in it if there are several.

    Raises:
        ActiveSamError: a recording cannot be read any more.
    """
    sources = images.job["sources"]
    origin = LabelOrigin(images.job["model"], images.job["settings"])
    for number, source in enumerate(sources):
        path = folder if len(sources) == 1 else folder / source["name"]
        with ExitStack() as opening:
            bag = opening.enter_context(BagWriter(path, squeeze=True, notes=origin.custom_data()))
            labels = _Labels(bag, images, number).writes()
            kept: Iterator[_Write] = iter(())
            if images.job["keep"] and source["kind"] == "recording":
                recording = opening.enter_context(Recording(source["path"]))
                kept = _kept(bag, recording, images.job)
            for _, write in heapq.merge(kept, labels, key=lambda one: one[0]):
                write()


class _Labels:
    """Writes the labels of one source."""

    def __init__(self, bag: BagWriter, images: LabelledImages, source: int) -> None:
        self._bag = bag
        self._images = images
        self._source = source
        prefix = images.job["prefix"]
        self._label_info = bag.connection(result_topic(prefix, "", "label_info"), LABEL_INFO, latched=True)
        self._vocabulary = bag.connection(result_topic(prefix, "", "vocabulary"), _VOCABULARY, latched=True)
        self._results: dict[str, tuple[Any, Any, Any]] = {
            stream: (
                bag.connection(result_topic(prefix, stream, "labels"), IMAGE),
                bag.connection(result_topic(prefix, stream, "confidence"), IMAGE),
                bag.connection(result_topic(prefix, stream, "active_classes"), _ACTIVE_CLASSES),
            )
            for stream in images.job["sources"][source].get("topics", {"": None})
        }
        self._things: dict[str, tuple[Any, Any, Any]] = {}
        if images.job["instances"]:
            self._things = {
                stream: (
                    bag.connection(result_topic(prefix, stream, "detections"), DETECTIONS),
                    bag.connection(result_topic(prefix, stream, "instances"), IMAGE),
                    bag.connection(result_topic(prefix, stream, "panoptic"), IMAGE),
                )
                for stream in self._results
            }
        # Stamp of the names that were written last.
        self._named: int | None = None

    def writes(self) -> Iterator[_Write]:
        for frame, part in self._images.parts(self._source):
            yield frame.time, partial(self._write, frame, part)

    def _write(self, frame: LabelledFrame, part: PartFile) -> None:
        bag, time = self._bag, frame.time
        header = bag.header(frame.stamp, frame.frame_id)
        # Time may jump back, as where a recording starts anew; the names must hold for these images too.
        if self._named is None or frame.stamp < self._named:
            self._named = frame.stamp
            vocabulary = self._images.vocabulary
            names = dict(zip(vocabulary.class_ids, vocabulary.names, strict=True))
            threshold = self._images.job["settings"]["confidence_threshold"]
            bag.write(self._label_info, time, bag.label_info(header, names, threshold))
            bag.write(self._vocabulary, time, self._vocabulary_message(header))
        labels, confidence, active = self._results[frame.stream]
        bag.write(labels, time, bag.label_image(header, part.labels))
        bag.write(active, time, self._active_classes(header, frame))
        bag.write(confidence, time, bag.image(header, part.confidence, "mono8"))

        if self._things:
            detections, ids, panoptic = self._things[frame.stream]
            drawn = instance_ids(frame, part)
            both = part.labels.astype(np.uint32) << 16 | drawn
            bag.write(detections, time, self._detections(header, frame))
            bag.write(ids, time, bag.image(header, drawn, "16UC1"))
            bag.write(panoptic, time, bag.image(header, both.view(np.int32), "32SC1"))

    def _detections(self, header: Any, frame: LabelledFrame) -> Any:
        return self._bag.message(
            DETECTIONS,
            header=header,
            detections=[
                self._bag.detection(header, one.name, one.score, one.box, one.id) for one in frame.instances
            ],
        )

    def _active_classes(self, header: Any, frame: LabelledFrame) -> Any:
        bag, size = self._bag, frame.width * frame.height
        return bag.message(
            _ACTIVE_CLASSES,
            header=header,
            vocabulary_revision=_REVISION,
            vocabulary_size=len(self._images.vocabulary),
            stage=_DECODED,
            classes=[
                bag.message(
                    _ACTIVE_CLASS,
                    class_id=one.class_id,
                    name=one.name,
                    presence=one.presence,
                    area=one.pixels / size,
                )
                for one in frame.active
            ],
        )

    def _vocabulary_message(self, header: Any) -> Any:
        bag, vocabulary = self._bag, self._images.vocabulary
        classes = []
        for one in vocabulary.classes:
            red, green, blue = (channel / 255 for channel in one.colour)
            color = bag.message("std_msgs/msg/ColorRGBA", r=red, g=green, b=blue, a=1.0)
            classes.append(
                bag.message(
                    _VOCABULARY_CLASS,
                    class_id=one.class_id,
                    name=one.name,
                    color=color,
                    prompts=list(one.prompts),
                    members=list(one.members),
                )
            )
        background = vocabulary.background_id
        return bag.message(
            _VOCABULARY,
            header=header,
            revision=_REVISION,
            unlabeled_id=vocabulary.unlabeled_id,
            background_id=-1 if background is None else background,
            classes=classes,
        )


def _kept(bag: BagWriter, recording: Recording, job: dict[str, Any]) -> Iterator[_Write]:
    """Copy messages of other topics, of the same part of the recording."""
    topics = kept_topics(recording, job["keep"])
    # Files of one recording describe the same topic each for itself.
    connections: dict[tuple[str, str], Any] = {}
    for one in recording.connections(topics):
        if (one.topic, one.type) not in connections:
            connections[one.topic, one.type] = bag.copied_connection(one)
    part = job["part"]
    for time, one, data in recording.serialised(topics, part["start"], part["end"]):
        yield time, partial(bag.write_raw, connections[one.topic, one.type], time, data)
