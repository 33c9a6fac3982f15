"""Label recordings and folders of images, and write what was labelled; resume where an earlier process ended."""

from __future__ import annotations

import json
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from activesam_ros.datasets.image_files import EncodedImage
from activesam_ros.datasets.whole_folder import require_free, whole_folder
from activesam_ros.errors import DatasetError, ModelError, OutOfMemoryError, SettingsError, describe, reason
from activesam_ros.instances import MAX_INSTANCES
from activesam_ros.labelling.job import LabelConfig, open_job
from activesam_ros.labelling.labelled import LabelledImages
from activesam_ros.labelling.parts import LabelledFrame, LabelPart, labelled_part
from activesam_ros.labelling.png import rgb_png
from activesam_ros.labelling.stream import StreamLabeller
from activesam_ros.labelling.to_bag import write_bags
from activesam_ros.labelling.to_coco import write_coco
from activesam_ros.labelling.to_masks import write_masks
from activesam_ros.labelling.to_yolo import write_yolo
from activesam_ros.labelling.work import Shard, WorkFolder, read_json
from activesam_ros.system.memory import is_device_failure, is_out_of_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from activesam_ros.labelling.sources import Source, SourceImage
    from activesam_ros.segmenter import ActiveSegmenter

SUMMARY = "label.json"
"""File in every output: what was asked for, and which images could not be labelled."""

WRITERS: Mapping[str, Callable[[LabelledImages, Path], None]] = {
    "bag": write_bags,
    "masks": write_masks,
    "coco": write_coco,
    "yolo": write_yolo,
}
"""What can be made of labels, by the name of the format."""

# Parts that may wait to be written while the next image is labelled.
_WAITING = 2


@dataclass(frozen=True)
class LabelOutcome:
    """The end of a job, or of a shard of it.

    Attributes:
        out: folder that was written; None if nothing could be labelled, or the job has other shards.
        images: how many there are, those of other shards included.
        failed: those that could not be labelled: name and why.
        shortage: one sentence if fewer images could be read than the recordings state.
    """

    out: Path | None
    images: int
    failed: tuple[tuple[str, str], ...] = ()
    shortage: str | None = None


def label(
    config: LabelConfig,
    shard: Shard | None = None,
    overwrite: bool = False,
    say: Callable[[str], None] = lambda text: None,
    segmenter: ActiveSegmenter | None = None,
) -> LabelOutcome:
    """Label all images and write them, or the images of one shard, which `merge` writes.

    A job that was ended goes on where it was; one that is complete is left as it is.

    Args:
        config: what to do.
        shard: the part of the images to label; None: all.
        overwrite: begin anew, and remove what an earlier job wrote.
        say: called with the name of each step as it begins.
        segmenter: with the settings and the vocabulary; None: loaded, if there is anything to label.

    Raises:
        ActiveSamError: a source, the model or the output cannot be used, in one sentence.
        OSError: a file cannot be written.
    """
    if config.settings.encode_every > 1:
        raise SettingsError(
            f"encode_every is {config.settings.encode_every}, which saves time on a live camera and costs labels; "
            "expected 1 for labels that are kept"
        )
    shard = shard or Shard()
    work = WorkFolder(config.out)
    with ExitStack() as opening:
        sources, job = open_job(config, opening)
        there = complete(config.out, job, overwrite)
        if there is not None:
            return there
        opening.enter_context(work.locked(shard))
        work.begin(job, overwrite)
        labeller = _Labeller(config, work, shard, segmenter)
        counts = labeller.run(sources, say)
        shortage = [said for source in sources if (said := source.shortage())]
        work.finish(shard, counts, shortage)
        if shard.count > 1:
            return LabelOutcome(None, sum(counts), shortage="; ".join(shortage) or None)
        return merge(config.out, say, overwrite)


def complete(out: Path, job: dict[str, Any], overwrite: bool) -> LabelOutcome | None:
    """Return the outcome of a job that is complete already; None if there is something to do.

    Raises:
        DatasetError: the output is there, and is something else or may not be overwritten.
    """
    if not overwrite and (there := _written(out, job)) is not None:
        WorkFolder(out).remove()
        return there
    require_free(out, overwrite, SUMMARY, "folder of labels")
    return None


def load_segmenter(config: LabelConfig) -> ActiveSegmenter:
    """Load the model and encode the vocabulary.

    Raises:
        ActiveSamError: it cannot be loaded, or cannot read the vocabulary.
    """
    import torch

    from activesam_ros.segmenter import ActiveSegmenter

    if config.threads:
        torch.set_num_threads(config.threads)
    segmenter = ActiveSegmenter.from_pretrained(
        config.model,
        config.device,
        config.dtype,
        config.settings,
        prompt_cache=config.prompt_cache or "default",
    )
    segmenter.set_vocabulary(config.vocabulary)
    return segmenter


def merge(out: Path, say: Callable[[str], None] = lambda text: None, overwrite: bool = False) -> LabelOutcome:
    """Write what all shards of a job have labelled; `overwrite`: in place of earlier labels, which stay until then.

    Raises:
        DatasetError: a shard is not complete, or the output cannot be written.
    """
    work = WorkFolder(out)
    job = work.job
    if job is None:
        there = _written(out, None)
        if there is None:
            raise DatasetError(f"there is nothing to merge for {out}; label with --shard 1/N to N/N first")
        return there
    counts, shortage = work.complete()
    images = LabelledImages(job, work, tuple(counts))
    failed = [
        {
            "image": frame.name,
            "topic": job["sources"][frame.source].get("topics", {}).get(frame.stream),
            "index": frame.index,
            "stamp": frame.stamp,
            "error": frame.error,
        }
        for frame in images.frames()
        if frame.error is not None
    ]
    summary = {**job, "images": sum(counts), "failed": failed, "shortage": shortage}
    if len(failed) == sum(counts):
        work.remove()
        return replace(_outcome(out, summary), out=None)
    require_free(out, overwrite, SUMMARY, "folder of labels")
    say(f"writing {out}")
    with whole_folder(out) as folder:
        WRITERS[job["format"]](images, folder)
        if job["review"]:
            review = [
                {
                    "image": frame.name,
                    "index": frame.index,
                    "stamp": frame.stamp,
                    "confidence": frame.confidence,
                }
                for frame in images.uncertain()
            ]
            summary["to_review"] = review
        if images.beyond_images:
            summary["beyond_images"] = images.beyond_images
            say(
                f"{images.beyond_images} instances are 0 in the id images, which can hold {MAX_INSTANCES} ids of a "
                "camera; they have ids elsewhere"
            )
        text = json.dumps(summary, indent=1, ensure_ascii=False)
        (folder / SUMMARY).write_text(f"{text}\n", encoding="utf-8")
    work.remove()
    return _outcome(out, summary)


class _Labeller:
    """Labels the images of one shard that are not labelled yet."""

    def __init__(
        self, config: LabelConfig, work: WorkFolder, shard: Shard, segmenter: ActiveSegmenter | None
    ) -> None:
        self._config = config
        self._work = work
        self._shard = shard
        self._keeps_images = config.format != "bag"
        self._segmenter = segmenter
        # By source and camera: its stream, and the last image that is labelled.
        self._streams: dict[tuple[int, str], StreamLabeller] = {}
        self._last: dict[tuple[int, str], int] = {}

    def run(self, sources: Sequence[Source], say: Callable[[str], None]) -> list[int]:
        """Return how many images each source has; raise KeyboardInterrupt when the user ends it."""
        counts = []
        streams = before = 0
        with (
            ThreadPoolExecutor(1, "parts") as writer,
            tqdm(total=sum(map(len, sources)), desc="labelling", unit="image", smoothing=0.1) as bar,
        ):
            writing: deque[Future[None]] = deque()
            for number, source in enumerate(sources):
                wanted = self._wanted(number, source, before, streams)
                count = 0
                for image in source.images(wanted):
                    count += 1
                    if image is None:
                        _pass_over(bar)
                        continue
                    if self._segmenter is None:
                        say(f"loading the model {self._config.model}")
                        self._segmenter = load_segmenter(self._config)
                        bar.unpause()  # loading says nothing about the images
                    part = self._label(number, image)
                    if len(writing) == _WAITING:
                        writing.popleft().result()
                    writing.append(writer.submit(self._keep, part, image))
                    bar.update()
                counts.append(count)
                before += count
                streams += len(source.streams)
            for one in writing:
                one.result()
        return counts

    def _wanted(self, number: int, source: Source, before: int, streams: int) -> Callable[[str, int], bool]:
        """Return whether an image belongs to the shard and is not labelled yet.

        Images that depend on those before them stay together, whole streams at a time.
        """
        places = {stream: streams + place for place, stream in enumerate(source.streams)}
        whole_streams = self._config.settings.reuses_frames

        def wanted(stream: str, position: int) -> bool:
            place = places[stream] if whole_streams else before + position
            if place % self._shard.count != self._shard.number - 1:
                return False
            if not self._work.has(number, position):
                return True
            self._last[number, stream] = position
            self._streams.pop((number, stream), None)
            return False

        return wanted

    def _label(self, number: int, image: SourceImage) -> LabelPart:
        frame = LabelledFrame(**vars(image.frame), source=number)
        stream = self._stream(number, frame.stream)
        part = LabelPart(replace(frame, error=image.error or "there is no image"))
        if image.rgb is not None:
            try:
                result = stream.label(image.rgb, frame.stamp, self._config.instances)
                part = labelled_part(frame, result, confidence=not self._keeps_images)
            except Exception as error:  # one image must not end the job
                _require_device(error, frame.name)
                part = LabelPart(replace(frame, error=describe(error)))
        self._last[number, frame.stream] = frame.position
        return replace(part, memory={"state": stream.state}) if stream.remembers else part

    def _stream(self, number: int, stream: str) -> StreamLabeller:
        """Return what labels a stream, as it was after the last image that is labelled."""
        assert self._segmenter is not None
        key = number, stream
        if key not in self._streams:
            self._streams[key] = StreamLabeller(self._segmenter)
            if self._streams[key].remembers and key in self._last:
                with self._work.part(number, self._last[key]) as part:
                    kept = part.memory
                self._streams[key].restore(None if kept is None else kept["state"])
        return self._streams[key]

    def _keep(self, part: LabelPart, image: SourceImage) -> None:
        if self._keeps_images and image.rgb is not None and part.frame.error is None:
            part = replace(part, image=image.encoded or EncodedImage(rgb_png(image.rgb), "png"))
        self._work.write(part)


def _require_device(error: Exception, name: str) -> None:
    """End the job where not the image is to blame, so that this one and those that follow are labelled another time.

    Raises:
        OutOfMemoryError, ModelError: there was no memory for an image, or the GPU failed.
    """
    if is_out_of_memory(error):
        raise OutOfMemoryError(
            f"memory ran out at {name} ({reason(error)}); free some and run the same command, which goes on there, or "
            "leave out images as large with --overwrite --param max_pixels=N"
        ) from error
    if is_device_failure(error):
        raise ModelError(
            f"the GPU failed at {name} ({reason(error)}); see that it works, and run the same command, which goes on "
            "there"
        ) from error


def _pass_over(bar: Any) -> None:
    """Count an image that took no time, and so says nothing about those that are left."""
    bar.initial += 1
    bar.last_print_n += 1
    bar.n += 1


def _written(out: Path, job: dict[str, Any] | None) -> LabelOutcome | None:
    """Return the outcome of a job, or of any, if `out` is what it wrote."""
    summary = read_json(out / SUMMARY) if out.is_dir() else None
    if summary is None:
        return None
    same = job is None or all(
        summary.get(name) == value for name, value in json.loads(json.dumps(job)).items()
    )
    return _outcome(out, summary) if same else None


def _outcome(out: Path, summary: Mapping[str, Any]) -> LabelOutcome:
    failed = tuple((one["image"], one["error"]) for one in summary["failed"])
    return LabelOutcome(out, summary["images"], failed, "; ".join(summary["shortage"]) or None)
