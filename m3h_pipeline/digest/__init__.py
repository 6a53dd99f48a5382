"""A digest of the code behind a verb: of what it says, wherever it stands.

Rules pass it as a parameter, and fits carry it in their key, so that a change of code reruns what ran that
code and nothing else. Comments, docstrings and layout do not count, nor do the names of modules: code that
moves has the digest it had.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from m3h_pipeline.digest.definitions import Definitions
from m3h_pipeline.digest.kept import Kept
from m3h_pipeline.digest.modules import Mention, Package

#: Modules that cannot change a result: messages, progress, places of files and when they are synced reach no
#: output.
NEUTRAL = (
    *("m3h_pipeline.errors", "m3h_pipeline.progress", "m3h_pipeline.layout"),
    *("m3h_pipeline.files.makers", "m3h_pipeline.files.durable", "m3h_pipeline.shipped"),
)

# How far a definition's digest looks through what it mentions. All that is reached counts anyway; this tells
# apart definitions that say the same and mention, so many steps away, others.
_DEPTH = 8


class Digests:
    """Digests of the code of a package.

    Args:
        folder: where the package is.
        neutral: modules whose definitions count by their names alone.
    """

    def __init__(self, folder: Path, neutral: Iterable[str] = NEUTRAL) -> None:
        self.package = Package(folder)
        self.definitions = Definitions(self.package, neutral)
        self._digests: dict[tuple[Mention, int], bytes] = {}

    def of(self, *modules: str) -> str:
        """As :func:`code_digest`."""
        found, _ = self.reached(modules)
        says = {self._digest(one, _DEPTH) for one in found if self.definitions.code(one).ordered}
        return hashlib.sha256(b"".join(sorted(says))).hexdigest()[:16]

    def reached(self, modules: Iterable[str]) -> tuple[set[Mention], set[str]]:
        """The definitions that modules depend on, and the modules whose import runs with theirs."""
        waiting = [Mention(module, "*") for module in modules]
        found: set[Mention] = set()
        imported: set[str] = set()
        while waiting:
            one = waiting.pop()
            if one in found:
                continue
            found.add(one)
            code = self.definitions.code(one)
            waiting += code.mentions
            running = [one.module, *code.imports]
            while running:
                module = running.pop()
                if module not in imported and module not in self.definitions.neutral:
                    imported.add(module)
                    running += self.package.module(module).requires
                    waiting.append(Mention(module, ""))
        return found, imported

    def said(self, modules: Iterable[str]) -> dict[str, str]:
        """Definition, ``module:name``, -> digest of what it says itself, of all that modules depend on."""
        found, _ = self.reached(modules)
        return {
            f"{one.module}:{one.name}": self._digest(one, 0).hex()[:12]
            for one in sorted(found)
            if one.name and self.definitions.code(one).ordered
        }

    def _digest(self, what: Mention, depth: int) -> bytes:
        key = what, depth
        if key not in self._digests:
            code = self.definitions.code(what)
            total = hashlib.sha256(code.text.encode())
            if depth:
                inner = [self._digest(one, depth - 1) for one in code.mentions]
                total.update(b"".join(inner if code.ordered else sorted(set(inner))))
            self._digests[key] = total.digest()
        return self._digests[key]


_INSTALLED = Path(__file__).resolve().parents[1]


@cache
def _digests() -> Digests:
    return Digests(_INSTALLED)


@cache
def _kept() -> Kept:
    return Kept(_INSTALLED)


@cache
def code_digest(*modules: str) -> str:
    """Digest of ``modules`` and of what they use of this package, directly or not.

    Of the modules named here everything counts. Of a module they import, what counts is the definitions that
    are used, what those use in turn, and whatever the module does when it is imported: a new schema among the
    contracts changes the digest of those who read or write it, and of nobody else. A definition counts by
    what it says and what its names are bound to, not by the module it stands in. Of a section of the
    configuration that is only received, what it does counts and not its fields, whose values are passed.

    Args:
        modules: dotted names inside the package, such as ``m3h_pipeline.search.plan``.

    Raises:
        ModuleNotFoundError: a name is no module of this package.

    Examples:
        >>> code_digest("m3h_pipeline.contracts") == code_digest("m3h_pipeline.contracts")
        True
        >>> code_digest("m3h_pipeline.contracts") == code_digest("m3h_pipeline.files")
        False
    """
    return _kept().get(modules, lambda *names: _digests().of(*names))


def definitions(*modules: str) -> dict[str, str]:
    """What makes up :func:`code_digest`: definition -> digest of what it says by itself.

    Examples:
        >>> "m3h_pipeline.contracts:combination_key" in definitions("m3h_pipeline.search.plan")
        True
    """
    kept = _kept().get(("definitions of", *modules), lambda *_: json.dumps(_digests().said(modules)))
    found: dict[str, str] = json.loads(kept)
    return found
