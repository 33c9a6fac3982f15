"""Results of the segmenter, and how they are drawn and saved."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from activesam_ros import exports
from activesam_ros.errors import ActiveSamError, ImageError
from activesam_ros.instances import Instance, draw_ids, draw_instances
from activesam_ros.system.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from PIL import Image

    from activesam_ros.vocabulary import Vocabulary

PreviewMode = Literal["full", "sweep", "share", "none", "moved"]

_LEGEND_WIDTH = 320


@dataclass(frozen=True)
class PreviewSchedule:
    """Which prompts are scored for presence before the active set of a frame is known.

    Attributes:
        mode: "full": all; "sweep": all inactive ones; "share": some inactive ones; "none"; "moved": none, since
            nothing was encoded or decoded, and the labels are those of an earlier frame, moved. With `preview_source`
            image the first two are scored at the preview's resolution, "share" on the frame's features at full
            resolution; with features all are scored on pooled maps of those.
        prompts: their indices, ascending.
    """

    mode: PreviewMode
    prompts: tuple[int, ...] = ()


EMPTY_SCHEDULE = PreviewSchedule("none")
MOVED_SCHEDULE = PreviewSchedule("moved")


@dataclass(frozen=True)
class PooledMap:
    """A pooled map of an image's features on which the presence of prompts was scored.

    Attributes:
        side: in cells.
        full_side: that of the map at full resolution.
        prompts: number of prompts that were scored on it; on a GPU with those scored in case they were uncertain.
    """

    side: int
    full_side: int
    prompts: int


@dataclass(frozen=True)
class ActiveClass:
    """A class of the active set: at least one of its prompts is decoded at full resolution.

    Attributes:
        class_id: its id in the vocabulary.
        name: its display name.
        presence: probability in [0, 1] that the image shows it, at full resolution, or from the preview where nothing
            was decoded; maximum over its active prompts.
        preview_presence: the same from before decoding; None if none of its active prompts was scored.
        pixels: number of pixels labelled with it; None where nothing was decoded.
    """

    class_id: int
    name: str
    presence: float
    preview_presence: float | None
    pixels: int | None


@dataclass(frozen=True, eq=False)
class SegmentationResult:
    """The labels of one image.

    Attributes:
        labels: class ids, uint8 or uint16 [H, W]; `unlabeled_id` where no class won.
        unlabeled_id: 255 in uint8, 65535 in uint16 labels.
        confidence: float32 [H, W] in [0, 1], the fused score of the labelled class; 0 where the background
            calibration took the pixel.
        active: the decoded classes, in vocabulary order.
        preview_presence: float32 [P], presence of every prompt in the preview, NaN for those that were not scored in
            this frame (see `schedule`); None if none was.
        active_prompts: indices of the decoded prompts, ascending.
        timings: seconds per stage ("prepare", "preview", "encode", "decode", "fuse"; "associate" where instances
            keep their ids; "move" where labels were moved) and "total".
        vocabulary: the vocabulary that the labels belong to.
        instances: the things that were found, by score, the highest first; None if they were not asked for.
        instances_without_pixels: number of those that are left out because their masks have no pixel.
        instances_beyond_limit: number of those that are left out because an image has 65535 ids; the lowest scores.
        instance_counts: number of instance masks kept of each active prompt, aliases' doubles included; None if
            unknown.
        schedule: which prompts were scored before the active set was known; None if unknown.
        preview_maps: the pooled maps on which presence was scored; empty with `preview_source` image.
        prompt_presence: presence of each active prompt at full resolution; None if unknown.
        image: the image, uint8 [H, W, 3], for `plot` and `save`; None if it was not kept.
        score_maps: score of each class of `active` at the resolution of the masks, float16 [A, h, w]; None if they
            were not asked for.
        name: name of the saved files: that of the image file without its ending, or "image".
    """

    labels: np.ndarray
    unlabeled_id: int
    confidence: np.ndarray
    active: tuple[ActiveClass, ...]
    preview_presence: np.ndarray | None
    active_prompts: tuple[int, ...]
    timings: Mapping[str, float]
    vocabulary: Vocabulary
    instances: tuple[Instance, ...] | None = None
    instances_without_pixels: int = 0
    instances_beyond_limit: int = 0
    instance_counts: tuple[int, ...] | None = None
    schedule: PreviewSchedule | None = None
    preview_maps: tuple[PooledMap, ...] = ()
    prompt_presence: tuple[float, ...] | None = None
    image: np.ndarray | None = None
    name: str = "image"
    score_maps: np.ndarray | None = None

    @property
    def active_queries(self) -> tuple[int, ...]:
        """Former name of `active_prompts`."""
        return self.active_prompts

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of all classes of the vocabulary, in its order."""
        return self.vocabulary.names

    @property
    def instance_ids(self) -> np.ndarray:
        """The id of the instance that each pixel belongs to, uint16 [H, W], 0 for none; made anew at each call.

        A pixel carries an instance only of its own class: where masks overlap, the one of the highest probability
        times score.

        Raises:
            ActiveSamError: the result has no instances, since they were not asked for.
        """
        return draw_ids(self._known_instances(), self.labels)

    def to_supervision(self) -> Any:
        """Return the instances as `supervision.Detections`, with names (`data["class_name"]`) and ids (`tracker_id`).

        Every mask has the size of the image.

        Raises:
            ActiveSamError: supervision is not installed, or the result has no instances.
        """
        height, width = self.labels.shape
        return exports.to_supervision(self._known_instances(), (height, width))

    def to_coco(self, image_id: int = 0) -> list[dict[str, Any]]:
        """Return the instances as COCO's results, which `json` can write: `bbox` is x, y, width and height.

        The masks (`segmentation`) are compressed RLE; `category_id` is the class id of this vocabulary.

        Raises:
            ActiveSamError: pycocotools is not installed, or the result has no instances.
        """
        return exports.to_coco(self._known_instances(), image_id)

    def to_segmentation(self) -> dict[str, Any]:
        """Return what transformers' `post_process_panoptic_segmentation` returns.

        `segmentation` is an int32 tensor [H, W], 0 where there is no class, and `segments_info` says of each id the
        class (`label_id`) and the score. Of pixels without an instance, those of one class are one segment
        (`was_fused`), whose score is the presence of the class.

        Raises:
            ActiveSamError: the result has no instances.
        """
        presence = {one.class_id: one.presence for one in self.active}
        return exports.to_segmentation(self._known_instances(), self.labels, self.unlabeled_id, presence)

    def _known_instances(self) -> tuple[Instance, ...]:
        if self.instances is None:
            raise ActiveSamError(
                "the result has no instances, since they were not asked for; label with instances=True"
            )
        return self.instances

    def plot(self, image: np.ndarray | None = None, instances: bool = False) -> Image.Image:
        """Draw the classes in their colours over the image, and a legend below, the largest class first.

        Args:
            image: uint8 [H, W, 3] to draw over; None: the image that was labelled.
            instances: whether to draw the boxes of the instances, with class, id and score.

        Raises:
            ImageError: the result does not have its image, and none is given.
            ActiveSamError: the instances are to be drawn, and the result has none.
        """
        from PIL import Image

        return Image.fromarray(self._overlay(image, instances))

    def save(
        self,
        folder: str | Path,
        name: str | None = None,
        confidence: bool = True,
        instances: bool = False,
    ) -> dict[str, Path]:
        """Write NAME_overlay.png, NAME_labels.png and NAME_confidence.png, each as a whole or not at all.

        Labels are class ids, 8 or 16 bit grey, `unlabeled_id` where no class won. Confidence is 8 bit grey: 255 is
        certain, 0 where no class won. Both have the size of the image, as has NAME_instances.png: ids, 16 bit grey.

        Args:
            folder: created if need be.
            name: what the files' names begin with; None: `self.name`.
            confidence: whether to write the confidence.
            instances: whether to write the ids of instances, and to draw their boxes into the overlay.

        Returns:
            The files by what they show, see `result_paths`.

        Raises:
            ActiveSamError: a file cannot be written, or the instances are asked for, and the result has none.
            ImageError: the result does not have its image.
        """
        import cv2

        paths = result_paths(Path(folder), name or self.name, confidence, instances)
        overlay = cv2.cvtColor(self._overlay(None, instances), cv2.COLOR_RGB2BGR)
        pictures = {"overlay": overlay, "labels": self.labels}
        if instances:
            pictures["instances"] = self.instance_ids
        if confidence:
            pictures["confidence"] = cv2.convertScaleAbs(self.confidence, alpha=255.0)
            pictures["confidence"][self.labels == self.unlabeled_id] = 0
        for kind, path in paths.items():
            _, data = cv2.imencode(".png", pictures[kind])
            try:
                write_atomically(path, data.tobytes())
            except OSError as error:
                raise ActiveSamError(
                    f"{path} cannot be written ({error.strerror}); choose another folder"
                ) from error
        return paths

    def _overlay(self, image: np.ndarray | None, instances: bool) -> np.ndarray:
        """Return overlay and legend, uint8 [H + …, ≥ W, 3]."""
        from activesam_ros.visualization import legend, name_regions, overlay, stack
        from activesam_ros.vocabulary.palette import colour_table

        if image is None:
            image = self.image
        if image is None:
            raise ImageError("the result does not have its image; give it: result.plot(image)")
        table = colour_table(self.vocabulary.class_ids, self.vocabulary.colours, self.unlabeled_id)
        shown = sorted((one for one in self.active if one.pixels), key=lambda one: -(one.pixels or 0))
        strip = legend(
            [one.name for one in shown],
            table[[one.class_id for one in shown]],
            max(image.shape[1], _LEGEND_WIDTH),
        )
        picture = overlay(image, self.labels, table, self.unlabeled_id)
        if instances:
            draw_instances(picture, self._known_instances(), table)
        else:
            name_regions(picture, self.labels, {one.class_id: one.name for one in shown})
        return stack(picture, strip)


def result_paths(folder: Path, name: str, confidence: bool, instances: bool = False) -> dict[str, Path]:
    """Return the files of a saved result: "overlay", "labels" and, if wanted, "confidence" and "instances"."""
    wanted = {"overlay": True, "labels": True, "confidence": confidence, "instances": instances}
    kinds = [kind for kind, is_wanted in wanted.items() if is_wanted]
    return {kind: folder / f"{name}_{kind}.png" for kind in kinds}


@dataclass(frozen=True, eq=False)
class PreviewResult:
    """Result of the preview alone for one image.

    Attributes:
        preview_presence: float32 [P], presence of every prompt.
        active_prompts: indices of the prompts that would be decoded, ascending: those that the preview selects, or
            all where the vocabulary is small enough to be decoded as a whole.
        active: their classes, in vocabulary order, without pixels.
        timings: seconds per stage ("prepare", "preview") and "total"; also "encode" with `preview_source` features.
        vocabulary: the vocabulary that was scored.
        preview_maps: as of `SegmentationResult`.
    """

    preview_presence: np.ndarray
    active_prompts: tuple[int, ...]
    active: tuple[ActiveClass, ...]
    timings: Mapping[str, float]
    vocabulary: Vocabulary
    preview_maps: tuple[PooledMap, ...] = ()

    @property
    def active_queries(self) -> tuple[int, ...]:
        """Former name of `active_prompts`."""
        return self.active_prompts


def active_classes(
    vocabulary: Vocabulary,
    presence: Mapping[int, float],
    preview: Sequence[float] | np.ndarray | None,
    pixels: np.ndarray | None,
) -> tuple[ActiveClass, ...]:
    """Return the classes of the active prompts, in vocabulary order.

    Args:
        vocabulary: that of the prompts.
        presence: presence of each active prompt by its index, ascending.
        preview: presence of every prompt in the preview, NaN for those not scored; None if it was skipped.
        pixels: number of pixels of each class id; None: nothing was decoded.
    """
    owner = vocabulary.prompt_classes
    prompts_of: dict[int, list[int]] = {}
    for prompt in presence:
        prompts_of.setdefault(owner[prompt], []).append(prompt)
    return tuple(
        ActiveClass(
            class_id=vocabulary.classes[index].class_id,
            name=vocabulary.classes[index].name,
            presence=max(presence[prompt] for prompt in prompts),
            preview_presence=_highest(preview, prompts),
            pixels=None if pixels is None else int(pixels[vocabulary.classes[index].class_id]),
        )
        for index, prompts in prompts_of.items()
    )


def _highest(preview: Sequence[float] | np.ndarray | None, prompts: Sequence[int]) -> float | None:
    scored = [float(preview[prompt]) for prompt in prompts] if preview is not None else []
    return max((value for value in scored if not math.isnan(value)), default=None)
