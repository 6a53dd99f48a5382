"""Errors that people read: what is wrong, where, and what to do about it.

Every verb turns an :class:`M3HError` into its message and exit status 2; anything else is a bug of this
package and keeps its traceback.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable

from m3h_pipeline.disclosure.text import message


class M3HError(Exception):
    """A problem the user can solve.

    Args:
        what: what is wrong, in one sentence.
        where: the file, line, column, key or task concerned.
        hint: what to do about it.

    Examples:
        >>> print(M3HError("the block is absent", where="cohort.csv", hint="check `source.blocks`"))
        the block is absent
          where: cohort.csv
          to do: check `source.blocks`
    """

    def __init__(self, what: str, *, where: str | None = None, hint: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        lines = [self.what]
        if self.where:
            lines.append(f"  where: {self.where}")
        if self.hint:
            lines.append(f"  to do: {self.hint}")
        # Names of columns, files and values come from elsewhere.
        return message("\n".join(lines))


class ConfigError(M3HError):
    """A study's configuration is wrong: an unknown key, a wrong type, values that contradict each other."""


class InputError(M3HError):
    """An input file is missing, malformed, or does not hold what the configuration says."""


class ContractError(M3HError):
    """A file of the study does not follow its data contract."""


class TaskError(M3HError):
    """A task's definition is wrong, or the task cannot be learned or evaluated on this cohort.

    Args:
        what: what is wrong.
        where: as of :class:`M3HError`.
        hint: as of :class:`M3HError`.
        shown: the same without a value of any patient, for what is given away; None: ``what`` names none.
    """

    def __init__(
        self, what: str, *, where: str | None = None, hint: str | None = None, shown: str | None = None
    ) -> None:
        super().__init__(what, where=where, hint=hint)
        self.shown = what if shown is None else shown


class WorkflowError(M3HError):
    """A run of the workflow did not come to its end."""


#: Module -> the optional part of this package that brings it.
EXTRAS = {
    "anndata": "expression",
    "duckdb": "mimic",
    "gensim": "expression",
    "sksurv": "examples",
    "transformers": "embedders",
    "umap": "umap",
}


def absent(module: str, what: str, where: str | None = None) -> InputError:
    """The error to raise where a package is needed that is not installed.

    Args:
        module: what cannot be imported, a name of :data:`EXTRAS`.
        what: what it is needed for.
        where: the file or key that asks for it.

    Examples:
        >>> print(absent("duckdb", "reading MIMIC-IV"))
        reading MIMIC-IV takes the package duckdb, which is not installed
          to do: pip install 'm3h-pipeline[mimic]'
    """
    name = _PACKAGES.get(module, module)
    return InputError(
        f"{what} takes the package {name}, which is not installed",
        where=where,
        hint=f"pip install 'm3h-pipeline[{EXTRAS[module]}]'",
    )


_PACKAGES = {"sksurv": "scikit-survival", "umap": "umap-learn"}


def nearest(name: str, valid: Iterable[str]) -> str:
    """Say which valid name was probably meant, or list the valid names.

    Examples:
        >>> nearest("beem", ["beam", "max_size"])
        'did you mean `beam`?'
        >>> nearest("zzz", ["beam", "max_size"])
        'valid: beam, max_size'
    """
    names = sorted(valid)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f"did you mean `{close[0]}`?"
    shown = ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
    return f"valid: {shown}"


def as_list(values: Iterable[str | float]) -> str:
    """Values as they stand in a YAML list, texts in quotes.

    Examples:
        >>> as_list(["1:DECEASED", 2.0, 'a "b"'])
        '["1:DECEASED", 2, "a \\\\"b\\\\""]'
    """
    return json.dumps(
        [int(v) if isinstance(v, float) and v.is_integer() else v for v in values], ensure_ascii=False
    )
