"""Any image that the segmenter takes, to RGB: a file, a Pillow image, a numpy array or a torch tensor."""

from __future__ import annotations

import io
import sys
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Union

import numpy as np
from PIL import Image as Pillow
from PIL import ImageOps, UnidentifiedImageError

from activesam_ros.errors import ImageError, reason
from activesam_ros.images.compressed import refuse_damage, with_end
from activesam_ros.images.raw import check_size

if TYPE_CHECKING:
    import torch

ImageInput = Union[str, PathLike[str], Pillow.Image, np.ndarray, "torch.Tensor"]
"""A file name, a Pillow image, a uint8 array [H, W, 3] or a uint8 tensor [3, H, W]; colours in the order RGB."""


def to_rgb(image: ImageInput, max_pixels: int | None = None) -> np.ndarray:
    """Convert any accepted image to RGB.

    Args:
        image: one of
            - the path of an image file that Pillow reads; turned as its EXIF orientation says;
            - a Pillow image of any mode but "F"; alpha is dropped, 16 bits are scaled to 8; not turned;
            - a uint8 array [H, W, 3], RGB (OpenCV reads BGR: `image[..., ::-1]`);
            - a uint8 torch tensor [3, H, W], RGB, on any device.
        max_pixels: larger images are refused, files before they are decoded; None: no limit.

    Returns:
        uint8 [H, W, 3]; an array is returned as it is.

    Raises:
        ImageError: the image has another type, shape or number format, is empty or too large, or its file is missing
            or damaged.
    """
    if isinstance(image, str | PathLike):
        return _from_file(Path(image), max_pixels)
    if isinstance(image, Pillow.Image):
        check_size(image.width, image.height, max_pixels)
        return _from_pillow(image)
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(image, torch.Tensor):
        image = _from_tensor(image)
    if not isinstance(image, np.ndarray):
        raise ImageError(
            f"the image is a {type(image).__name__}; expected a numpy array, uint8 [height, width, 3], a file name, "
            "a Pillow image or a torch tensor, uint8 [3, height, width]"
        )
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ImageError(
            f"the image is {image.dtype} {list(image.shape)}; expected uint8 [height, width, 3], RGB"
            f"{_array_hint(image)}"
        )
    check_size(image.shape[1], image.shape[0], max_pixels)
    return image


def image_name(image: ImageInput) -> str:
    """Return the name of an image file without its ending; "image" for other images."""
    return Path(image).stem if isinstance(image, str | PathLike) else "image"


def _array_hint(image: np.ndarray) -> str:
    if image.ndim == 4:
        return "; give a list of images in place of a batch"
    if image.dtype.kind == "f":
        return "; scale floats from 0 to 1 with (image * 255).astype(numpy.uint8)"
    if image.ndim == 3 and image.shape[0] == 3:
        return "; move the channels to the end with image.transpose(1, 2, 0)"
    if image.ndim == 2 or image.shape[2:] == (1,):
        return "; repeat a grey image with numpy.dstack([image] * 3)"
    return ""


def _from_tensor(image: torch.Tensor) -> np.ndarray:
    name = str(image.dtype).removeprefix("torch.")
    if name != "uint8" or image.ndim != 3 or image.shape[0] != 3:
        hint = ""
        if image.ndim == 4:
            hint = "; give a list of tensors in place of a batch"
        elif image.is_floating_point():
            hint = "; scale floats from 0 to 1 with (image * 255).to(torch.uint8)"
        elif image.ndim == 3 and image.shape[2] == 3:
            hint = "; move the channels to the front with image.permute(2, 0, 1)"
        raise ImageError(
            f"the image is a tensor, {name} {list(image.shape)}; expected uint8 [3, height, width], RGB{hint}"
        )
    pixels: np.ndarray = image.detach().permute(1, 2, 0).cpu().numpy()
    return np.ascontiguousarray(pixels)


def _from_file(path: Path, max_pixels: int | None) -> np.ndarray:
    try:
        data = with_end(path.read_bytes())
        with Pillow.open(io.BytesIO(data)) as picture:
            check_size(picture.width, picture.height, max_pixels)
            refuse_damage(data, picture)
            return _from_pillow(ImageOps.exif_transpose(picture))
    except (ImageError, MemoryError):
        raise
    except FileNotFoundError as error:
        raise ImageError(f"there is no image {path}; expected the path of an image file") from error
    except UnidentifiedImageError as error:
        raise ImageError(f"{path} is not an image; expected JPEG, PNG or what else Pillow reads") from error
    except Exception as error:  # Damaged files make the decoders raise nearly anything.
        raise ImageError(f"the image {path} cannot be read: {reason(error)}") from error


def _from_pillow(picture: Pillow.Image) -> np.ndarray:
    if picture.mode == "F":
        raise ImageError(
            "the image holds floating-point numbers (mode F); expected a picture: convert it to mode RGB or L first"
        )
    if picture.mode.startswith("I"):
        grey = (np.asarray(picture).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8)
        return np.repeat(grey[:, :, np.newaxis], 3, axis=2)
    return np.array(picture.convert("RGB"))
