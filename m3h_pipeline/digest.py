"""A digest of the code behind a verb, blind to comments, docstrings and formatting.

Rules pass it as a parameter, and fits carry it in their key, so that a change of code reruns what ran that
code and nothing else.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_NAME = _PACKAGE.name

# Modules that cannot change a result: configuration values are hashed or passed as parameters themselves,
# messages and progress lines reach no output.
_NEUTRAL = ("m3h_pipeline.config", "m3h_pipeline.errors", "m3h_pipeline.progress")


def code_digest(*modules: str) -> str:
    """Digest of ``modules`` and of every module of this package that they import, directly or not.

    Args:
        modules: dotted names inside the package, such as ``m3h_pipeline.search.plan``.

    Raises:
        ModuleNotFoundError: a name is no module of this package.

    Examples:
        >>> code_digest("m3h_pipeline.contracts") == code_digest("m3h_pipeline.contracts")
        True
        >>> code_digest("m3h_pipeline.contracts") == code_digest("m3h_pipeline.digest")
        False
    """
    total = hashlib.sha256()
    for name in sorted(closure(modules)):
        total.update(f"{name}:{_digest(name)}\n".encode())
    return total.hexdigest()[:16]


def closure(modules: Iterable[str]) -> set[str]:
    """The given modules and all modules of this package that they import, at any depth.

    Those that cannot change a result (configuration models, messages, progress) are left out.
    """
    seen: set[str] = set()
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name not in seen and not name.startswith(_NEUTRAL):
            seen.add(name)
            waiting += imports(name)
    return seen


@cache
def imports(module: str) -> tuple[str, ...]:
    """Modules of this package that ``module`` imports, wherever in the file the import stands.

    Importing ``m3h_pipeline.config`` runs its ``__init__``, which is therefore among them; the package's own
    top-level ``__init__`` holds nothing but the version and is left out.
    """
    found: set[str] = set()
    package = module if _path(module).name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(_tree(module)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parts, base]) if base else ".".join(parts)
            found.add(base)
            found.update(f"{base}.{alias.name}" for alias in node.names)
    own = {name for name in found if name.startswith(f"{_NAME}.") and _exists(name)}
    parents = {".".join(name.split(".")[:i]) for name in own for i in range(2, name.count(".") + 1)}
    return tuple(sorted(own | parents))


@cache
def _digest(module: str) -> str:
    tree = ast.parse(_path(module).read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                node.body = node.body[1:]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()


@cache
def _tree(module: str) -> ast.Module:
    return ast.parse(_path(module).read_text(encoding="utf-8"))


def _exists(module: str) -> bool:
    try:
        _path(module)
    except ModuleNotFoundError:
        return False
    return True


def _path(module: str) -> Path:
    parts = module.split(".")
    if parts[0] == _NAME:
        base = _PACKAGE.joinpath(*parts[1:])
        for candidate in (base.with_suffix(".py"), base / "__init__.py"):
            if candidate.is_file():
                return candidate
    raise ModuleNotFoundError(f"{module} is no module of {_NAME}")
