"""What the package depends on: versions, licences, sizes, and why. ``python -m tests.package.dependencies``.

Read from the metadata of what is installed; ``docs/dependencies.md`` is written from it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement

from tests.conftest import ROOT

PAGE = ROOT / "docs/dependencies.md"
PROJECT = "m3h-pipeline"
#: The optional parts that are listed: not `dev`, and not `deep`, which the tests do without.
EXTRAS = ("examples", "mimic", "umap", "expression", "embedders")

#: Why the package needs what it names itself.
WHY = {
    "anndata": "AnnData files",
    "duckdb": "joins of MIMIC-IV's tables",
    "gensim": "vectors of genes from a network",
    "jinja2": "templates of the report",
    "matplotlib": "figures",
    "networkx": "networks of genes, GraphML",
    "numpy": "arrays",
    "pandas": "tables behind figures",
    "pillow": "images",
    "psutil": "memory of the machine",
    "pyarrow": "every table of a study",
    "pydantic": "configuration",
    "pygments": "code in Snakemake's reports",
    "pyyaml": "configuration",
    "regex": "patterns of a study, with a limit of time",
    "safetensors": "parameters of models",
    "scikit-learn": "boosting, isotonic calibration, t-SNE",
    "scikit-survival": "the table of GSE7390; referee in tests",
    "scipy": "statistics, sparse matrices, optimisers",
    "snakemake": "the workflow",
    "snakemake-executor-plugin-slurm": "the workflow on SLURM",
    "threadpoolctl": "threads of references",
    "torch": "networks",
    "transformers": "embedding notes",
    "umap-learn": "the phenotype map as published",
}
#: Where metadata says too little, or too much.
LICENCES = {
    "docutils": "Public Domain, BSD-2-Clause (an Emacs mode, GPL, is not in the wheel)",
    "matplotlib": "PSF-based",
    "pulp": "MIT (with the solver CBC: EPL-2.0)",
    "scipy": "BSD-3-Clause (with libgfortran: GPL with the runtime exception)",
    "sympy": "BSD-3-Clause",
    "mpmath": "BSD-3-Clause",
    "umap-learn": "BSD-3-Clause",
    "numba": "BSD-2-Clause",
    "torch": "BSD-3-Clause and others, all permissive",
}
#: Of whom the core's size is told, in this order, with what they need.
_SHARES = {
    "PyTorch": ["torch"],
    "Arrow": ["pyarrow"],
    "NumPy, SciPy, pandas and scikit-learn": ["numpy", "scipy", "pandas", "scikit-learn"],
    "matplotlib": ["matplotlib"],
    "Snakemake, with SLURM": ["snakemake", "snakemake-executor-plugin-slurm"],
    "the other packages": [],
}
#: Beginnings of names of PyTorch's files that nothing here uses.
_UNUSED = ("torch/test/", "torch/include/", "torch/bin/test_", "torch/bin/protoc")
_SHORT = {
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}


@dataclass
class Needed:
    """A package and who asks for it.

    Attributes:
        distribution: what is installed.
        by: the names of those that ask.
    """

    distribution: Distribution
    by: set[str] = field(default_factory=set)


def canonical(name: str) -> str:
    """A package's name in one spelling.

    Examples:
        >>> canonical("Pydantic_core")
        'pydantic-core'
    """
    return re.sub(r"[-_.]+", "-", name).lower()


def closure(asked: Iterable[str]) -> dict[str, Needed]:
    """Packages and all that they need here, by name; an extra in brackets. Absent ones are left out."""
    found: dict[str, Needed] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    waiting = [(Requirement(name), "") for name in asked]
    while waiting:
        one, by = waiting.pop()
        name = canonical(one.name)
        try:
            made = found.setdefault(name, Needed(distribution(one.name)))
        except PackageNotFoundError:
            continue
        made.by |= {by} - {"", name}
        if (key := (name, frozenset(one.extras))) in seen:
            continue
        seen.add(key)
        for line in _requirements(name, made.distribution):
            wanted = Requirement(line)
            extras = ["", *one.extras]
            if wanted.marker is None or any(wanted.marker.evaluate({"extra": extra}) for extra in extras):
                waiting.append((wanted, name))
    return found


def _requirements(name: str, installed: Distribution) -> list[str]:
    """What a package asks for; of this one as pyproject.toml says now, whenever it was installed."""
    if name != PROJECT:
        return installed.requires or []
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    parts = project["optional-dependencies"].items()
    return [
        *project["dependencies"],
        *(f'{line}; extra == "{part}"' for part, lines in parts for line in lines),
    ]


def megabytes(installed: Distribution) -> float:
    """The size of a package's files, without what Python compiles."""
    total = 0
    for file in installed.files or []:
        path = Path(str(file.locate()))
        if file.suffix != ".pyc" and path.is_file():
            total += path.stat().st_size
    return total / 1e6


def licence(installed: Distribution) -> str:
    """A package's licence: what its metadata says, in short."""
    name = canonical(installed.metadata["Name"])
    if name in LICENCES:
        return LICENCES[name]
    said = _first(installed, "License-Expression")
    classifiers = installed.metadata.get_all("Classifier") or []
    classified = [text.split("::")[-1].strip() for text in classifiers if "License ::" in text]
    if not said and classified:
        said = " or ".join(_SHORT.get(one, one) for one in classified)
    said = said or _first(installed, "License")
    if not said:
        texts = [str(file.read_text()) for file in installed.files or [] if file.name == "LICENSE"]
        said = texts[0].strip().split("\n")[0] if texts else "?"
    return _SHORT.get(said, said)


def _first(installed: Distribution, key: str) -> str:
    """The first line of an entry of the metadata."""
    return str((installed.metadata.get_all(key) or [""])[0]).strip().split("\n")[0]


def is_gpl(text: str) -> bool:
    """Whether a licence passes itself on to what is built with it; not the LGPL, nor what is excepted.

    Examples:
        >>> is_gpl("GPL-3.0-or-later"), is_gpl("GPLv3"), is_gpl("GNU General Public License (GPL)")
        (True, True, True)
        >>> is_gpl("LGPL-2.1-only"), is_gpl("MIT"), is_gpl(LICENCES["scipy"]), is_gpl(LICENCES["docutils"])
        (False, False, False, False)
    """
    plain = re.sub(r"\([^()]*(exception|not in the wheel)[^()]*\)", "", text)
    return re.search(r"(?<!L)A?GPL|(?<!Lesser )General Public License", plain) is not None


def rows(part: str) -> list[tuple[str, str, str, str, str]]:
    """Name, version, licence, size and reason of what a part adds: ``""`` is the core."""
    core = closure([PROJECT])
    named = core if not part else closure([f"{PROJECT}[{part}]"])
    found = []
    for name, one in named.items():
        if name == PROJECT or (part and name in core):
            continue
        size = megabytes(one.distribution)
        why = WHY.get(name, "") if PROJECT in one.by else ""
        why = why or "of " + ", ".join(sorted(one.by - {PROJECT})[:3])
        shown = f"{size:.0f}" if size >= 10 else f"{size:.1f}"
        found.append((name, one.distribution.version.split("+")[0], licence(one.distribution), shown, why))
    return sorted(found, key=lambda row: (-float(row[3]), row[0]))


def shares() -> dict[str, float]:
    """What of the core's size is whose, in MB; each package counts for the first that needs it."""
    core = closure([PROJECT])
    counted = {PROJECT}
    found = {}
    for said, names in _SHARES.items():
        mine = (closure(names) if names else core).keys() - counted
        found[said] = sum(megabytes(core[name].distribution) for name in mine)
        counted |= mine
    return found


def unused() -> float:
    """MB of PyTorch's files that nothing here uses: its own tests, compiled, and what C++ is built with."""
    torch = distribution("torch")
    files = [file for file in torch.files or [] if str(file).startswith(_UNUSED)]
    return sum(Path(str(file.locate())).stat().st_size for file in files) / 1e6


def _bounds() -> str:
    """What of the core is how large, and what bounds it."""
    total, lines = 0.0, []
    for said, size in shares().items():
        total += size
        lines.append(f"- {said}: {size:.0f} MB, with those above {total:.0f} MB")
    return _BOUNDS.format(lines="\n".join(lines), unused=unused(), left=total - unused())


def page() -> str:
    """The text of docs/dependencies.md."""
    lines = [_HEAD, _bounds()]
    for part in ("", *EXTRAS):
        found = rows(part)
        total = sum(float(row[3]) for row in found)
        title = "The core" if not part else f"`[{part}]`"
        lines.append(f"## {title}\n\n{len(found)} packages, {total:.0f} MB.\n")
        lines.append("| package | version | licence | MB | why |\n|---|---|---|---|---|")
        lines += [f"| {' | '.join(row)} |" for row in found]
        lines.append("")
    return "\n".join(lines)


_HEAD = """# Dependencies

Written by `python -m tests.package.dependencies` from the metadata of what is installed; a test fails where
it has drifted. Sizes are those of the files on Linux (x86-64) with PyTorch's build for processors, without
what Python compiles. The tools of development (`[dev]`) are left out, and `[deep]`, which the tests lack.

The project is MIT. No package of the core is under the GPL. `[examples]` has two that are, scikit-survival
and ecos, and `[expression]` one under the LGPL, gensim. [install.md](install.md) says how to install.

Beside what it imports, the package carries the chart library of the [report](report.md): Apache ECharts, as
its makers publish it (Apache-2.0; its licence lies beside it).
"""


_BOUNDS = """## What bounds its size

The core was meant to take less than 1200 MB. What every study needs takes more by itself, each package with
what it asks for:

{lines}

Of PyTorch {unused:.0f} MB are its own tests, compiled, and what C++ is built with. Nothing here uses them,
but its makers put them into the package. Without them ([install.md](install.md) has the line) {left:.0f} MB
are left. What few studies need is in the parts below.
"""


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
