"""A digest of the code behind a verb, blind to comments, docstrings and formatting.

Rules pass it as a parameter, and fits carry it in their key, so that a change of code reruns what ran that
code and nothing else.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_NAME = _PACKAGE.name

# Modules that cannot change a result: configuration values are hashed or passed as parameters themselves,
# messages and progress lines reach no output.
_NEUTRAL = ("m3h_pipeline.config", "m3h_pipeline.errors", "m3h_pipeline.progress")


def code_digest(*modules: str) -> str:
    """Digest of ``modules`` and of what they use of this package, directly or not.

    Of the modules named here everything counts. Of a module they import, what counts is the definitions that
    are used, what those use in turn, and whatever the module does when it is imported: a new schema among the
    contracts changes the digest of those who read or write it, and of nobody else.

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
    return _code_digest(tuple(sorted(set(modules))))


@cache
def _code_digest(modules: tuple[str, ...]) -> str:
    total = hashlib.sha256()
    for module, numbers in sorted(used(modules).items()):
        statements = _statements(module)
        for number in sorted(numbers):
            total.update(f"{module}:{statements[number].digest}\n".encode())
    return total.hexdigest()[:16]


def used(modules: Iterable[str]) -> dict[str, set[int]]:
    """Module -> numbers of its top-level statements that ``modules`` depend on."""
    found: dict[str, set[int]] = {}
    waiting: list[tuple[str, str]] = [(module, "*") for module in modules]
    seen: set[tuple[str, str]] = set()
    while waiting:
        need = waiting.pop()
        module, name = need
        if need in seen or module.startswith(_NEUTRAL):
            continue
        seen.add(need)
        statements = _statements(module)
        if module not in found:
            # Importing a module runs it, and what it imports.
            found[module] = set()
            waiting += [(module, ""), *((other, "") for other in imports(module))]
        for number, statement in enumerate(statements):
            if number not in found[module] and (
                name == "*" or name in statement.binds or (name == "" and statement.acts)
            ):
                found[module].add(number)
                waiting += [(module, one) for one in statement.uses]
                waiting += statement.imports
    return found


@dataclass(frozen=True)
class _Statement:
    """A statement at the top level of a module.

    Attributes:
        binds: names it gives a value.
        uses: names it mentions.
        imports: (module of this package, name in it) that it imports; ``*``: all of it.
        acts: whether it does something whoever imports the module, beyond giving names values.
        digest: of its code.
    """

    binds: frozenset[str]
    uses: frozenset[str]
    imports: tuple[tuple[str, str], ...]
    acts: bool
    digest: str


#: Decorators that only wrap what they decorate; any other may enter it somewhere.
_WRAPPERS = {"cache", "contextmanager", "dataclass", "functools", "lru_cache", "torch"}


@cache
def _statements(module: str) -> tuple[_Statement, ...]:
    tree = ast.parse(_path(module).read_text(encoding="utf-8"))
    _without_docstrings(tree)
    attributes = _attributes_of_modules(tree)
    return tuple(_statement(module, node, attributes) for node in tree.body if not _for_types_only(node))


def _statement(module: str, node: ast.stmt, attributes: dict[str, set[str]]) -> _Statement:
    binds: set[str] = set()
    uses: set[str] = set()
    taken: list[tuple[str, str]] = []
    for inner in ast.walk(node):
        if isinstance(inner, ast.Name):
            (uses if isinstance(inner.ctx, ast.Load) else binds).add(inner.id)
        elif isinstance(inner, ast.ImportFrom | ast.Import):
            for bound, other, name in _imported(module, inner):
                binds.add(bound)
                whole = name == "*"
                # Of a module under a name of its own, only the attributes that are mentioned.
                mentioned = attributes.get(bound, {"*"}) if whole and inner is node else {"*"}
                taken += [(other, one) for one in mentioned] if whole else [(other, name)]
            binds.update((alias.asname or alias.name).split(".")[0] for alias in inner.names)
    plain = isinstance(node, ast.Import | ast.ImportFrom)
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        roots = {_root(decorator) for decorator in node.decorator_list}
        acts = not roots <= _WRAPPERS
        binds = {node.name}
    elif isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        acts = not all(isinstance(target, ast.Name | ast.Tuple) for target in targets)
        if isinstance(node, ast.AugAssign):
            uses |= binds
    else:
        acts = not plain
    digest = hashlib.sha256(ast.dump(node).encode()).hexdigest()
    return _Statement(frozenset(binds), frozenset(uses), tuple(sorted(set(taken))), acts, digest)


def _imported(module: str, node: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, str, str]]:
    """(name bound here, module of this package, name in it or ``*``) of an import."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            if alias.name.startswith(f"{_NAME}.") and _exists(alias.name):
                yield alias.asname or _NAME, alias.name, "*"
        return
    base = _base(module, node)
    for alias in node.names:
        whole = f"{base}.{alias.name}"
        if base == _NAME or base.startswith(f"{_NAME}."):
            if whole.startswith(f"{_NAME}.") and _exists(whole):
                yield alias.asname or alias.name, whole, "*"
            elif base != _NAME and _exists(base):
                yield alias.asname or alias.name, base, alias.name


def _attributes_of_modules(tree: ast.Module) -> dict[str, set[str]]:
    """Name -> attributes of it that the module mentions; ``*`` where the name stands by itself."""
    bases = {id(node.value): node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    found: dict[str, set[str]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            found.setdefault(node.id, set()).add(bases.get(id(node), "*"))
    return found


def _for_types_only(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def _root(node: ast.expr) -> str:
    while isinstance(node, ast.Call | ast.Attribute):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else ""


def _base(module: str, node: ast.ImportFrom) -> str:
    """The module that ``from ... import`` names."""
    base = node.module or ""
    if node.level:
        package = module if _path(module).name == "__init__.py" else module.rpartition(".")[0]
        parts = package.split(".")[: len(package.split(".")) - node.level + 1]
        base = ".".join([*parts, base]) if base else ".".join(parts)
    return base


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
    for node in ast.walk(_tree(module)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _base(module, node)
            found.add(base)
            found.update(f"{base}.{alias.name}" for alias in node.names)
    own = {name for name in found if name.startswith(f"{_NAME}.") and _exists(name)}
    parents = {".".join(name.split(".")[:i]) for name in own for i in range(2, name.count(".") + 1)}
    return tuple(sorted(own | parents))


def _without_docstrings(tree: ast.Module) -> None:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                node.body = node.body[1:]


def forget() -> None:
    """Read the package's files again, for a process that changes them."""
    for cached in (imports, _code_digest, _statements, _tree):
        cached.cache_clear()


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
