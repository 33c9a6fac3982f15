"""The model worker: one thread loads a model, labels the frames of all cameras, and answers a call between batches."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from activesam_ros.configuration.configuration import NO_CACHE
from activesam_ros.errors import ActiveSamError, ImageError, OutOfMemoryError, describe
from activesam_ros.model.folder import local_folder
from activesam_ros.results import PreviewResult
from activesam_ros.ros.configuration_loader import ConfigurationLoader, LoadedConfiguration
from activesam_ros.ros.conversions import image_from_msg, to_nanoseconds
from activesam_ros.ros.frame_queue import Drop, Frame, FrameQueue
from activesam_ros.ros.publishers import Demand, LabelInfoPublisher
from activesam_ros.ros.segment_service import CallAnswer, CallEncoder, CallQueue, Outcome
from activesam_ros.system.machine import start_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np
    from rclpy.guard_condition import GuardCondition
    from rclpy.node import Node

    from activesam_ros.configuration.configuration import Configuration, ModelChoice
    from activesam_ros.prompts.text_encoder import Residence
    from activesam_ros.results import SegmentationResult
    from activesam_ros.ros.camera import Camera
    from activesam_ros.ros.live_parameters import LiveParameters
    from activesam_ros.ros.logs import ErrorLog
    from activesam_ros.ros.segment_service import Call
    from activesam_ros.segmenter import ActiveSegmenter
    from activesam_ros.stages.decoding import EncodedImage

T = TypeVar("T")


@dataclass(frozen=True)
class Task:
    """What the worker is doing.

    Attributes:
        name: such as "loading the model" or "labelling frames".
        since: when it began, `time.monotonic()` seconds.
        bounded: whether it should be done soon, so that it counts as hanging if it is not.
    """

    name: str
    since: float
    bounded: bool


@dataclass(frozen=True)
class _Image:
    """A converted frame: uint8 [H, W, 3], and `time.monotonic()` seconds of the steps so far."""

    camera: Camera
    frame: Frame
    demand: Demand
    rgb: np.ndarray
    taken: float
    converted: float


class Worker:
    """Loads the model of the parameters and serves it until `end`; neither is done twice.

    It has *settled* once the first vocabulary is in force, or once it has failed. Methods are for the executor's
    thread; any thread may read the attributes. A worker that hangs can be abandoned: its results are not published.

    Attributes:
        choice: the model and how it is loaded.
        loader: encodes a new vocabulary beside the stream.
        task: what the thread is doing; None while it waits.
        is_loaded: whether the model is loaded.
        served: what frames are labelled with; None before the first vocabulary.
        error: why it cannot serve; None if it can, or may yet.
        prompt_cache: folder of the prompt cache, or "memory"; None before the model is loaded.
    """

    def __init__(
        self,
        node: Node,
        parameters: LiveParameters,
        frames: FrameQueue,
        calls: CallQueue,
        cameras: Mapping[str, Camera],
        label_info: LabelInfoPublisher,
        errors: ErrorLog,
        settled: GuardCondition,
        load: Callable[[ModelChoice, Configuration], ActiveSegmenter] | None = None,
    ) -> None:
        """Take the parts of the node; `start` begins to load.

        Args:
            node: its logger and clock are used.
            parameters: name the model, the first vocabulary and settings, and the maximum age of a frame.
            frames: to label.
            calls: to answer.
            cameras: by name; they publish the results.
            label_info: publishes the meaning of the ids.
            errors: logs failed frames, calls and changes.
            settled: is triggered when the worker has settled, and when it fails later.
            load: makes the segmenter; None: `load_segmenter`.
        """
        self.choice = parameters.model
        self.loader = ConfigurationLoader(self._change_failed, frames.wake)
        self.task: Task | None = None
        self.is_loaded = False
        self.served: LoadedConfiguration | None = None
        self.error: str | None = None
        self.prompt_cache: str | None = None
        self._first = parameters.requested
        self._parameters = parameters
        self._logger = node.get_logger()
        self._clock = node.get_clock()
        self._frames = frames
        self._calls = calls
        self._cameras = cameras
        self._label_info = label_info
        self._errors = errors
        self._tell_settled = settled
        self._load = load or load_segmenter
        self._ending = threading.Event()
        self._settled = threading.Event()
        self._abandoned = False
        # A second segmenter over the same weights for calls with a vocabulary or thresholds of their own, and the
        # segmenter that it was made from.
        self._aside: tuple[ActiveSegmenter, ActiveSegmenter] | None = None
        self._encoder = CallEncoder(calls, self)
        # A daemon: neither a load nor a forward pass can be interrupted, and the process must be able to end.
        self._thread = threading.Thread(target=self._run, name="activesam-worker", daemon=True)

    def start(self) -> None:
        """Begin to load; returns at once."""
        self.loader.submit(self._first)
        try:
            start_thread(self._thread)
        except ActiveSamError as error:
            self._fail(describe(error))

    def wait(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds until it has settled; return whether it has."""
        return self._settled.wait(timeout)

    @property
    def serves(self) -> bool:
        """Whether a vocabulary is in force, nothing has failed, and it is not being closed."""
        return self.served is not None and self.error is None and not self.ending

    @property
    def ending(self) -> bool:
        """Whether it was told to end."""
        return self._ending.is_set()

    def hangs(self) -> bool:
        """Return whether a batch of frames or a call has been in work for longer than `worker_timeout`."""
        task, timeout = self.task, self._parameters.policy.worker_timeout
        return task is not None and task.bounded and time.monotonic() - task.since > timeout

    def see_to_calls(self) -> None:
        """Look for new calls: encode the classes that they bring along, and wake the worker."""
        self._encoder.start()
        self._frames.wake()

    def wake(self) -> None:
        """Look for calls that have become ready."""
        self._frames.wake()

    def end(self) -> None:
        """Let it end after what it is doing; returns at once."""
        # In this order: a worker that the loader lets go finds that it is to end.
        self._ending.set()
        self._frames.wake()
        self.loader.close()
        self._encoder.close()

    def join(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds for its threads; return whether they have ended.

        Then it has let go of the model, whose memory is free once the worker itself is gone.
        """
        deadline = time.monotonic() + timeout
        if self._thread.ident is not None:  # else it could not be started
            self._thread.join(timeout)
        if self._thread.is_alive() or not all(
            one.join(max(0.0, deadline - time.monotonic())) for one in (self.loader, self._encoder)
        ):
            return False
        self.is_loaded, self.served, self._aside = False, None, None
        return True

    def abandon(self) -> None:
        """Leave threads that do not end to themselves: what they still make is not published."""
        self._abandoned = True
        self.is_loaded, self.served = False, None

    # The worker's thread.

    def _run(self) -> None:
        try:
            if self._load_model():
                self._serve()
        except Exception as error:  # a bug beside the frames: the process would live on without labels
            self._frames.give_up()
            self._calls.give_up("the worker failed while the call was in work; the log says why")
            self._fail(f"the worker failed: {describe(error)}")
        finally:
            self.task = None

    def _load_model(self) -> bool:
        """Load the model and begin to encode the first vocabulary; return whether there is a model to serve."""
        started = time.monotonic()
        self.task = Task("loading the model", started, bounded=False)
        try:
            choice = self._parameters.real(self.choice)
            segmenter = self._load(choice, self._first)
        except ActiveSamError as error:
            self._fail(describe(error))
            return False
        except Exception as error:  # there is nothing to do without a model, whatever the reason
            self._fail(f"loading the model failed unexpectedly: {describe(error)}")
            return False
        if self.ending:
            return False
        self.prompt_cache = str(prompt_cache_folder(choice) or NO_CACHE)
        self.is_loaded = True
        self._logger.info(
            f"model loaded in {time.monotonic() - started:.1f} s; {segmenter.full_resolution} px, "
            f"preview {segmenter.preview_description}"
        )
        self.task = Task("encoding the first vocabulary", time.monotonic(), bounded=False)
        self.loader.open(segmenter)
        return True

    def _serve(self) -> None:
        frames: list[Frame] = []
        served = self.loader.wait()
        if served is not None:
            self._put_in_force(served)
        while served is not None and not self.ending:
            if frames:
                self.task = Task("labelling frames", time.monotonic(), bounded=True)
                self._answer_frames(frames, served)
            elif self._frames.is_open:
                self._label_info.ahead(served)
            self.task = None
            if not self.ending:
                self._answer_call(served)
            if self.ending:
                return  # What waits is left to the next worker.
            frames = self._frames.take(None if served.segmenter.batching_pays else 1)
            loaded = self.loader.collect()
            if loaded is not None:
                served = loaded
                self._put_in_force(served)

    def _put_in_force(self, served: LoadedConfiguration) -> None:
        known = self.served is not None and self.served.revision == served.revision
        served.put_in_force()
        self.served = served
        self._parameters.succeeded(served.configuration)
        if not known:
            self._logger.info(
                f"vocabulary revision {served.revision} in force: {len(served.vocabulary)} classes, prepared in "
                f"{served.seconds:.2f} s"
            )
        if not self._settled.is_set():
            self._settled.set()
            self._tell_settled.trigger()

    def _fail(self, sentence: str) -> None:
        if self.ending:
            return  # It is being ended anyway; what fails meanwhile is no reason to call that a failure.
        self.error = sentence
        self._settled.set()
        self._tell_settled.trigger()

    def _change_failed(self, request: Configuration, error: Exception, last: Configuration | None) -> None:
        """Report a request that could not be loaded; in the configuration loader's thread."""
        if self.ending:
            return  # as above
        sentence = describe(error)
        if last is None and request is self._first:
            self._fail(f"the parameters do not fit the model: {sentence}")
            self.end()
            return
        self._errors.remember(sentence)
        self._parameters.failed(request, sentence, last or self._first, last is None)

    # Frames: one bad frame never takes its batch along.

    def _answer_frames(self, frames: list[Frame], served: LoadedConfiguration) -> None:
        """Publish the results of each frame, or drop it for a stated reason; never raises for a frame's sake."""
        converted = [self._convert(frame, served.segmenter.settings.max_pixels) for frame in frames]
        images = self._explained([image for image in converted if image is not None], served)
        self._label([image for image in images if image.demand is Demand.LABELS], served)
        self._preview([image for image in images if image.demand is Demand.PREVIEW], served)

    def _explained(self, images: list[_Image], served: LoadedConfiguration) -> list[_Image]:
        """Publish what the ids of these images mean; return those of which it is known, the others are dropped."""

        def explain(images: list[_Image]) -> list[_Image]:
            self._label_info.before([image.frame.message.header for image in images], served)
            return images

        return [image for image, _ in self._batched(images, explain)]

    def _convert(self, frame: Frame, max_pixels: int) -> _Image | None:
        taken = time.monotonic()
        camera = self._cameras[frame.camera]
        demand, max_age = camera.demand, self._parameters.policy.max_age
        if demand is Demand.NOTHING:
            # Its last subscriber has gone since, or the node is no longer active.
            self._frames.dropped(frame, Drop.NO_SUBSCRIBER if self._frames.is_open else Drop.DEACTIVATED)
            return None
        # A stamp in the future, such as after time jumped back, is no reason to drop a frame.
        age = (self._clock.now().nanoseconds - to_nanoseconds(frame.message.header.stamp)) / 1e9
        if 0 < max_age < age:
            self._frames.dropped(frame, Drop.TOO_OLD)
            return None
        try:
            rgb = image_from_msg(frame.message, max_pixels)
        except Exception as error:  # a message can hold anything
            self._drop(frame, error)
            return None
        return _Image(camera, frame, demand, rgb, taken, time.monotonic())

    def _label(self, images: list[_Image], served: LoadedConfiguration) -> None:
        def encode(images: list[_Image]) -> list[EncodedImage]:
            memories = [image.camera.memory for image in images]
            for image, memory in zip(images, memories, strict=True):
                memory.at(to_nanoseconds(image.frame.message.header.stamp))
            return served.segmenter.encode_images([image.rgb for image in images], memories)

        for index, (image, encoded) in enumerate(self._batched(images, encode)):
            # At the end the frame in work is still answered, those behind it are not.
            if self._abandoned or (index and not self._frames.is_open):
                self._frames.dropped(image.frame, Drop.DEACTIVATED)
                continue
            try:
                result = served.segmenter.decode(encoded, image.camera.wants_instances)
            except Exception as error:  # one frame must not take the node down
                self._drop(image.frame, error)
            else:
                self._publish(image, result, served.revision)

    def _preview(self, images: list[_Image], served: LoadedConfiguration) -> None:
        def preview(images: list[_Image]) -> list[PreviewResult]:
            return served.segmenter.preview([image.rgb for image in images])

        if images and self.task is not None:
            self.task = replace(self.task, name="previewing frames")
        for image, result in self._batched(images, preview):
            # Nothing was decoded, so the next frame to be labelled reuses no presence.
            image.camera.memory.forget_presence()
            self._publish(image, result, served.revision)

    def _batched(
        self, images: list[_Image], run: Callable[[list[_Image]], list[T]]
    ) -> list[tuple[_Image, T]]:
        """Pair each image with what `run` makes of it, without those that it fails on."""
        if not images:
            return []
        try:
            return list(zip(images, run(images), strict=True))
        except Exception as error:  # one frame must not take the others down
            if len(images) == 1:
                self._drop(images[0].frame, error)
                return []
        # Out here the exception is gone, and with it what it held of the batch in memory.
        return [pair for image in images for pair in self._batched([image], run)]

    def _publish(self, image: _Image, result: SegmentationResult | PreviewResult, revision: int) -> None:
        segmented = time.monotonic()
        camera, header = image.camera, image.frame.message.header
        if self._abandoned:  # while this frame was in work
            self._frames.dropped(image.frame, Drop.DEACTIVATED)
            return
        try:
            if isinstance(result, PreviewResult):
                camera.publishers.publish_preview(result, revision, header)
            else:
                camera.note_left_out(result)
                camera.publishers.publish(result, image.rgb, revision, header, camera.info(header))
        except Exception as error:  # as above
            self._drop(image.frame, error)
            return
        self._label_info.note_active(one.class_id for one in result.active)
        published = time.monotonic()
        timings = {name: seconds for name, seconds in result.timings.items() if name != "total"}
        stages = {
            "wait": image.taken - image.frame.arrived,
            "convert": image.converted - image.taken,
            **timings,
            "segment": sum(timings.values()),
            # The rest of the time: the frames of other cameras that were labelled together with this one.
            "batch": max(0.0, segmented - image.converted - sum(timings.values())),
            "publish": published - segmented,
            "latency": published - image.frame.arrived,
        }
        camera.latency.add(stages, len(result.active), len(result.vocabulary))
        self._frames.answered(image.frame)

    def _drop(self, frame: Frame, error: Exception) -> None:
        if isinstance(error, ImageError):
            reason, sentence = Drop.BAD_IMAGE, f"frame refused: {error}"
        elif isinstance(error, OutOfMemoryError):
            reason, sentence = Drop.OUT_OF_MEMORY, f"frame dropped: {error}"
        else:
            reason, sentence = Drop.FAILED, f"frame failed: {describe(error)}"
        self._frames.dropped(frame, reason)
        self._errors.failed(f"{self._cameras[frame.camera].prefix}{sentence}")

    # Calls: at most one between two batches of frames.

    def _answer_call(self, served: LoadedConfiguration) -> None:
        """Answer one call, if one is ready; the next one has its turn after the frames that wait."""
        call = self._calls.take()
        if call is not None:
            self.task = Task("answering a call", time.monotonic(), bounded=True)
            if call.prompts is not None and not served.segmenter.fits(call.prompts):
                # The number of context tokens was changed meanwhile. Encoding here would hold up the stream.
                self._calls.put_back(call)
                self._encoder.start()
            else:
                try:
                    self._calls.end(call, self._labelled(call, served))
                except Exception as error:  # one call must not take the node down
                    self._calls.fail(call, error)
            self.task = None
        if self._calls.has_ready:
            self.wake()

    def _labelled(self, call: Call, served: LoadedConfiguration) -> CallAnswer:
        stream, prompts, revision = served.segmenter, call.prompts, 0
        thresholds: Mapping[str, Any] = call.request.thresholds
        settings = replace(stream.settings, **thresholds)
        rgb = image_from_msg(call.request.image, settings.max_pixels)
        instances = call.request.instances
        if prompts is None and settings == stream.settings:
            return CallAnswer(
                Outcome.LABELLED, result=stream.segment(rgb, instances=instances), revision=served.revision
            )
        if prompts is None:
            prompts, revision = served.prompts, served.revision
        if self._aside is None or self._aside[0] is not stream or self._aside[1].settings != settings:
            self._aside = (stream, stream.with_settings(settings))
        segmenter = self._aside[1]
        segmenter.use(prompts)
        return CallAnswer(
            Outcome.LABELLED, result=segmenter.segment(rgb, instances=instances), revision=revision
        )


def prompt_cache_folder(choice: ModelChoice) -> Path | None:
    """Return the folder of the prompt cache; None: there is none."""
    from activesam_ros.prompts.cache import prompt_folder

    if choice.prompt_cache == NO_CACHE:
        return None
    return prompt_folder(Path(choice.prompt_cache).expanduser() if choice.prompt_cache else "default")


def load_segmenter(choice: ModelChoice, first: Configuration) -> ActiveSegmenter:
    """Load the model of the parameters with the settings of `first`; raises ActiveSamError, soon if it is missing."""
    local_folder(choice.model)
    # torch takes seconds to import; in the worker that delays neither the end of the process nor the services.
    from activesam_ros.model.compiling import keep_compiled, torch_compiler
    from activesam_ros.segmenter import ActiveSegmenter

    if choice.compile:
        keep_compiled()
    return ActiveSegmenter.from_pretrained(
        choice.model,
        device=choice.device,
        dtype=choice.dtype,
        settings=first.settings,
        text_encoder=cast("Residence", choice.text_encoder),
        prompt_cache=prompt_cache_folder(choice),
        compiler=torch_compiler() if choice.compile else None,
        cuda_graphs=choice.cuda_graphs,
    )
