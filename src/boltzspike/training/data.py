"""Data sets in files: npz, npy and csv, of pixels and, where there are some, labels."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from boltzspike.errors import ValidationError, require
from boltzspike.model.description import Array, frozen_array


def read_data(path: str | os.PathLike[str], *, threshold: float | None = None) -> tuple[Array, Array | None]:
    """Return pixels (m, units) and labels (m,), or ``None``.

    Parameters
    ----------
    path
        ``.npz`` with an array ``pixels`` and maybe ``labels``; ``.npy``, or ``.csv`` of numbers without a head:
        pixels alone.
    threshold
        A pixel is 1 where it exceeds this; ``None``: they must be 0 or 1.

    Raises
    ------
    ValidationError
        Naming the file, and the entry that is at fault.
    """
    from boltzspike.training.models import binary

    path, labels = Path(path), None
    try:
        if path.suffix == ".npz":
            with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
                require("pixels" in archive, str(path), "an npz with an array 'pixels'", archive.files)
                pixels = archive["pixels"]
                if "labels" in archive:
                    labels = archive["labels"]
        elif path.suffix == ".npy":
            pixels = np.load(path, allow_pickle=False)
        elif path.suffix == ".csv":
            pixels = np.loadtxt(path, delimiter=",", ndmin=2)
        else:
            raise ValidationError(f"{path}: must end in .npz, .npy or .csv, got {path.suffix!r}")
    except OSError as error:
        raise ValidationError(f"{path}: can't be read: {error.strerror or error}") from None
    except ValidationError:
        raise
    except Exception as error:  # NumPy's readers raise many kinds on a damaged file
        raise ValidationError(f"{path}: can't be read ({error})") from None
    if threshold is not None:
        pixels = frozen_array(pixels, f"{path}: pixels", ndim=2) > threshold
    pixels = binary(pixels, f"{path}: pixels").astype(np.int8)
    if labels is not None:
        require(labels.shape == (len(pixels),), f"{path}: labels", f"of shape ({len(pixels)},)", labels.shape)
    return pixels, labels
