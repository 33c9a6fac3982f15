"""Run an evaluation: every image of a recording, every method, every corruption; then the report."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from activesam_ros.datasets.class_map import class_map_of, match_classes, read_mapping
from activesam_ros.datasets.recordings import Recording
from activesam_ros.datasets.samples import (
    SampleReader,
    default_image_topic,
    default_labels_topic,
    require_ids,
)
from activesam_ros.errors import EvaluationError, describe
from activesam_ros.evaluation.corruptions import corrupt
from activesam_ros.evaluation.identities import require_motmetrics
from activesam_ros.evaluation.methods import (
    METHODS,
    FlopsCounter,
    Method,
    MethodSegmenter,
    PerClassSegmenter,
    known_methods,
)
from activesam_ros.evaluation.records import FrameRecord, read_records
from activesam_ros.evaluation.report.findings import FULL_VOCABULARY
from activesam_ros.evaluation.report.gallery import Gallery
from activesam_ros.evaluation.results import finalize, read_notes
from activesam_ros.evaluation.run_folder import PICTURES, RunFolder, describe_run
from activesam_ros.evaluation.scoring import FrameCost, PreviousFrame, failed_frame, score_frame
from activesam_ros.segmenter import ActiveSegmenter
from activesam_ros.stages.association import IdCounter
from activesam_ros.stages.temporal_reuse import StreamMemory
from activesam_ros.system.machine import machine
from activesam_ros.system.memory import memory

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import numpy as np

    from activesam_ros.datasets.class_map import ClassMatching
    from activesam_ros.datasets.samples import Sample
    from activesam_ros.evaluation.corruptions import Corrupted
    from activesam_ros.results import SegmentationResult
    from activesam_ros.settings import SegmenterSettings
    from activesam_ros.vocabulary import Vocabulary


@dataclass(frozen=True)
class EvaluationConfig:
    """What to evaluate.

    Attributes:
        bag: the recording.
        out: folder of the report.
        model, device, dtype: as for `load_checkpoint`.
        vocabulary, settings: of the segmenter.
        image_topic: None: the only one there is.
        labels_topic: of the ground truth; None: that of a recording of `activesam-make-bag`, else none; "none": none.
        class_map: names of its ids: a topic, or a YAML file; None: the LabelInfo beside the labels.
        mapping: YAML file, names in the truth to names in the vocabulary.
        ignore: ids of the truth to leave out.
        instances_topic: ids of the true things, for scores of identities; None: they are not scored.
        tolerance: maximum seconds between the stamps of an image and of its truth.
        every: take each so many-th image.
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
    instances_topic: str | None = None
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


def evaluate(
    config: EvaluationConfig, overwrite: bool = False, say: Callable[[str], None] = lambda text: None
) -> EvaluationOutcome:
    """Label a recording with every method and write the report; resume where an equal run was interrupted.

    Args:
        config: what to evaluate.
        overwrite: begin anew, whatever the folder holds of an earlier run.
        say: called with the name of each part as it begins.

    Raises:
        ActiveSamError: the recording, its truth, the model or the folder cannot be used, in one sentence.
        KeyboardInterrupt: it was interrupted before the first frame was done.
    """
    import torch

    if config.threads:
        torch.set_num_threads(config.threads)
    folder = RunFolder(config.out.expanduser())
    folder.require_own()
    with Recording(config.bag.expanduser()) as recording:
        # What is wrong with folder or recording is said before the model is loaded.
        labels_topic = default_labels_topic(recording, config.labels_topic)
        image_topic = config.image_topic or default_image_topic(recording, labels_topic)
        config = replace(config, image_topic=image_topic, labels_topic=labels_topic)
        methods = _methods(config)
        require_identities(config, recording)
        matching = matching_of(config, recording)
        samples = SampleReader(
            recording,
            image_topic,
            config.labels_topic,
            config.tolerance,
            config.every,
            config.start,
            config.end,
            max_pixels=config.settings.max_pixels,
            true_ids_topic=config.instances_topic,
        )
        if not len(samples):
            raise EvaluationError(
                f"{recording.path} has no message on {image_topic} in the part that is asked for"
            )
        say(f"loading the model {config.model}")
        segmenter = ActiveSegmenter.from_pretrained(
            config.model,
            config.device,
            config.dtype,
            config.settings,
            prompt_cache=config.prompt_cache or "default",
        )
        segmenters = {}
        for method in methods:
            say(f"preparing {method.name}")
            segmenters[method.name] = method.build(segmenter, config.vocabulary)
        description = describe_run(
            recording=describe_recording(config, recording),
            model={
                "name": config.model,
                "device": segmenter.device,
                "dtype": segmenter.dtype,
                "full_resolution": segmenter.full_resolution,
                "preview_resolution": segmenter.preview_resolution,
            },
            vocabulary=config.vocabulary,
            matching=matching,
            settings={name: asdict(one.settings) for name, one in segmenters.items()},
            methods=[
                {
                    "name": one.name,
                    "description": one.description,
                    "differences": list(one.differences),
                    "path": one.path,
                }
                for one in methods
            ],
            corruptions=[str(one) for one in config.corruptions],
            seed=config.seed,
            machine=machine(torch.get_num_threads()),
            command=config.command,
        )
        done = folder.begin(description, overwrite)
        flops = FlopsCounter(segmenter.checkpoint.config)
        runner = _Runner(config, folder, segmenters, matching, flops, segmenter.device, done)
        interrupted = False
        try:
            runner.run(samples)
        except KeyboardInterrupt:
            if not read_records(folder.records_path):
                raise  # there is nothing to report
            interrupted = True
            say("interrupted; writing the report of what was done")
        notes = list(recording.notes)
        shortage = recording.shortage(*filter(None, (image_topic, labels_topic)))
    if interrupted:
        notes.insert(0, "The run was interrupted; the same command goes on with it.")
    page, table = finalize(folder, notes)
    return EvaluationOutcome(page, table, interrupted, runner.labelled, shortage)


def rewrite_report(folder: Path) -> Path:
    """Make results and page of a run anew from what its folder holds; return the path of the page.

    Raises:
        EvaluationError: it is no folder of an evaluation.
    """
    run = RunFolder(folder.expanduser())
    page, _ = finalize(run, read_notes(run))
    return page


class MethodRun:
    """One method with one corruption, frame after frame; resumes where an earlier run was interrupted.

    A method for streams has a memory that is kept beside the records. Where that of the last labelled frame is missing
    or damaged, the frames that were labelled before are segmented again to rebuild it.
    """

    def __init__(
        self,
        folder: RunFolder,
        method: Method,
        segmenter: MethodSegmenter,
        corruption: Corrupted | None,
        seed: int,
        done: Sequence[FrameRecord],
        identities: bool = False,
    ) -> None:
        """Resume after `done`, the records of an earlier run, of this method and corruption and of others.

        `identities`: things keep their ids from frame to frame, and results tell them.
        """
        self.folder = folder
        self.method = method
        self.segmenter = segmenter
        self.names = method.name, str(corruption) if corruption else ""
        self.is_reference = self.names == (FULL_VOCABULARY, "")
        # What flicker is measured against: index and truth of the frame before.
        self.before: tuple[int, np.ndarray | None] | None = None
        self._corruption = corruption
        self._seed = seed
        own = [record for record in done if (record.method, record.corruption) == self.names]
        self.done = {record.index for record in own}
        self._labelled = {record.index for record in own if record.unlabeled is not None}
        self._memory: StreamMemory | None = None
        self._replays = False
        self._identities = identities
        keeps_memory = segmenter.settings.reuses_frames or identities
        if keeps_memory and not isinstance(segmenter, PerClassSegmenter):
            # What a memory knows of things is not kept beside the records.
            restored = None if identities else self._restored_memory(segmenter)
            self._memory = restored or StreamMemory(IdCounter() if identities else None)
            self._replays = restored is None

    def _restored_memory(self, segmenter: ActiveSegmenter) -> StreamMemory | None:
        kept = self.folder.memory(*self.names)
        vocabulary = segmenter.vocabulary
        if vocabulary is None or kept is None or kept[0] != max(self._labelled, default=None):
            return None
        try:
            return StreamMemory.restored(kept[1], vocabulary.prompts, segmenter.settings)
        except (ValueError, KeyError, TypeError):  # damaged
            return None

    @property
    def labelled(self) -> bool:
        """Whether an earlier run labelled any frame."""
        return bool(self._labelled)

    def image(self, sample: Sample) -> np.ndarray:
        """Return what is labelled of a frame that has an image, uint8 [H, W, 3]."""
        assert sample.rgb is not None
        if self._corruption is None:
            return sample.rgb
        return corrupt(sample.rgb, self._corruption.name, self._corruption.severity, self._seed, sample.index)

    def segment(self, rgb: np.ndarray, stamp: int) -> SegmentationResult:
        """Label the next frame, taken at `stamp` nanoseconds; raises as `ActiveSegmenter.segment`."""
        if self._memory is None or isinstance(self.segmenter, PerClassSegmenter):
            return self.segmenter.segment(rgb, instances=False)
        self._memory.at(stamp)
        return self.segmenter.segment(rgb, self._memory, instances=self._identities)

    def skip(self, sample: Sample) -> None:
        """Pass over a frame that an earlier run did."""
        if sample.index not in self._labelled:
            self.before = None
            return
        if self._replays and sample.rgb is not None:
            self.segment(self.image(sample), sample.stamp)
        self.before = (sample.index, sample.truth)

    def previous(self) -> PreviousFrame | None:
        """Return truth and labels of the frame before; None if it failed, or if there is none."""
        if self.before is None:
            return None
        index, truth = self.before
        labels = self.folder.prediction(*self.names, index)
        return None if labels is None else PreviousFrame(truth, labels)

    def save(self, index: int, labels: np.ndarray) -> None:
        """Keep the labels of a frame, and what is remembered after it; before its record is kept."""
        self.folder.save_prediction(*self.names, index, labels)
        if self._memory is not None:
            self.folder.save_memory(*self.names, index, self._memory.state())


class _Runner:
    """Takes sample after sample through every method run, and keeps a record of each."""

    def __init__(
        self,
        config: EvaluationConfig,
        folder: RunFolder,
        segmenters: dict[str, MethodSegmenter],
        matching: ClassMatching | None,
        flops: FlopsCounter,
        device: str,
        done: Sequence[FrameRecord],
    ) -> None:
        names = list(segmenters)
        jobs: list[tuple[str, Corrupted | None]] = [(name, None) for name in names]
        jobs += [(names[0], corruption) for corruption in config.corruptions]
        # The reference comes first, since the others are compared with it.
        jobs.sort(key=lambda job: job != (FULL_VOCABULARY, None))
        self._runs = [
            MethodRun(
                folder,
                METHODS[name],
                segmenters[name],
                corruption,
                config.seed,
                done,
                config.instances_topic is not None,
            )
            for name, corruption in jobs
        ]
        self._first = (names[0], "")
        self._folder = folder
        self._matching = matching
        self._flops = flops
        self._device = device
        self._gallery = Gallery(folder.path / PICTURES, config.vocabulary, matching)
        self._warm: set[str] = set()
        self.labelled = any(run.labelled for run in self._runs)

    def run(self, samples: SampleReader) -> None:
        """Raise KeyboardInterrupt when the user ends it; what was done is kept."""
        with (
            self._folder.append_to() as file,
            tqdm(total=len(samples), desc="evaluating", unit="frame", smoothing=0.1) as bar,
        ):
            for sample in samples:
                reference: np.ndarray | None = None
                for run in self._runs:
                    if sample.index in run.done:
                        run.skip(sample)
                        if run.is_reference and run.before is not None:
                            reference = self._folder.prediction(*run.names, sample.index)
                        continue
                    record, labels = self._label(sample, run, reference)
                    # Last: what has a record is not done again.
                    file.append(record)
                    if run.is_reference:
                        reference = labels
                bar.update()

    def _label(
        self, sample: Sample, run: MethodRun, reference: np.ndarray | None
    ) -> tuple[FrameRecord, np.ndarray | None]:
        """Label and score a frame and keep its labels; None instead of them if it failed."""
        method, corruption = run.names
        previous = run.previous()
        run.before = None
        if sample.rgb is None:
            error = sample.error or "no image"
            return failed_frame(sample, error, method=method, corruption=corruption), None
        try:
            rgb = run.image(sample)
            if method not in self._warm:  # what only the first image pays for is not measured
                self._warm.add(method)
                run.segmenter.segment(rgb, instances=False)
            begin = time.perf_counter()
            result = run.segment(rgb, sample.stamp)
            latency = time.perf_counter() - begin
        except Exception as error:  # one frame must not end the run
            return failed_frame(sample, describe(error), method=method, corruption=corruption), None
        flops = self._flops.count(run.method, run.segmenter, result)
        record = score_frame(
            sample,
            result,
            self._matching,
            previous,
            method=method,
            corruption=corruption,
            reference=reference,
            cost=FrameCost(latency, flops.total, asdict(flops), _peak_memory(self._device)),
        )
        run.save(sample.index, result.labels)
        if run.names == self._first:
            truth = None
            if sample.truth is not None and self._matching is not None:
                truth = self._matching.truth_of(sample.truth)
            self._gallery.offer(record, rgb, result.labels, truth, reference, FULL_VOCABULARY)
        self.labelled = True
        run.before = (sample.index, sample.truth)
        return record, result.labels


def _peak_memory(device: str) -> int:
    import torch

    return torch.cuda.max_memory_allocated(device) if device.startswith("cuda") else memory().peak


def _methods(config: EvaluationConfig) -> list[Method]:
    names = list(dict.fromkeys(config.methods))
    if config.labels_topic is None and FULL_VOCABULARY not in names:
        names.append(FULL_VOCABULARY)
    return known_methods(names)


def require_identities(config: EvaluationConfig, recording: Recording) -> None:
    """Refuse true ids that cannot be compared with anything.

    Raises:
        ActiveSamError: there is no ground truth of classes, the topic holds no ids, or motmetrics is missing.
    """
    if config.instances_topic is None:
        return
    if config.labels_topic is None:
        raise EvaluationError(
            f"the ids on {config.instances_topic} need the classes of their pixels; give ground truth with --labels, "
            "or leave out --instances"
        )
    require_ids(recording, config.instances_topic)
    require_motmetrics()


def matching_of(config: EvaluationConfig, recording: Recording) -> ClassMatching | None:
    """Return which classes of the ground truth are which of the vocabulary; None without ground truth.

    Raises:
        EvaluationError: nothing says what the ids of the truth mean, or no class is in both.
    """
    if config.labels_topic is None:
        return None
    class_map = class_map_of(recording, config.labels_topic, config.class_map)
    mapping = read_mapping(config.mapping.expanduser()) if config.mapping else None
    return match_classes(config.vocabulary, class_map.ignoring(config.ignore), mapping)


def describe_recording(config: EvaluationConfig, recording: Recording) -> dict[str, Any]:
    """Return which part of which recording is evaluated, as plain data."""
    path = config.bag.expanduser()
    files = [one for one in path.iterdir() if one.is_file()] if path.is_dir() else [path]
    return {
        "path": str(config.bag),
        # Tells a recording from one that took its place.
        "bytes": sum(one.stat().st_size for one in files),
        "image_topic": config.image_topic,
        "labels_topic": config.labels_topic,
        **({"instances_topic": config.instances_topic} if config.instances_topic else {}),
        "class_map": config.class_map,
        "ignore": list(config.ignore),
        "tolerance": config.tolerance,
        "every": config.every,
        "start": config.start,
        "end": config.end,
        "seconds": ((recording.end or 0) - (recording.start or 0)) / 1e9,
        "images": None if config.image_topic is None else recording.topics[config.image_topic].count,
    }
