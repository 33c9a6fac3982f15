"""Settings of the segmenter."""

from __future__ import annotations

from dataclasses import dataclass, fields
from numbers import Integral, Real
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from activesam_ros.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class SegmenterSettings:
    """Numbers of the ActiveSAM method; the defaults are the paper's (arXiv 2606.16996).

    Attributes:
        full_resolution: side in pixels of the square image of the decoding pass; None is the model's own
            (1008 for SAM 3).
        preview_resolution: side in pixels of the square image of the presence preview. A model whose full
            resolution is not above it previews at two thirds of its full resolution instead.
        keep_fraction: share of the queries, by presence, that the preview keeps.
        max_active: upper bound of the number of queries that are decoded; a vocabulary with at most this
            many queries skips the preview.
        bucket_size: number of queries that are decoded at once; a matter of memory and speed only.
        confidence_threshold: an instance mask counts if its object score × presence is above it.
        background_threshold: pixels whose margin-aware score is below this value (to the power
            `margin_exponent`) become background; 0 switches that off.
        margin_exponent: exponent of the background threshold.
        neighbor_tokens: context tokens from the most similar other queries, appended to each prompt at full
            resolution.
        hypernym_tokens: context tokens from the hypernyms of the query, appended likewise; the built-in sources
            know two at most.
        presence_floor: a query whose presence, when it was last asked, is below this is not decoded, unless none
            reaches it: then the most present one is.
        preview_period: on a stream of images every query is asked or decoded at least once in so many frames; 1: the
            preview asks all in every frame, as published. See `activesam_ros.stages.temporal_reuse.StreamMemory`.
        preview_way: how the queries that are not active are asked with a period above 1: "share" asks a few in every
            frame, on its features at full resolution; "sweep" asks all in one preview every `preview_period` frames.
        preview_likely: with "share", so many of those that are likeliest to come up are asked beside in every frame.
        leave_after: with a period above 1, an active query leaves once it was not wanted in so many frames in a row.
        change_threshold: with a period above 1, all are asked anew if the image has changed by more than this since
            the last frame (`activesam_ros.stages.scene_change`); 1: never.
        max_pixels: images with more pixels are refused.

    Raises:
        SettingsError: a value has the wrong type or is out of range; the message names it.
    """

    full_resolution: int | None = None
    preview_resolution: int = 672
    keep_fraction: float = 0.20
    max_active: int = 40
    bucket_size: int = 32
    confidence_threshold: float = 0.3
    background_threshold: float = 0.0
    margin_exponent: float = 1.25
    neighbor_tokens: int = 2
    hypernym_tokens: int = 2
    presence_floor: float = 0.0
    preview_period: int = 1
    preview_way: str = "share"
    preview_likely: int = 0
    leave_after: int = 3
    change_threshold: float = 0.65
    max_pixels: int = 8_300_000

    @property
    def rolls(self) -> bool:
        """Whether a frame of a stream is asked for a part of the queries only."""
        return self.preview_period > 1

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is None and field.name == "full_resolution":
                continue
            if field.name in CHOICES:
                if value not in CHOICES[field.name]:
                    raise SettingsError(
                        f"{field.name} is {value!r}; expected one of {', '.join(CHOICES[field.name])}"
                    )
                continue
            BOUNDS[field.name].check(field.name, value)


@dataclass(frozen=True)
class Bounds:
    """The values that a number may take: `low` to `high`, without `low` itself if `open_low`."""

    low: float
    high: float
    whole: bool
    open_low: bool = False

    def check(self, name: str, value: object) -> None:
        """Raises SettingsError, naming the setting, if `value` is not a number within the bounds."""
        kind = Integral if self.whole else Real
        number: Any = value  # Real knows no order with floats
        within = (
            isinstance(value, kind)
            and not isinstance(value, bool)
            # False for NaN and infinities too.
            and (self.low < number if self.open_low else self.low <= number)
            and number <= self.high
        )
        if not within:
            raise SettingsError(f"{name} is {value!r}; expected {self}")

    def __str__(self) -> str:
        kind = "a whole number" if self.whole else "a number"
        low = f"above {self.low:.12g} and up" if self.open_low else f"from {self.low:.12g}"
        return f"{kind} {low} to {self.high:.12g}"


BOUNDS = {
    "full_resolution": Bounds(16, 4096, whole=True),
    "preview_resolution": Bounds(16, 4096, whole=True),
    "keep_fraction": Bounds(0, 1, whole=False, open_low=True),
    "max_active": Bounds(1, 65_535, whole=True),
    "bucket_size": Bounds(1, 1024, whole=True),
    "confidence_threshold": Bounds(0, 1, whole=False),
    "background_threshold": Bounds(0, 1, whole=False),
    "margin_exponent": Bounds(0, 10, whole=False, open_low=True),
    "neighbor_tokens": Bounds(0, 16, whole=True),
    "hypernym_tokens": Bounds(0, 16, whole=True),
    "presence_floor": Bounds(0, 1, whole=False),
    "preview_period": Bounds(1, 10_000, whole=True),
    "preview_likely": Bounds(0, 10_000, whole=True),
    "leave_after": Bounds(1, 1000, whole=True),
    "change_threshold": Bounds(0, 1, whole=False),
    "max_pixels": Bounds(1, 100_000_000, whole=True),
}
"""Limits of every number; interfaces that declare ranges take them from here."""

CHOICES: Mapping[str, tuple[str, ...]] = MappingProxyType({"preview_way": ("share", "sweep")})
"""The texts that the other settings may be."""

PROFILES: Mapping[str, Mapping[str, float | int | str]] = MappingProxyType(
    {
        "paper": MappingProxyType(
            {
                "keep_fraction": 0.20,
                "presence_floor": 0.0,
                "preview_period": 1,
                "preview_way": "share",
                "preview_likely": 0,
                "leave_after": 3,
                "change_threshold": 0.65,
            }
        ),
        "realtime": MappingProxyType(
            {
                "keep_fraction": 1.0,
                "presence_floor": 0.2,
                "preview_period": 60,
                "preview_way": "share",
                "preview_likely": 3,
                "leave_after": 3,
                "change_threshold": 0.65,
            }
        ),
    }
)
"""Settings that belong together, by the name of what they are for: still images as published, and streams."""
