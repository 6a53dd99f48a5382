"""What the definitions of a package say and mention, wherever they stand.

A definition is written without comments, docstrings and layout, and every name in it as what it is bound to:
another definition of the package, a name of a library, or a variable. Modules, import statements and aliases
leave no trace, so that a definition that moves says the same.

Sections of the configuration (pydantic models) are two things. Who gets one gets values that were resolved
before; their methods, properties and validators count, their fields and defaults do not. Who makes one makes
it from its defaults, and all of it counts but what is for people to read.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable

from m3h_pipeline.digest.modules import DEFINITIONS, Mention, Module, Package, Target
from m3h_pipeline.digest.writer import Code, Writer, is_field, is_text

_BASE_MODEL = ("pydantic", "BaseModel")


class Definitions:
    """The definitions of a package.

    Args:
        package: its modules.
        neutral: modules whose definitions count by their names alone.
    """

    def __init__(self, package: Package, neutral: Iterable[str] = ()) -> None:
        self.package = package
        self.neutral = frozenset(neutral)
        self._codes: dict[Mention, Code] = {}
        self._sections: dict[tuple[str, str], bool] = {}

    def code(self, what: Mention) -> Code:
        """What a definition says."""
        if what not in self._codes:
            self._codes[what] = self._code(what)
        return self._codes[what]

    def _code(self, what: Mention) -> Code:
        if what.name == "**":
            children = self.package.children(what.module)
            return Code("modules", tuple(Mention(child, "*") for child in children), ordered=False)
        module = self.package.module(what.module)
        if what.name == "*":
            return Code("module", self._all(module), ordered=False)
        if not what.name:
            return Writer(self, module).code("acts", module.acts)
        if "." in what.name:
            return self._part(module, what.name)
        if what.typed and self.is_section(module.name, what.name):
            return Code("section", tuple(sorted(self._parts(module.name, what.name))), ordered=False)
        writer = Writer(self, module, typed=what.typed)
        if what.name in module.imported:
            # A name that is imported and then given another value, made of it.
            writer.mention(module.imported[what.name])
        return writer.code(what.name, module.defined[what.name])

    def _all(self, module: Module) -> tuple[Mention, ...]:
        """All that a module defines, and what it imports for others: names that it does not use itself."""
        own = [Mention(module.name, name) for name in module.defined]
        used = {
            node.id
            for node in ast.walk(self.package.tree(module.name))
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
        }
        passed = (target for name, target in module.imported.items() if name not in used)
        found = (self.resolve(target)[0] for target in passed)
        return (*own, *(mention for mention in found if mention), Mention(module.name, ""))

    def resolve(self, target: Target, typed: bool = False) -> tuple[Mention | None, tuple[str, ...]]:
        """As of ``Package.resolve``, but what is neutral leads to its name alone."""
        found, rest = self.package.resolve(target, typed)
        if found is None:
            return None, rest
        if found.module in self.neutral:
            return None, (found.name, *rest)
        if typed and not self._has_types(found):
            found = found._replace(typed=False)
        return found, rest

    def named(self, text: str) -> Mention | None:
        """As of ``Package.named``, but of what is neutral nothing."""
        found = self.package.named(text)
        return found if found is not None and found.module not in self.neutral else None

    def _has_types(self, what: Mention) -> bool:
        """Whether it makes a difference that a definition is mentioned as a type: of sections and aliases."""
        nodes = self.package.module(what.module).defined.get(what.name, [])
        return self.is_section(what.module, what.name) or all(_is_assignment(node) for node in nodes)

    def is_section(self, module: str, name: str) -> bool:
        """Whether a definition is a pydantic model."""
        key = module, name
        if key not in self._sections:
            self._sections[key] = False
            here = self.package.module(module)
            for node in here.defined.get(name, []):
                if isinstance(node, ast.ClassDef):
                    self._sections[key] = any(self._models(here, base) for base in node.bases)
        return self._sections[key]

    def _models(self, module: Module, base: ast.expr) -> bool:
        found, rest = Writer(self, module).bound_to(base)
        return rest == _BASE_MODEL if found is None else self.is_section(found.module, found.name)

    def _class(self, module: str, name: str) -> ast.ClassDef:
        nodes = self.package.module(module).defined[name]
        return next(node for node in nodes if isinstance(node, ast.ClassDef))

    def _part(self, module: Module, name: str) -> Code:
        owner, _, part = name.partition(".")
        node = self._class(module.name, owner)
        body = [one for one in node.body if not is_field(one) and _part_name(one) == part]
        # A section that another one makes of its defaults is resolved before it is passed.
        return Writer(self, module, self.package.bound(module.name, node.body), typed=True).code(name, body)

    def _parts(self, module: str, name: str) -> set[Mention]:
        """What sections do: of a section, of its bases, and of those that its fields hold."""
        found: set[Mention] = set()
        waiting, seen = [Mention(module, name, True)], set[Mention]()
        while waiting:
            mention = waiting.pop()
            if mention in seen:
                continue
            seen.add(mention)
            here = self.package.module(mention.module)
            if self.is_section(mention.module, mention.name):
                node = self._class(mention.module, mention.name)
                writer = Writer(self, here, scope=self.package.bound(here.name, node.body), typed=True)
                for one in (*node.bases, *(s.annotation for s in node.body if is_field(s))):
                    writer.write(one)
                waiting += writer.mentions
                parts = [_part_name(one) for one in node.body if not is_field(one) and not is_text(one)]
                found.update(Mention(here.name, f"{mention.name}.{part}", True) for part in parts)
            elif self._has_types(mention):
                waiting += self.code(mention).mentions
            else:
                found.add(mention)
        return found


def _is_assignment(node: ast.stmt) -> bool:
    return isinstance(node, ast.Assign | ast.AnnAssign)


def _part_name(node: ast.stmt) -> str:
    """The name of a part of a class; assignments share one."""
    return node.name if isinstance(node, DEFINITIONS) else "="
