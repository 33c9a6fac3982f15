"""Settings of the segmenter, their limits and descriptions, and the profiles that set several of them together."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from numbers import Integral, Real
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from activesam_ros.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Bounds:
    """Range of a number: `low` to `high`, both included."""

    low: float
    high: float
    whole: bool

    def check(self, name: str, value: object) -> None:
        """Raise SettingsError, naming the setting, if `value` is not a number within the bounds."""
        kind = Integral if self.whole else Real
        number: Any = value  # Real has no ordering in the type system.
        within = (
            isinstance(value, kind)
            and not isinstance(value, bool)
            # Comparisons with NaN are false.
            and self.low <= number <= self.high
        )
        if not within:
            raise SettingsError(f"{name} is {value!r}; expected {self}")

    def __str__(self) -> str:
        kind = "a whole number" if self.whole else "a number"
        return f"{kind} from {self.low:.12g} to {self.high:.12g}"


def _integer(default: int | None, low: int, high: int, description: str) -> Any:
    return field(default=default, metadata={"bounds": Bounds(low, high, True), "description": description})


def _number(default: float, high: float, description: str, low: float = 0) -> Any:
    bounds = Bounds(low, high, False)
    return field(default=default, metadata={"bounds": bounds, "description": description})


def _choice(choices: tuple[str, ...], description: str) -> Any:
    return field(default=choices[0], metadata={"choices": choices, "description": description})


@dataclass(frozen=True)
class SegmenterSettings:
    """Parameters of the ActiveSAM method; the defaults are the paper's (arXiv 2606.16996).

    Each field has a one-sentence description (`DESCRIPTIONS`) and either limits (`BOUNDS`) or `CHOICES`.

    Raises:
        SettingsError: a value has the wrong type or is out of range; the message names it.
    """

    full_resolution: int | None = _integer(
        None, 1, 4096, "Side in pixels of the square image of the decoding pass; None: the model's own."
    )
    preview_resolution: int = _integer(
        672, 16, 4096, "Side in pixels of the preview's image; 2/3 of full_resolution if that is not larger."
    )
    preview_source: str = _choice(
        ("image", "features"),
        "What presence is scored on: image, the image at preview_resolution, as published; features, the features of "
        "the full resolution, pooled.",
    )
    preview_scale: float = _number(
        0.3333,
        1,
        "With preview_source features, side of the map that all prompts are scored on, by the full one's.",
        0.01,
    )
    preview_fine_scale: float = _number(
        0.6667,
        1,
        "Likewise, of the map that uncertain prompts are scored on again; not above preview_scale: none is.",
        0.01,
    )
    preview_floor: float = _number(
        0.0,
        1,
        "Likewise, presence at preview_scale below which a prompt is clearly absent and not scored again; at most "
        "presence_floor counts.",
    )
    keep_fraction: float = _number(
        0.20, 1, "Share of the prompts that the preview keeps, by presence.", low=0.0001
    )
    max_active: int = _integer(
        40, 1, 65_535, "Maximum number of decoded prompts; a vocabulary with no more skips the preview."
    )
    bucket_size: int = _integer(
        32, 1, 1024, "Number of prompts decoded together: affects memory and speed, not the labels."
    )
    confidence_threshold: float = _number(
        0.3, 1, "Minimum score (object score times presence) of an instance mask."
    )
    instance_overlap: float = _number(
        0.5, 1, "Instances that two aliases of a class found are one if their masks overlap by more (IoU)."
    )
    occlusion_frames: int = _integer(
        10, 0, 1000, "On a stream, number of frames that an instance may not be found in and yet keep its id."
    )
    background_threshold: float = _number(
        0.0, 1, "Pixels whose margin-aware score is below this ^ margin_exponent become background; 0: off."
    )
    margin_exponent: float = _number(1.25, 10, "Exponent of background_threshold.", low=0.01)
    neighbor_tokens: int = _integer(
        2, 0, 16, "Number of context tokens per prompt from the most similar other prompts."
    )
    hypernym_tokens: int = _integer(
        2, 0, 16, "Number of context tokens per prompt from its hypernyms; built-in sources know at most two."
    )
    presence_floor: float = _number(
        0.0, 1, "Prompts with a lower last known presence are not decoded, except the most present one."
    )
    preview_period: int = _integer(
        1,
        1,
        10_000,
        "Every prompt is scored or decoded at least once in so many frames; 1: all in every one.",
    )
    preview_way: str = _choice(
        ("share", "sweep"),
        "How inactive prompts are scored with a preview_period above 1: share scores a few in every frame, at full "
        "resolution; sweep scores all in one preview now and then.",
    )
    preview_likely: int = _integer(
        0, 0, 10_000, "With preview_way share, number of likely prompts scored additionally in every frame."
    )
    leave_after: int = _integer(
        3, 1, 1000, "Successive frames without selection after which an active prompt is no longer decoded."
    )
    encode_every: int = _integer(
        1,
        1,
        10,
        "With a preview_period above 1, every so many frames of a stream is encoded and decoded; those between, up to "
        "0.15 s later, get its labels, moved by optical flow; 1: every one.",
    )
    change_threshold: float = _number(
        0.65, 1, "All prompts are scored anew if an image differs from the last one by more; 1: never."
    )
    max_pixels: int = _integer(8_300_000, 1, 100_000_000, "Images with more pixels are refused.")

    @property
    def reuses_frames(self) -> bool:
        """Whether a frame of a stream reuses what is known from the frames before (temporal reuse)."""
        return self.preview_period > 1

    @property
    def frames_per_encoding(self) -> int:
        """Frames of a stream of which one is encoded; at least two in each `preview_period` are."""
        return min(self.encode_every, max(1, self.preview_period // 2))

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            if (value := getattr(self, name)) not in choices:
                raise SettingsError(f"{name} is {value!r}; expected one of {', '.join(choices)}")
        for name, bounds in BOUNDS.items():
            value = getattr(self, name)
            if value is not None or name != "full_resolution":
                bounds.check(name, value)


BOUNDS: Mapping[str, Bounds] = MappingProxyType(
    {one.name: one.metadata["bounds"] for one in fields(SegmenterSettings) if "bounds" in one.metadata}
)
"""Limits of every numeric setting."""

CHOICES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {one.name: one.metadata["choices"] for one in fields(SegmenterSettings) if "choices" in one.metadata}
)
"""Allowed values of every other setting."""

DESCRIPTIONS: Mapping[str, str] = MappingProxyType(
    {one.name: one.metadata["description"] for one in fields(SegmenterSettings)}
)
"""One sentence about every setting, in the order of the fields."""

PROFILES: Mapping[str, Mapping[str, float | int | str]] = MappingProxyType(
    {
        "paper": MappingProxyType(
            {
                "preview_source": "image",
                "preview_scale": 0.3333,
                "preview_fine_scale": 0.6667,
                "preview_floor": 0.0,
                "keep_fraction": 0.20,
                "presence_floor": 0.0,
                "preview_period": 1,
                "preview_way": "share",
                "preview_likely": 0,
                "leave_after": 3,
                "change_threshold": 0.65,
            }
        ),
        "fast": MappingProxyType(
            {
                "preview_source": "features",
                "preview_scale": 0.3333,
                "preview_fine_scale": 0.6667,
                "preview_floor": 0.0002,
                "keep_fraction": 0.30,
                "presence_floor": 0.0005,
                "preview_period": 1,
                "preview_way": "share",
                "preview_likely": 0,
                "leave_after": 3,
                "change_threshold": 0.65,
            }
        ),
        "realtime": MappingProxyType(
            {
                "preview_source": "image",
                "preview_scale": 0.3333,
                "preview_fine_scale": 1.0,
                "preview_floor": 0.002,
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
"""Settings that belong together, by purpose: single images as published ("paper") or for half the work ("fast"), and
streams ("realtime")."""

GOVERNED: tuple[str, ...] = tuple(PROFILES["paper"])
"""Names of the settings that a profile sets."""


def settings_for(profile: str, given: Mapping[str, object]) -> SegmenterSettings:
    """Return the settings of a profile, with every given value on top, even one that equals a default.

    Args:
        profile: a name of `PROFILES`.
        given: values by the names of the settings.

    Raises:
        SettingsError: the profile or a setting is unknown, or a value is out of range.
    """
    if profile not in PROFILES:
        raise SettingsError(f"profile is {profile!r}; expected one of {', '.join(PROFILES)}")
    unknown = [name for name in given if name not in DESCRIPTIONS]
    if unknown:
        raise SettingsError(f"there is no setting {unknown[0]!r}; expected one of {', '.join(DESCRIPTIONS)}")
    values: dict[str, Any] = {**PROFILES[profile], **given}
    return SegmenterSettings(**values)
