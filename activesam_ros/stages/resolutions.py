"""At which resolutions a model sees its images."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from activesam_ros.errors import SettingsError

if TYPE_CHECKING:
    from activesam_ros.settings import SegmenterSettings

logger = logging.getLogger(__name__)


def resolutions(image_size: int, patch_size: int, settings: SegmenterSettings) -> tuple[int, int]:
    """The full and the preview resolution in force, in pixels.

    Args:
        image_size: side in pixels of the images that the model was made for.
        patch_size: side in pixels of a patch of its vision encoder.
        settings: what is asked for.

    Raises:
        SettingsError: a resolution is no whole number of patches.
    """
    full = settings.full_resolution or image_size
    preview = settings.preview_resolution
    if preview >= full:
        preview = max(2, round(full * 2 / 3 / patch_size)) * patch_size
        logger.info(
            "preview_resolution %d is not below the full resolution %d; previewing at %d",
            settings.preview_resolution,
            full,
            preview,
        )
    for name, value in (("full_resolution", full), ("preview_resolution", preview)):
        if value % patch_size or value < 2 * patch_size:
            raise SettingsError(
                f"{name} is {value}; expected a multiple of the model's patch size {patch_size}, at least twice it, "
                f"such as {max(2, round(value / patch_size)) * patch_size}"
            )
    return full, preview
