"""The loop of an evaluation: every image of a recording, every method, every corruption; then the report."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from activesam_ros.datasets.class_map import (
    LABEL_INFO,
    ClassMap,
    ClassMatching,
    match_classes,
    read_class_map,
    read_mapping,
    recorded_class_map,
)
from activesam_ros.datasets.recordings import Recording
from activesam_ros.datasets.samples import Sample, SampleReader, default_image_topic
from activesam_ros.errors import EvaluationError, describe
from activesam_ros.evaluation.corruptions import corrupt
from activesam_ros.evaluation.finishing import finish
from activesam_ros.evaluation.flops import PathWork
from activesam_ros.evaluation.judge import Cost, FrameBefore, FrameJudge
from activesam_ros.evaluation.methods import Labeller, build, frame_work, known_methods
from activesam_ros.evaluation.records import FrameRecord, RecordFile, read_records
from activesam_ros.evaluation.report.gallery import Gallery
from activesam_ros.evaluation.request import Request, described_run
from activesam_ros.evaluation.run_folder import PICTURES, RunFolder
from activesam_ros.evaluation.streams import Stream
from activesam_ros.segmenter import ActiveSegmenter
from activesam_ros.system.machine import machine
from activesam_ros.system.memory import memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np

    from activesam_ros.results import SegmentationResult

REFERENCE = "full-vocabulary"
"""Without ground truth, the method whose labels the others are compared with."""


@dataclass(frozen=True)
class Finished:
    """The end of an evaluation.

    Attributes:
        report: the page.
        table: the headline in plain text.
        interrupted: whether Ctrl-C ended it before its last frame.
        labelled: whether any frame was labelled; where none was, the report only says why.
    """

    report: Path
    table: str
    interrupted: bool
    labelled: bool = True


@dataclass(frozen=True)
class _Job:
    """One method with one corruption: its name and severity; both empty for clean images."""

    method: str
    labeller: Labeller
    corruption: str = ""
    kind: str = ""
    severity: int = 0

    def picture(self, sample: Sample, seed: int) -> np.ndarray:
        if not self.kind:
            return sample.rgb
        return corrupt(sample.rgb, self.kind, self.severity, seed, sample.index)


def evaluate(
    request: Request, overwrite: bool = False, say: Callable[[str], None] = lambda text: None
) -> Finished:
    """Labels a recording with every method and writes the report; goes on where an equal run was interrupted.

    Args:
        request: what.
        overwrite: begin anew, whatever the folder holds of an earlier run.
        say: told which part begins.

    Raises:
        ActiveSamError: the recording, its truth, the model or the folder cannot be used, in one sentence.
        KeyboardInterrupt: it was interrupted before the first frame was done.
    """
    import torch

    if request.threads:
        torch.set_num_threads(request.threads)
    names = _method_names(request)
    methods = known_methods(names)
    folder = RunFolder(request.out.expanduser())
    folder.require_own()
    with Recording(request.bag.expanduser()) as source:
        if request.labels_topic is not None:
            source.require(request.labels_topic)
        image_topic = request.image_topic or default_image_topic(source, request.labels_topic)
        matching = _matching(request, source)
        part = (request.every, request.start, request.end)
        # What is wrong with folder or recording is said before the model is loaded.
        stream = SampleReader(
            source,
            image_topic,
            request.labels_topic,
            request.tolerance,
            *part,
            max_pixels=request.settings.max_pixels,
        )
        expected = len(stream)
        if not expected:
            raise EvaluationError(
                f"{source.path} has no message on {image_topic} in the part that is asked for"
            )
        say(f"loading the model {request.model}")
        segmenter = ActiveSegmenter.from_pretrained(
            request.model,
            request.device,
            request.dtype,
            request.settings,
            prompt_cache=request.prompt_cache or "default",
        )
        labellers = {}
        for name in names:
            say(f"preparing {name}")
            labellers[name] = build(name, segmenter, request.vocabulary)
        jobs = [_Job(name, labellers[name]) for name in names]
        jobs += [
            _Job(names[0], labellers[names[0]], str(one), one.name, one.severity)
            for one in request.corruptions
        ]
        description = described_run(
            recording=_described_recording(request, source, image_topic),
            model={
                "name": request.model,
                "device": segmenter.device,
                "dtype": segmenter.dtype,
                "full_resolution": segmenter.full_resolution,
                "preview_resolution": segmenter.preview_resolution,
            },
            vocabulary=request.vocabulary,
            matching=matching,
            settings={name: labeller.settings for name, labeller in labellers.items()},
            methods=[
                {
                    "name": one.name,
                    "description": one.description,
                    "differences": list(one.differences),
                    "path": one.path,
                }
                for one in methods
            ],
            corruptions=[str(one) for one in request.corruptions],
            seed=request.seed,
            machine=machine(torch.get_num_threads()),
            command=request.command,
        )
        done = folder.begin(description, overwrite)
        work = PathWork(segmenter.checkpoint.config)
        loop = _Loop(request, folder, jobs, matching, work, segmenter.device, done)
        interrupted = False
        try:
            loop.run(stream, expected)
        except KeyboardInterrupt:
            if not read_records(folder.records_path):
                raise  # there is nothing to report
            interrupted = True
            say("interrupted; writing the report of what was done")
        notes = [source.cut] if source.cut else []
    if interrupted:
        notes.insert(0, "The run was interrupted; the same command goes on with it.")
    page, table = finish(folder, notes)
    return Finished(page, table, interrupted, loop.labelled)


def rewrite_report(folder: Path) -> Path:
    """Makes results and page of a run anew from what its folder holds; the path of the page.

    Raises:
        EvaluationError: it is no folder of an evaluation.
    """
    run = RunFolder(folder.expanduser())
    page, _ = finish(run, run.notes())
    return page


class _Loop:
    """Takes sample after sample through every job, and keeps a record of each."""

    def __init__(
        self,
        request: Request,
        folder: RunFolder,
        jobs: list[_Job],
        matching: ClassMatching | None,
        work: PathWork,
        device: str,
        done: list[FrameRecord],
    ) -> None:
        self._request = request
        self._folder = folder
        # The reference comes first, since the others are compared with it.
        self._jobs = sorted(jobs, key=lambda job: (job.method, job.corruption) != (REFERENCE, ""))
        self._first = jobs[0].method
        self._matching = matching
        self._judge = FrameJudge(matching)
        self._work = work
        self._device = device
        self._done = {record.key for record in done}
        self._failed = {record.key for record in done if record.unlabeled is None}
        self.labelled = bool(self._done - self._failed)
        self._gallery = Gallery(folder.path / PICTURES, request.vocabulary, matching)
        self._before: dict[_Job, tuple[int, np.ndarray | None]] = {}
        self._warm: set[Labeller] = set()
        self._streams = {
            job: Stream(folder, job.method, job.corruption, job.labeller, done)
            for job in jobs
            if job.labeller.settings.reuses_frames
        }

    def run(self, stream: Iterator[Sample], expected: int) -> None:
        """Raises KeyboardInterrupt when the user ends it; what was done is kept."""
        with (
            self._folder.append_to() as file,
            tqdm(total=expected, desc="evaluating", unit="frame", smoothing=0.1) as bar,
        ):
            for sample in stream:
                self._one(sample, file)
                bar.update()

    def _one(self, sample: Sample, file: RecordFile) -> None:
        reference: np.ndarray | None = None
        for job in self._jobs:
            key = (job.method, job.corruption, sample.index)
            if key in self._done:
                if key in self._failed:
                    self._before.pop(job, None)
                else:
                    self._catch_up(sample, job)
                    self._before[job] = (sample.index, sample.truth)
                    if job.method == REFERENCE and not job.corruption:
                        reference = self._folder.prediction(*key)
                continue
            if sample.rgb is None:
                self._before.pop(job, None)
                file.append(
                    self._judge.failed(
                        sample, sample.error or "no image", method=job.method, corruption=job.corruption
                    )
                )
                continue
            labels = self._label(sample, job, reference, file)
            if job.method == REFERENCE and not job.corruption:
                reference = labels

    def _label(
        self, sample: Sample, job: _Job, reference: np.ndarray | None, file: RecordFile
    ) -> np.ndarray | None:
        """Labels a frame, keeps record and labels; None if it failed."""
        try:
            rgb = job.picture(sample, self._request.seed)
            self._warm_up(job.labeller, rgb)
            begin = time.perf_counter()
            if job in self._streams:
                result = self._streams[job].segment(rgb, sample.stamp)
            else:
                result = job.labeller.segment(rgb)
            latency = time.perf_counter() - begin
        except Exception as error:  # one frame must not end the run
            self._before.pop(job, None)
            file.append(
                self._judge.failed(sample, describe(error), method=job.method, corruption=job.corruption)
            )
            return None
        compared = reference if (job.method, job.corruption) != (REFERENCE, "") else None
        record = self._judge.judge(
            sample,
            result,
            self._previous(job),
            method=job.method,
            corruption=job.corruption,
            reference=compared,
            cost=self._cost(job, result, latency),
        )
        self._folder.save_prediction(job.method, job.corruption, sample.index, result.labels)
        if job.method == self._first and not job.corruption:
            truth = None
            if sample.truth is not None and self._matching is not None:
                truth = self._matching.truth_of(sample.truth)
            self._gallery.offer(record, rgb, result.labels, truth, compared, REFERENCE)
        self.labelled = True
        if job in self._streams:
            self._streams[job].save(sample.index)
        # Last: what has a record is not done again.
        file.append(record)
        self._before[job] = (sample.index, sample.truth)
        return result.labels

    def _catch_up(self, sample: Sample, job: _Job) -> None:
        """Has a stream see a frame again that an earlier run labelled, if what it remembers is not known otherwise."""
        stream = self._streams.get(job)
        if stream is not None and not stream.restored and sample.rgb is not None:
            stream.segment(job.picture(sample, self._request.seed), sample.stamp)

    def _previous(self, job: _Job) -> FrameBefore | None:
        before = self._before.get(job)
        if before is None:
            return None
        labels = self._folder.prediction(job.method, job.corruption, before[0])
        return None if labels is None else FrameBefore(before[1], labels)

    def _cost(self, job: _Job, result: SegmentationResult, latency: float) -> Cost:
        counted = frame_work(job.method, job.labeller, result, self._work)
        return Cost(latency, counted.total, asdict(counted), self._peak_memory())

    def _peak_memory(self) -> int:
        import torch

        if self._device.startswith("cuda"):
            return torch.cuda.max_memory_allocated(self._device)
        return memory().peak

    def _warm_up(self, labeller: Labeller, rgb: np.ndarray) -> None:
        """What only the first image pays for is not measured."""
        if labeller not in self._warm:
            self._warm.add(labeller)
            labeller.segment(rgb)


def _method_names(request: Request) -> list[str]:
    names = list(dict.fromkeys(request.methods))
    if request.labels_topic is None and REFERENCE not in names:
        names.append(REFERENCE)
    return names


def _matching(request: Request, source: Recording) -> ClassMatching | None:
    if request.labels_topic is None:
        return None
    given = request.class_map
    if given is None or (given in source.topics and source.topics[given].type == LABEL_INFO):
        class_map: ClassMap = recorded_class_map(source, request.labels_topic, given)
    elif Path(given).expanduser().exists():
        class_map = read_class_map(Path(given).expanduser())
    else:
        raise EvaluationError(
            f"--classes {given!r} is neither a file nor a topic of the recording, which has {source.describe_topics()}"
        )
    mapping = read_mapping(request.mapping.expanduser()) if request.mapping else None
    return match_classes(request.vocabulary, class_map.ignoring(request.ignore), mapping)


def _described_recording(request: Request, source: Recording, image_topic: str) -> dict[str, Any]:
    span = (source.end or 0) - (source.start or 0)
    return {
        "path": str(request.bag),
        # Tells a recording from one that took its place.
        "bytes": _size(request.bag.expanduser()),
        "image_topic": image_topic,
        "labels_topic": request.labels_topic,
        "class_map": request.class_map,
        "ignore": list(request.ignore),
        "tolerance": request.tolerance,
        "every": request.every,
        "start": request.start,
        "end": request.end,
        "seconds": span / 1e9,
        "images": source.topics[image_topic].count,
    }


def _size(path: Path) -> int:
    files = [one for one in path.iterdir() if one.is_file()] if path.is_dir() else [path]
    return sum(one.stat().st_size for one in files)
