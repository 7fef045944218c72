"""A folder that is written whole or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from boltzspike.errors import ValidationError


@contextlib.contextmanager
def writing_folder(folder: str | os.PathLike[str], *, force: bool) -> Iterator[Path]:
    """Give a temporary folder beside ``folder``; on success it takes its name, on failure it is removed.

    A folder that exists is refused unless it is empty or ``force``; then it is replaced, with all that is in it.
    """
    folder = Path(folder)
    if not folder.parent.is_dir():
        raise ValidationError(f"{folder}: the folder {str(folder.parent)!r} does not exist")
    if folder.exists() and not folder.is_dir():
        raise ValidationError(f"{folder}: exists and is no folder")
    if folder.is_dir() and any(folder.iterdir()) and not (force and (folder / MARK).exists()):
        hint = (
            "--force (force=True) replaces it"
            if (folder / MARK).exists()
            else "it holds other files: choose another"
        )
        raise ValidationError(f"{folder}: exists already; {hint}")
    try:
        partial = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    except OSError as error:
        raise ValidationError(f"{folder}: can't be written: {error.strerror or error}") from None
    try:
        yield partial
        umask = os.umask(0)
        os.umask(umask)
        partial.chmod(0o777 & ~umask)
        if folder.exists():
            shutil.rmtree(folder)
        partial.replace(folder)
    except OSError as error:
        raise ValidationError(f"{folder}: can't be written: {error.strerror or error}") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_contents(folder: Path, target: str, about: Mapping[str, Any], documents: Mapping[str, bytes]) -> None:
    """Write what every exported folder holds: the mark, and documents by their names."""
    mark = {"format": "boltzspike-export", "schema": 1, "target": target, **about}
    (folder / MARK).write_text(json.dumps(mark, indent=1) + "\n")
    for name, content in documents.items():
        (folder / name).write_bytes(content)


MARK = "export.json"
"""File that tells an exported folder from any other, which ``force`` does not replace."""
