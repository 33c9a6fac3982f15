"""Run an evaluation: every image of a recording, every method, every corruption; then the report."""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from tqdm import tqdm

from activesam_ros.datasets.recordings import Recording
from activesam_ros.datasets.samples import SampleReader, default_image_topic, default_labels_topic
from activesam_ros.errors import EvaluationError, describe
from activesam_ros.evaluation.config import EvaluationOutcome
from activesam_ros.evaluation.corruptions import corrupt
from activesam_ros.evaluation.method_scores import MethodScores
from activesam_ros.evaluation.methods import (
    METHODS,
    FlopsCounter,
    Method,
    MethodSegmenter,
    known_methods,
)
from activesam_ros.evaluation.records import read_records
from activesam_ros.evaluation.report.findings import FULL_VOCABULARY
from activesam_ros.evaluation.report.gallery import Gallery
from activesam_ros.evaluation.results import finalize, read_notes
from activesam_ros.evaluation.run_folder import PICTURES, RunFolder, describe_run
from activesam_ros.evaluation.scoring import FrameCost
from activesam_ros.labelling.stream import StreamLabeller
from activesam_ros.segmenter import ActiveSegmenter
from activesam_ros.system.machine import machine
from activesam_ros.system.memory import memory

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import numpy as np

    from activesam_ros.datasets.class_map import ClassMatching
    from activesam_ros.datasets.samples import Sample
    from activesam_ros.evaluation.config import EvaluationConfig
    from activesam_ros.evaluation.corruptions import Corrupted
    from activesam_ros.evaluation.records import FrameRecord, RecordFile
    from activesam_ros.results import SegmentationResult


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
        config.require_identities(recording)
        matching = config.matching(recording, config.vocabulary)
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
            recording=config.describe(recording),
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
        interrupted = False
        with folder.append_to() as file:
            runner = _Runner(config, folder, file, segmenters, matching, flops, segmenter.device, done)
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
        scores: MethodScores,
        done: Sequence[FrameRecord],
        identities: bool = False,
    ) -> None:
        """Resume after `done`, the records of an earlier run, of this method and corruption and of others.

        `identities`: things keep their ids from frame to frame, and results tell them.
        """
        self.method = method
        self.segmenter = segmenter
        self.names = method.name, str(corruption) if corruption else ""
        self.is_reference = self.names == (FULL_VOCABULARY, "")
        self.scores = scores
        self._folder = folder
        self._corruption = corruption
        self._seed = seed
        own = [record for record in done if (record.method, record.corruption) == self.names]
        self.done = {record.index for record in own}
        self._labelled = {record.index for record in own if record.unlabeled is not None}
        self._stream = StreamLabeller(segmenter, identities and not method.per_class)
        # What is known of things is not kept beside the records.
        self._replays = self._stream.remembers and (identities or not self._restored())

    def _restored(self) -> bool:
        """Take up the memory that was kept; return whether there is one."""
        kept = self._folder.memory(*self.names)
        if kept is None or kept[0] != max(self._labelled, default=None):
            return False
        try:
            self._stream.restore(kept[1])
        except (ValueError, KeyError, TypeError):  # damaged
            return False
        return True

    def image(self, sample: Sample) -> np.ndarray:
        """Return what is labelled of a frame that has an image, uint8 [H, W, 3]."""
        assert sample.rgb is not None
        if self._corruption is None:
            return sample.rgb
        return corrupt(sample.rgb, self._corruption.name, self._corruption.severity, self._seed, sample.index)

    def label(self, rgb: np.ndarray, stamp: int) -> SegmentationResult:
        """Label the next frame, taken at `stamp` nanoseconds; raises as `ActiveSegmenter.segment`."""
        return self._stream.label(rgb, stamp)

    def skip(self, sample: Sample) -> np.ndarray | None:
        """Pass over a frame that an earlier run did; return its labels if others are compared with them."""
        labelled = sample.index in self._labelled
        self.scores.skip(sample, labelled)
        if labelled and self._replays and sample.rgb is not None:
            self.label(self.image(sample), sample.stamp)
        return self._folder.prediction(*self.names, sample.index) if labelled and self.is_reference else None

    def keep_memory(self, index: int) -> None:
        """Keep what is remembered after a frame, before its record is kept."""
        if self._stream.remembers:
            self._folder.save_memory(*self.names, index, self._stream.state)


class _Runner:
    """Takes sample after sample through every method run: labels it, and has the labels scored."""

    def __init__(
        self,
        config: EvaluationConfig,
        folder: RunFolder,
        file: RecordFile,
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
        gallery = Gallery(folder.path / PICTURES, config.vocabulary, matching)
        self._runs = []
        for name, corruption in jobs:
            shown = gallery if (name, corruption) == (names[0], None) else None
            scores = MethodScores(folder, file, matching, name, str(corruption or ""), shown)
            how = METHODS[name], segmenters[name], corruption, config.seed
            self._runs.append(MethodRun(folder, *how, scores, done, config.instances_topic is not None))
        self._flops = flops
        self._device = device
        self._warm: set[str] = set()

    @property
    def labelled(self) -> bool:
        """Whether any frame was labelled."""
        return any(run.scores.labelled for run in self._runs)

    def run(self, samples: SampleReader) -> None:
        """Raise KeyboardInterrupt when the user ends it; what was done is kept."""
        with tqdm(total=len(samples), desc="evaluating", unit="frame", smoothing=0.1) as bar:
            for sample in samples:
                reference: np.ndarray | None = None
                for run in self._runs:
                    skipped = sample.index in run.done
                    labels = run.skip(sample) if skipped else self._label(sample, run, reference)
                    if run.is_reference:
                        reference = labels
                bar.update()

    def _label(self, sample: Sample, run: MethodRun, reference: np.ndarray | None) -> np.ndarray | None:
        """Label and score a frame and return its labels; None if it failed."""
        if sample.rgb is None:
            run.scores.fail(sample, sample.error or "no image")
            return None
        try:
            rgb = run.image(sample)
            if run.method.name not in self._warm:  # what only the first image pays for is not measured
                self._warm.add(run.method.name)
                run.segmenter.segment(rgb, instances=False)
            begin = time.perf_counter()
            result = run.label(rgb, sample.stamp)
            latency = time.perf_counter() - begin
        except Exception as error:  # one frame must not end the run
            run.scores.fail(sample, describe(error))
            return None
        flops = self._flops.count(run.method, run.segmenter, result)
        cost = FrameCost(latency, flops.total, asdict(flops), _peak_memory(self._device))
        run.keep_memory(sample.index)
        run.scores.add(sample, rgb, result, cost, reference)
        return result.labels


def _peak_memory(device: str) -> int:
    import torch

    return torch.cuda.max_memory_allocated(device) if device.startswith("cuda") else memory().peak


def _methods(config: EvaluationConfig) -> list[Method]:
    names = list(dict.fromkeys(config.methods))
    if config.labels_topic is None and FULL_VOCABULARY not in names:
        names.append(FULL_VOCABULARY)
    return known_methods(names)
