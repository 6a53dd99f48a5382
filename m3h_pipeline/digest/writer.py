"""Code written down by what it says: without docstrings and layout, names as what they are bound to."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol, TypeGuard

from m3h_pipeline.digest.modules import COMPREHENSIONS, Mention, Module, Package, Scope, Target

#: Arguments of pydantic's ``Field`` that are for people.
_HELP = {"description", "title", "examples"}


@dataclass(frozen=True)
class Code:
    """What a definition says.

    Attributes:
        text: its syntax, without the places of what it mentions.
        mentions: those, in the order of the text.
        imports: modules of the package that it imports when it runs.
        ordered: whether it says its mentions in an order, and each as often as it does.
    """

    text: str
    mentions: tuple[Mention, ...] = ()
    imports: frozenset[str] = frozenset()
    ordered: bool = True


class Names(Protocol):
    """What names of a package are bound to."""

    package: Package

    def resolve(self, target: Target, typed: bool = False) -> tuple[Mention | None, tuple[str, ...]]:
        """The definition that a target leads to, and the attributes of it that are left."""
        ...

    def named(self, text: str) -> Mention | None:
        """The module or definition that a text names."""
        ...

    def is_section(self, module: str, name: str) -> bool:
        """Whether a definition is a pydantic model."""
        ...


def _is_field(node: ast.stmt) -> bool:
    return isinstance(node, ast.AnnAssign) and "ClassVar" not in ast.dump(node.annotation)


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Pass) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))


def is_field(node: ast.stmt) -> TypeGuard[ast.AnnAssign]:
    """Whether a statement in a class is a field."""
    return isinstance(node, ast.AnnAssign) and "ClassVar" not in ast.dump(node.annotation)


def is_text(node: ast.stmt) -> bool:
    """Whether a statement does nothing: a docstring, ``pass``."""
    return isinstance(node, ast.Pass) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))


class Writer:
    """Write code down, and gather what it mentions.

    Args:
        names: what names of the package are bound to.
        module: the code's.
        scope: names of the class that the code stands in.
        typed: whether what it mentions is only the type of something.
    """

    def __init__(self, names: Names, module: Module, scope: Scope | None = None, typed: bool = False) -> None:
        self.names = names
        self.package = names.package
        self.module = module
        self.typed = typed
        self.mentions: list[Mention] = []
        self.imports: set[str] = set()
        self._out: list[str] = []
        # (whether it is a class's, names); those of a class are seen in its body only.
        self._scopes: list[tuple[bool, Scope]] = [(True, scope)] if scope else []

    def code(self, name: str, body: Iterable[ast.AST]) -> Code:
        """What the definition of a name says."""
        for node in body:
            self.write(node)
        text = name + ":" + "".join(self._out)
        return Code(text, tuple(self.mentions), frozenset(self.imports))

    def bound_to(self, node: ast.expr) -> tuple[Mention | None, tuple[str, ...]]:
        """What a dotted name is bound to, as of ``Package.resolve``; of anything else, None and nothing."""
        attributes: list[str] = []
        while isinstance(node, ast.Attribute):
            attributes.insert(0, node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            return None, ()
        target = self._target(node.id)
        if target is None:
            return None, (node.id, *attributes)
        return self.names.resolve(Target(target.module, (*target.attributes, *attributes)), self.typed)

    def mention(self, target: Target) -> None:
        """Note a definition without a word in the text."""
        found, _ = self.names.resolve(target, self.typed)
        if found is not None:
            self.mentions.append(found)

    def _target(self, name: str) -> Target | None:
        """What a name is bound to here; None: a variable, a builtin."""
        for _, scope in reversed(self._scopes):
            if name in scope:
                return scope[name]
        if name in self.module.defined:
            return Target(self.module.name, (name,))
        if name in self.module.imported:
            return self.module.imported[name]
        stars = (Target(star, (name,)) for star in self.module.stars)
        return next((target for target in stars if self.package.resolve(target)[0] is not None), None)

    def write(self, node: object) -> None:
        """Write a node, a list of nodes, or a value."""
        if isinstance(node, ast.AST):
            special = _SPECIAL.get(type(node))
            if special is None:
                self._plain(node)
            else:
                special(self, node)
        elif isinstance(node, list):
            self._out.append("[")
            for one in node:
                self.write(one)
            self._out.append("]")
        else:
            self._out.append(repr(node))

    def _plain(self, node: ast.AST, without: str = "") -> None:
        self._out.append(f"{type(node).__name__}(")
        for name in node._fields:
            value = getattr(node, name, None)
            # Empty fields are left out: later Pythons have more of them.
            if value is not None and value != [] and name != "ctx" and name != without:
                self._out.append(f"{name}=")
                self.write(value)
        self._out.append(")")

    def _as_type(self, node: ast.AST | None) -> None:
        typed, self.typed = self.typed, True
        self.write(node)
        self.typed = typed

    def _name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load):
            self._dotted(node)
        else:
            self._out.append(f"{node.id} ")

    def _attribute(self, node: ast.Attribute) -> None:
        root = node.value
        while isinstance(root, ast.Attribute):
            root = root.value
        if isinstance(root, ast.Name):
            self._dotted(node)
        else:
            self._plain(node)

    def _dotted(self, node: ast.Name | ast.Attribute) -> None:
        found, rest = self.bound_to(node)
        if found is not None:
            self.mentions.append(found)
            rest = ("@", *rest)
        self._out.append(".".join(rest) + " ")

    def _constant(self, node: ast.Constant) -> None:
        value = node.value
        if isinstance(value, str) and f"{self.package.name}." in value:
            found = self.names.named(value)
            if found is not None:
                self.mentions.append(found)
                value = "@named"
            else:
                # In a sentence: for people, who are told where something is.
                value = re.sub(rf"\b{self.package.name}(\.\w+)+", self._in_a_sentence, value)
        self._out.append(f"{value!r} ")

    def _in_a_sentence(self, name: re.Match[str]) -> str:
        return name[0] if self.package.named(name[0]) is None else "@named"

    def _f_string(self, node: ast.JoinedStr) -> None:
        first, *rest = node.values
        text = first.value if isinstance(first, ast.Constant) else ""
        if isinstance(text, str) and text.endswith(".") and self.package.children(text[:-1]):
            self.mentions.append(Mention(text[:-1], "**"))
            self._out.append("@named.")
            self.write(rest)
        else:
            self._plain(node)

    def _import(self, node: ast.Import | ast.ImportFrom) -> None:
        for _, target, own in self.package.targets(self.module.name, node):
            if own:
                self.imports.add(own)
            else:
                self._out.append(f"import {'.'.join(target.attributes)} ")

    def _expression(self, node: ast.Expr) -> None:
        if not is_text(node):
            self._plain(node)

    def _annotated(self, node: ast.AnnAssign) -> None:
        self._out.append("AnnAssign(")
        self.write(node.target)
        self._as_type(node.annotation)
        self.write(node.value)
        self._out.append(")")

    def _argument(self, node: ast.arg) -> None:
        self._out.append(f"{node.arg}:")
        self._as_type(node.annotation)

    def _call(self, node: ast.Call) -> None:
        found, name = self.bound_to(node.func)
        if found is None and name in {("isinstance",), ("issubclass",)} and len(node.args) == 2:
            self._out.append(f"{name[0]}(")
            self.write(node.args[0])
            self._as_type(node.args[1])
            self._out.append(")")
        elif found is None and name == ("pydantic", "Field"):
            said = [keyword for keyword in node.keywords if keyword.arg not in _HELP]
            self._out.append("Field(")
            self.write([*node.args, *said])
            self._out.append(")")
        else:
            self._plain(node)

    def _class_pattern(self, node: ast.MatchClass) -> None:
        self._out.append("MatchClass(")
        self._as_type(node.cls)
        self._plain(node, without="cls")
        self._out.append(")")

    def _inside(self, scope: Scope, nodes: object, of_class: bool = False) -> None:
        outer = self._scopes
        self._scopes = [*(one for one in outer if not one[0]), (of_class, scope)]
        self.write(nodes)
        self._scopes = outer

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self._out.append(f"{type(node).__name__} {node.name}(")
        self.write(node.decorator_list)
        self.write(node.args)
        self._as_type(node.returns)
        self._inside(self._of_function(node.args, node.body), node.body)
        self._out.append(")")

    def _lambda(self, node: ast.Lambda) -> None:
        self._out.append("lambda(")
        self.write(node.args)
        self._inside(self._of_function(node.args, [node.body]), node.body)
        self._out.append(")")

    def _of_function(self, given: ast.arguments, body: Iterable[ast.AST]) -> Scope:
        arguments: Scope = {node.arg: None for node in ast.walk(given) if isinstance(node, ast.arg)}
        return self.package.bound(self.module.name, body) | arguments

    def _class(self, node: ast.ClassDef) -> None:
        self._out.append(f"class {node.name}(")
        self.write([*node.decorator_list, *node.bases, *node.keywords])
        # Who makes a section makes those that its fields hold.
        made = self.names.is_section(self.module.name, node.name)
        body = [
            [one.target, one.annotation, one.value] if made and is_field(one) else one for one in node.body
        ]
        self._inside(self.package.bound(self.module.name, node.body), body, of_class=True)
        self._out.append(")")

    def _comprehension(self, node: ast.AST) -> None:
        # Only the four kinds of comprehensions come here, and all have generators.
        generators: list[ast.comprehension] = node.generators  # type: ignore[attr-defined]
        self._out.append(f"{type(node).__name__}(")
        # The first iterable is evaluated outside.
        self.write(generators[0].iter)
        names = self.package.bound(self.module.name, [one.target for one in generators])
        parts = [getattr(node, name) for name in ("key", "value", "elt") if hasattr(node, name)]
        for number, one in enumerate(generators):
            parts += [one.target, *([one.iter] if number else []), one.ifs, one.is_async]
        self._inside(names, parts)
        self._out.append(")")


_SPECIAL: dict[type[ast.AST], Callable[[Writer, Any], None]] = {
    ast.Name: Writer._name,
    ast.Attribute: Writer._attribute,
    ast.Constant: Writer._constant,
    ast.JoinedStr: Writer._f_string,
    ast.Import: Writer._import,
    ast.ImportFrom: Writer._import,
    ast.Expr: Writer._expression,
    ast.AnnAssign: Writer._annotated,
    ast.arg: Writer._argument,
    ast.Call: Writer._call,
    ast.MatchClass: Writer._class_pattern,
    ast.FunctionDef: Writer._function,
    ast.AsyncFunctionDef: Writer._function,
    ast.Lambda: Writer._lambda,
    ast.ClassDef: Writer._class,
    **dict.fromkeys(COMPREHENSIONS, Writer._comprehension),
}
