"""Code of the user's own, which a study names by its dotted path."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from types import ModuleType
from typing import Any

from m3h_pipeline.errors import ConfigError, nearest


def is_path(name: str) -> bool:
    """Whether a name of the configuration is a dotted path.

    Examples:
        >>> is_path("mlp"), is_path("my_package.MyEncoder"), is_path("my_module:MyEncoder")
        (False, True, True)
    """
    return "." in name or ":" in name


_TRUSTED = ContextVar("trusted", default=True)


@contextmanager
def untrusted() -> Iterator[None]:
    """Import nothing that a dotted path names: what names it comes from somebody else."""
    before = _TRUSTED.set(False)
    try:
        yield
    finally:
        _TRUSTED.reset(before)


def locate(path: str) -> Any:
    """The object at a dotted path, ``package.module.Name`` or ``package.module:Name``.

    Modules are looked for where Python looks, and last in the working directory, where a study is run.

    Raises:
        ConfigError: there is no such module or name, the module fails when it is imported, or it is named by
            somebody whom the user does not trust (:func:`untrusted`).
    """
    if not _TRUSTED.get():
        raise ConfigError(
            "the study names code of its own, which is not imported: it could do anything",
            where=path,
            hint="read that code, and add `--trust` if it may run here",
        )
    name, _, attribute = path.replace(":", ".").rpartition(".")
    module = _module(name, path)
    try:
        return getattr(module, attribute)
    except AttributeError as error:
        public = [one for one in dir(module) if not one.startswith("_")]
        raise ConfigError(
            f"module `{name}` has no `{attribute}`", where=path, hint=nearest(attribute, public)
        ) from error


def _module(name: str, path: str) -> ModuleType:
    # A console script does not look into the working directory by itself; appended, nothing there can
    # take the place of an installed package.
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.append(here)
    try:
        return importlib.import_module(name)
    except Exception as error:  # the user's module may fail in any way
        raise ConfigError(
            f"`{path}` cannot be imported: {type(error).__name__}: {error}",
            where="a dotted path of the configuration",
            hint="the module lies in the working directory of the study, or is installed where jobs run",
        ) from error


def call(path: str, *arguments: Any) -> Any:
    """What the user's function at a dotted path returns.

    Raises:
        ConfigError: there is no such function, or it fails.
    """
    function = locate(path)
    try:
        return function(*arguments)
    except Exception as error:  # the user's function may fail in any way
        raise ConfigError(f"it fails: {type(error).__name__}: {error}", where=path) from error


def source_digest(path: str) -> str:
    """SHA-256 of the source file of what a dotted path names, so that fits know the code they came from.

    Raises:
        ConfigError: as of :func:`locate`.
    """
    try:
        file = inspect.getsourcefile(locate(path))
    except TypeError:
        file = None
    if file is None:
        return path
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()
