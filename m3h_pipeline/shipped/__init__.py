"""What comes with the package beside its code: workflow, task definitions, configurations.

In a clone they stand beside the package, in a wheel inside it, by the same names (``setup.py``).
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Final

#: Where a wheel carries them, inside the package.
INSIDE: Final = "_shipped"
#: The folders that are carried.
FOLDERS: Final = ("config", "docs/gpu", "resources", "workflow")

_PACKAGE = Path(__file__).resolve().parents[1]


def root(package: Path = _PACKAGE) -> Path:
    """The folder that holds :data:`FOLDERS`: of a wheel inside the package, of a clone around it.

    Args:
        package: the folder of the package.
    """
    inside = package / INSIDE
    return inside if inside.is_dir() else package.parent


def shipped(name: str) -> Path:
    """Where something lies that ships, whether or not it is there.

    Args:
        name: as in a clone, with ``/`` between its parts.

    Examples:
        >>> shipped("workflow/Snakefile").is_file()
        True
    """
    return root() / name


def located(path: str) -> str:
    """A file that a study names: the user's own, else the one of that name that ships, else as it was named.

    Args:
        path: relative to the folder the study runs in, or absolute.

    Examples:
        >>> located("my_tasks.yaml"), Path(located("resources/tasks/m3h.yaml")).is_file()
        ('my_tasks.yaml', True)
    """
    inside = any(PurePosixPath(path).is_relative_to(folder) for folder in FOLDERS) and ".." not in path
    if not inside or Path(path).exists() or not shipped(path).is_file():
        return path
    return str(shipped(path))
