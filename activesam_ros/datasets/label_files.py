"""Label files: pictures whose values are class numbers, and the label maps of Pascal Context."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from activesam_ros.errors import DatasetError, reason

if TYPE_CHECKING:
    from pathlib import Path

_MAT = ".mat"
_MAT_VARIABLE = "LabelMap"


def read_labels(path: Path) -> np.ndarray:
    """The values of a label file.

    Args:
        path: a picture with one channel of 8 or 16 bit; or one with a palette, whose indices are the values; or a
            MATLAB file with the variable `LabelMap`, which needs scipy.

    Returns:
        uint8 or uint16 [H, W].

    Raises:
        DatasetError: the file cannot be read, or is a colour picture.
    """
    return _read_mat(path) if path.suffix == _MAT else _read_picture(path)


def _read_picture(path: Path) -> np.ndarray:
    try:
        with Image.open(path) as picture:
            values = np.asarray(picture)
            mode = picture.mode
    except Exception as error:  # damaged files make the decoders raise nearly anything
        raise _unreadable(path, error) from error
    if values.ndim != 2 or values.dtype.kind not in "biu":
        raise DatasetError(
            f"{path} is a picture of the mode {mode}; expected class numbers in one channel of 8 or 16 bit, or in a "
            "palette"
        )
    return _small(path, values)


def _read_mat(path: Path) -> np.ndarray:
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise DatasetError(
            f"{path} is a MATLAB file, for which scipy is needed; install it with: pip install scipy"
        ) from error
    try:
        values = np.asarray(loadmat(path, variable_names=[_MAT_VARIABLE])[_MAT_VARIABLE])
    except KeyError as error:
        raise DatasetError(
            f"{path} has no variable {_MAT_VARIABLE}; expected a label map of Pascal Context"
        ) from error
    except Exception as error:  # damaged files make the reader raise nearly anything
        raise _unreadable(path, error) from error
    if values.ndim != 2:
        raise DatasetError(
            f"{_MAT_VARIABLE} in {path} has the shape {values.shape}; expected [height, width]"
        )
    return _small(path, values)


def _small(path: Path, values: np.ndarray) -> np.ndarray:
    if values.dtype in (np.uint8, np.uint16):
        return values
    if values.size and not 0 <= values.min() <= values.max() <= np.iinfo(np.uint16).max:
        raise DatasetError(f"{path} has values from {values.min()} to {values.max()}; expected 0 to 65535")
    return values.astype(np.uint16)


def _unreadable(path: Path, error: Exception) -> DatasetError:
    return DatasetError(f"the label file {path} cannot be read ({reason(error)}); unpack the data set again")
