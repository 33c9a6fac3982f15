"""Parameters of the camera that drives through Toy Town."""

from __future__ import annotations

from dataclasses import dataclass

from activesam_ros.errors import SettingsError

LIMITS = {"seed": (0, 2**31 - 1), "rate": (0.1, 1000.0), "width": (64, 4096), "height": (64, 4096)}
"""The least and the greatest number that each numeric parameter may have."""

DESCRIPTIONS = {
    "seed": "Which street is driven through.",
    "rate": "Images a second.",
    "width": "Width of the images in pixels.",
    "height": "Height of the images in pixels.",
    "frame_id": "Frame in the header of every message.",
}
"""What ROS tools say about each parameter; all are read once, at the start."""


@dataclass(frozen=True)
class CameraParameters:
    """What is rendered; each field is a parameter of this name.

    Attributes:
        seed: of the street.
        rate: images a second.
        width, height: of the images in pixels.
        frame_id: of every header.
    """

    seed: int = 10_000_007
    rate: float = 5.0
    width: int = 640
    height: int = 480
    frame_id: str = "camera"

    def __post_init__(self) -> None:
        """Raises SettingsError if a number is out of its range."""
        for name, (low, high) in LIMITS.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise SettingsError(f"{name} is {value:g}; expected {low:g} to {high:g}")
