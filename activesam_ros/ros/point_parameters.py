"""The parameters of the node `labelled_points`."""

from __future__ import annotations

from dataclasses import dataclass

from activesam_ros.configuration.configuration import ParameterSpec, parameter, specs_of
from activesam_ros.errors import SettingsError


@dataclass(frozen=True)
class PointParameters:
    """How points are made; each field is a parameter, and a change takes effect with the next cloud."""

    stride: int = parameter(
        1, "Of every so many columns and rows of the image, one becomes points.", limits=(1, 1000)
    )
    min_range: float = parameter(
        0.0, "Points nearer to the camera than this, in metres, are left out.", limits=(0.0, 1000.0)
    )
    max_range: float = parameter(
        0.0,
        "Points farther from the camera than this, in metres, are left out; 0: no limit.",
        limits=(0.0, 1000.0),
    )
    classes: tuple[str, ...] = parameter(
        (), "Names of the classes whose points are published. Empty: all, and pixels without a class."
    )
    leave_out: tuple[str, ...] = parameter(
        (), "Names of classes whose points are left out, such as the ground for a layer of obstacles."
    )
    organized: bool = parameter(
        False,
        "Whether the cloud has the rows and columns of the image, with NaN where there is no point; otherwise it is a "
        "list of those that there are.",
    )
    rectified: bool = parameter(
        False,
        "Whether the images are rectified, such as those of image_rect: P of the camera info counts, and no "
        "distortion.",
    )
    confidence: bool = parameter(
        True, "Whether points have the confidence of their class; otherwise it is 0, and nobody computes it."
    )
    instances: bool = parameter(
        True, "Whether points have the id of their instance; otherwise it is 0, and nobody computes it."
    )
    slop: float = parameter(
        0.0,
        "Seconds that the stamps of labels and depth may differ by; the nearest depth is taken. 0: they are equal.",
        limits=(0.0, 10.0),
    )
    queue_size: int = parameter(
        60,
        "Maximum number of depth images that wait for their labels: the rate of the depth times the latency of the "
        "labels, and some more.",
        limits=(1, 10_000),
    )

    def __post_init__(self) -> None:
        """Raise SettingsError if the range is empty."""
        if self.max_range and self.max_range <= self.min_range:
            raise SettingsError(
                f"max_range is {self.max_range:g} and min_range {self.min_range:g}; expected more metres for "
                "max_range, or 0 for no limit"
            )

    def asks_for(self, name: str) -> bool:
        """Return whether an input is subscribed; all are but confidence and instances that nobody wants."""
        return {"confidence": self.confidence, "instances": self.instances}.get(name, True)


SPECS: tuple[ParameterSpec, ...] = specs_of(PointParameters)
