"""The modules of a package as they lie on disk: which names they give a value, and what imports bind.

Nothing is imported or run.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple


class Mention(NamedTuple):
    """A definition that some code uses.

    Attributes:
        module: dotted name of the module that holds it.
        name: a top-level name; ``Class.method``: a part of it; ``*``: all that the module defines; ``**``:
            all modules of a package; empty: what the module does when it is imported.
        typed: only as the type of a value that was made elsewhere (annotation, ``isinstance``).
    """

    module: str
    name: str
    typed: bool = False


class Target(NamedTuple):
    """What an import binds: attributes of a module of the package or (``module`` empty) of a library."""

    module: str
    attributes: tuple[str, ...]


#: Name -> what an import binds it to there, or None where it is a variable.
Scope = dict[str, Target | None]

#: Decorators that only wrap what they decorate; any other may enter it somewhere.
_WRAPPERS = {"cache", "contextmanager", "dataclass", "functools", "lru_cache", "torch"}

DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


@dataclass
class Module:
    """The top level of a module.

    Attributes:
        name: dotted name.
        defined: name -> the statements that give it a value, in order.
        imported: name -> what an import binds it to.
        acts: what the module does when it is imported, beyond giving names values.
        requires: modules of the package whose import runs when this one's does.
        stars: modules of the package all of whose names are imported.
    """

    name: str
    defined: dict[str, list[ast.stmt]] = field(default_factory=dict)
    imported: dict[str, Target] = field(default_factory=dict)
    acts: list[ast.stmt] = field(default_factory=list)
    requires: set[str] = field(default_factory=set)
    stars: list[str] = field(default_factory=list)


class Package:
    """The modules of a package on disk.

    Args:
        folder: where its ``__init__.py`` is; the folder's name is the package's.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = folder.name
        self._trees: dict[str, ast.Module] = {}
        self._modules: dict[str, Module] = {}
        self._paths: dict[str, Path | None] = {}

    def path(self, module: str) -> Path | None:
        """The file of a module; None: there is no such module here."""
        if module not in self._paths:
            first, *parts = module.split(".")
            base = self.folder.joinpath(*parts)
            files = (base.with_suffix(".py"), base / "__init__.py") if parts else (base / "__init__.py",)
            inside = first == self.name and all(part.isidentifier() for part in parts)
            self._paths[module] = next((f for f in files if f.is_file()), None) if inside else None
        return self._paths[module]

    def tree(self, module: str) -> ast.Module:
        """The syntax of a module.

        Raises:
            ModuleNotFoundError: there is no such module in the package.
        """
        if module not in self._trees:
            path = self.path(module)
            if path is None:
                raise ModuleNotFoundError(f"{module} is no module of {self.name}")
            self._trees[module] = ast.parse(path.read_text(encoding="utf-8"))
        return self._trees[module]

    def module(self, name: str) -> Module:
        """The top level of a module."""
        if name not in self._modules:
            found = self._modules[name] = Module(name)
            for statement in self.tree(name).body:
                self._enter(found, statement)
            parents = {".".join(r.split(".")[:i]) for r in found.requires for i in range(2, r.count(".") + 1)}
            found.requires |= parents
        return self._modules[name]

    def children(self, module: str) -> list[str]:
        """The modules directly inside a package; none for one that is a file."""
        path = self.path(module)
        if path is None or path.name != "__init__.py":
            return []
        names = {file.stem if file.suffix == ".py" else file.name for file in path.parent.iterdir()}
        return [f"{module}.{name}" for name in sorted(names - {"__init__"}) if self.path(f"{module}.{name}")]

    def targets(self, module: str, node: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, Target, str]]:
        """(name, what it is bound to, module of the package that is imported or empty) of an import."""
        if isinstance(node, ast.Import):
            for alias in node.names:
                own = self.path(alias.name) is not None
                bound = alias.name if alias.asname else alias.name.split(".")[0]
                target = Target(bound, ()) if own else Target("", tuple(bound.split(".")))
                yield alias.asname or bound, target, alias.name if own else ""
            return
        base = self._base(module, node)
        for alias in node.names:
            name = alias.asname or alias.name
            if self.path(base) is None:
                yield name, Target("", (*base.split("."), alias.name)), ""
            else:
                whole = f"{base}.{alias.name}"
                yield name, Target(base, (alias.name,)), whole if self.path(whole) else base

    def resolve(self, target: Target, typed: bool = False) -> tuple[Mention | None, tuple[str, ...]]:
        """The definition that a target leads to, and the attributes of it that are left.

        Of what is no definition of this package, None and its dotted name.
        """
        module, attributes = target
        if not module:
            return None, attributes
        if not attributes:
            return Mention(module, "*"), ()
        first, *rest = attributes
        here = self.module(module)
        if first in here.defined:
            return Mention(module, first, typed), tuple(rest)
        if first in here.imported:
            onward = here.imported[first]
            return self.resolve(Target(onward.module, (*onward.attributes, *rest)), typed)
        if self.path(f"{module}.{first}") is not None:
            return self.resolve(Target(f"{module}.{first}", tuple(rest)), typed)
        for star in here.stars:
            found = self.resolve(Target(star, attributes), typed)
            if found[0] is not None:
                return found
        if "__getattr__" in here.defined:
            return Mention(module, "__getattr__"), attributes
        return None, attributes

    def named(self, text: str) -> Mention | None:
        """The module or definition of the package that a text names, dotted or ``module:name``."""
        parts = text.replace(":", ".").split(".")
        for cut in range(len(parts), 1, -1):
            module = ".".join(parts[:cut])
            if self.path(module) is not None:
                mention, rest = self.resolve(Target(module, tuple(parts[cut:])))
                return mention if not rest else None
        return None

    def _base(self, module: str, node: ast.ImportFrom) -> str:
        """The module that ``from ... import`` names."""
        if not node.level:
            return node.module or ""
        path = self.path(module)
        package = module if path and path.name == "__init__.py" else module.rpartition(".")[0]
        parts = package.split(".")[: len(package.split(".")) - node.level + 1]
        return ".".join([*parts, *([node.module] if node.module else [])])

    def _enter(self, module: Module, node: ast.stmt) -> None:
        if isinstance(node, ast.Import | ast.ImportFrom):
            for name, target, required in self.targets(module.name, node):
                if name == "*" and target.module:
                    module.stars.append(target.module)
                else:
                    module.imported[name] = target
                module.requires |= {required} - {""}
        elif isinstance(node, ast.If) and _tests(node) == "TYPE_CHECKING":
            for inner in node.body:
                if isinstance(inner, ast.Import | ast.ImportFrom):
                    module.imported.update((n, target) for n, target, _ in self.targets(module.name, inner))
        elif isinstance(node, ast.If) and _tests(node) == "__name__":
            pass  # Of a program, not of a module.
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            pass  # A docstring.
        else:
            self._enter_code(module, node)

    def _enter_code(self, module: Module, node: ast.stmt) -> None:
        assigned = node.targets if isinstance(node, ast.Assign) else [node]
        for name, target in self.bound(module.name, assigned).items():
            if target is not None:
                module.imported[name] = target
            elif name != "__all__":
                module.defined.setdefault(name, []).append(node)
        if isinstance(node, DEFINITIONS):
            acts = not {_root(decorator) for decorator in node.decorator_list} <= _WRAPPERS
        elif isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            acts = not all(isinstance(target, ast.Name | ast.Tuple) for target in targets)
        else:
            acts = True
            for inner in ast.walk(node):
                if isinstance(inner, ast.Import | ast.ImportFrom):
                    module.requires |= {own for _, _, own in self.targets(module.name, inner)} - {""}
        if acts:
            module.acts.append(node)

    def bound(self, module: str, body: Iterable[ast.AST]) -> Scope:
        """The names that statements or expressions bind in the scope they stand in."""
        found: Scope = {}
        outside: set[str] = set()
        waiting = list(body)
        while waiting:
            node = waiting.pop()
            if isinstance(node, ast.Name):
                if not isinstance(node.ctx, ast.Load):
                    found[node.id] = None
            elif isinstance(node, DEFINITIONS):
                found[node.name] = None
            elif isinstance(node, ast.Import | ast.ImportFrom):
                for name, target, _ in self.targets(module, node):
                    found.setdefault(name, target)
            elif isinstance(node, ast.Global | ast.Nonlocal):
                outside.update(node.names)
            elif isinstance(node, COMPREHENSIONS):
                waiting += [inner for inner in ast.walk(node) if isinstance(inner, ast.NamedExpr)]
            elif not isinstance(node, ast.Lambda):
                for key in node._fields:
                    value = getattr(node, key, None)
                    if isinstance(value, list):
                        waiting += [one for one in value if isinstance(one, ast.AST)]
                    elif isinstance(value, ast.AST):
                        waiting.append(value)
                    elif isinstance(node, ast.ExceptHandler | ast.pattern) and isinstance(value, str):
                        # The names that handlers and patterns bind are no nodes of their own.
                        found[value] = None
        return {name: target for name, target in found.items() if name not in outside}


def _tests(node: ast.If) -> str:
    """The name that the condition of an ``if`` is or starts from."""
    test = node.test.left if isinstance(node.test, ast.Compare) else node.test
    return test.id if isinstance(test, ast.Name) else ""


def _root(node: ast.expr) -> str:
    while isinstance(node, ast.Call | ast.Attribute):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else ""
