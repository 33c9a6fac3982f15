"""From frames to published results, a batch of cameras at a time; the worker's thread."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sensor_msgs.msg import CompressedImage

from activesam_ros.errors import ImageError, OutOfMemoryError, describe
from activesam_ros.images.compressed import compressed_to_rgb
from activesam_ros.images.raw import image_to_rgb
from activesam_ros.ros.admission import too_old
from activesam_ros.ros.camera_outputs import Demand
from activesam_ros.ros.inbox import Drop, Inbox

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np
    from rclpy.clock import Clock
    from std_msgs.msg import Header

    from activesam_ros.results import PreviewResult, SegmentationResult
    from activesam_ros.ros.announcer import Announcer
    from activesam_ros.ros.camera import Camera
    from activesam_ros.ros.frame import Frame
    from activesam_ros.ros.parameters import Policy
    from activesam_ros.ros.vocabulary_loader import LoadedVocabulary
    from activesam_ros.stages.temporal_reuse import StreamMemory


@dataclass(frozen=True)
class _Picture:
    """A frame that could be read: uint8 [H, W, 3], and `time.monotonic()` seconds of the steps so far."""

    camera: Camera
    frame: Frame
    demand: Demand
    rgb: np.ndarray
    taken: float
    converted: float

    @property
    def header(self) -> Header:
        return self.frame.message.header

    def remembered(self) -> StreamMemory:
        """The memory of the camera, told when this frame was taken."""
        memory, stamp = self.camera.memory, self.header.stamp
        memory.at(stamp.sec * 1_000_000_000 + stamp.nanosec)
        return memory


class Answering:
    """Answers every frame of a batch or drops it for a stated reason; never raises for a frame's sake."""

    def __init__(
        self,
        cameras: Mapping[str, Camera],
        inbox: Inbox[Frame],
        announcer: Announcer,
        policy: Callable[[], Policy],
        clock: Clock,
        failed: Callable[[Camera, str], None],
    ) -> None:
        """Args:
        cameras: by name.
        inbox: is told what became of each frame.
        announcer: says what the ids mean.
        policy: asked for the age limit with every batch.
        clock: the node's, against which the age of a frame is taken.
        failed: told, in one sentence, why a frame could not be answered.
        """
        self._cameras = cameras
        self._inbox = inbox
        self._announcer = announcer
        self._policy = policy
        self._clock = clock
        self._failed = failed

    def __call__(self, batch: list[tuple[str, Frame]], served: LoadedVocabulary, abandoned: Callable[[], bool]) -> None:
        """Args:
        batch: camera names and frames.
        served: what to label with.
        abandoned: whether the worker hung and was left behind, so that nobody wants its answers any more.
        """
        opened = [self._open(self._cameras[name], frame, served) for name, frame in batch]
        pictures = [picture for picture in opened if picture is not None]
        if pictures:
            self._announcer.before([picture.header for picture in pictures], served)
        self._label([picture for picture in pictures if picture.demand is Demand.LABELS], served, abandoned)
        self._preview(
            [picture for picture in pictures if picture.demand is Demand.PREVIEW], served, abandoned
        )

    def idle(self, served: LoadedVocabulary) -> None:
        """Between frames."""
        if self._inbox.is_open:
            self._announcer.ahead(served)

    def _open(self, camera: Camera, frame: Frame, served: LoadedVocabulary) -> _Picture | None:
        taken = time.monotonic()
        demand = camera.demand
        if demand is Demand.NOTHING:
            # Who listened has gone since, or the node is no longer active.
            reason = Drop.UNWANTED if self._inbox.is_open else Drop.DEACTIVATED
            self._inbox.dropped(camera.name, reason)
            return None
        message = frame.message
        if too_old(message.header.stamp, self._clock.now(), self._policy().max_age):
            self._inbox.dropped(camera.name, Drop.TOO_OLD)
            return None
        read = compressed_to_rgb if isinstance(message, CompressedImage) else image_to_rgb
        try:
            rgb = read(message, served.segmenter.settings.max_pixels)
        except Exception as error:  # a message can hold anything
            self._drop(camera, error)
            return None
        return _Picture(camera, frame, demand, rgb, taken, time.monotonic())

    def _label(self, pictures: list[_Picture], served: LoadedVocabulary, abandoned: Callable[[], bool]) -> None:
        def encode(pictures: list[_Picture]) -> list:
            memories = [picture.remembered() for picture in pictures]
            return served.segmenter.encode_images([picture.rgb for picture in pictures], memories)

        for index, (picture, encoded) in enumerate(self._together(pictures, encode)):
            # At the end the frame in work is still answered, those behind it are not.
            if abandoned() or (index and not self._inbox.is_open):
                self._inbox.dropped(picture.camera.name, Drop.DEACTIVATED)
                continue
            try:
                result = served.segmenter.decode(encoded)
            except Exception as error:  # one frame must not take the node down
                self._drop(picture.camera, error)
            else:
                self._publish(picture, result, served.revision, abandoned)

    def _preview(self, pictures: list[_Picture], served: LoadedVocabulary, abandoned: Callable[[], bool]) -> None:
        def preview(pictures: list[_Picture]) -> list:
            return served.segmenter.preview([picture.rgb for picture in pictures])

        for picture, result in self._together(pictures, preview):
            # It was asked for everything, but nothing was decoded: the next frame to be labelled begins anew.
            picture.camera.memory.forget()
            self._publish(picture, result, served.revision, abandoned)

    def _publish(
        self,
        picture: _Picture,
        result: SegmentationResult | PreviewResult,
        revision: int,
        abandoned: Callable[[], bool],
    ) -> None:
        segmented = time.monotonic()
        camera, header = picture.camera, picture.header
        if abandoned():  # while this one was in work
            self._inbox.dropped(camera.name, Drop.DEACTIVATED)
            return
        try:
            if picture.demand is Demand.PREVIEW:
                camera.outputs.publish_preview(result, revision, header)
            else:
                camera.outputs.publish(result, picture.rgb, revision, header, camera.input.info(header))
        except Exception as error:  # as above
            self._drop(camera, error)
        else:
            self._answered(picture, result, segmented)

    def _together(self, pictures: list[_Picture], run: Callable[[list[_Picture]], list]) -> list[tuple]:
        """Each picture with what `run` makes of it, without those that it fails on."""
        if not pictures:
            return []
        try:
            return list(zip(pictures, run(pictures), strict=True))
        except Exception as error:  # one frame must not take the others down
            if len(pictures) == 1:
                self._drop(pictures[0].camera, error)
                return []
        # Out here the exception is gone, and with it what it held of the batch in memory.
        return [one for picture in pictures for one in self._together([picture], run)]

    def _drop(self, camera: Camera, error: Exception) -> None:
        if isinstance(error, ImageError):
            reason, sentence = Drop.BAD_IMAGE, f"frame refused: {error}"
        elif isinstance(error, OutOfMemoryError):
            reason, sentence = Drop.OUT_OF_MEMORY, f"frame dropped: {error}"
        else:
            reason, sentence = Drop.FAILED, f"frame failed: {describe(error)}"
        self._inbox.dropped(camera.name, reason)
        self._failed(camera, sentence)

    def _answered(
        self, picture: _Picture, result: SegmentationResult | PreviewResult, segmented: float
    ) -> None:
        published = time.monotonic()
        timings = {name: seconds for name, seconds in result.timings.items() if name != "total"}
        stages = {
            "wait": picture.taken - picture.frame.arrived,
            "convert": picture.converted - picture.taken,
            **timings,
            "segment": sum(timings.values()),
            "publish": published - segmented,
            "latency": published - picture.frame.arrived,
        }
        picture.camera.latency.add(stages, len(result.active), len(result.vocabulary))
        self._inbox.answered(picture.camera.name)
