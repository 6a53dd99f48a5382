"""What a move and what a change of this package's own code do to the digests of its stages."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import m3h_pipeline
from m3h_pipeline.digest import NEUTRAL, Digests
from tests.conftest import ROOT

PACKAGE = Path(m3h_pipeline.__file__).parent
NAME = PACKAGE.name
FILES = sorted(PACKAGE.rglob("*.py"))
TEXTS = {path: path.read_text(encoding="utf-8") for path in FILES}


def module_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


MODULES = {module_of(path) for path in FILES}


def entries() -> list[str]:
    """Modules whose digests rules and the record pass on: those they name, and each figure's."""
    texts = [path.read_text() for path in (ROOT / "workflow").rglob("*.smk")]
    texts += [text for text in TEXTS.values() if "STAGES" in text]
    named = {name for text in texts for name in re.findall(rf'"({NAME}\.[\w.]+)"', text)}
    return sorted(named & MODULES | {name for name in MODULES if name.startswith(f"{NAME}.figures.")})


ENTRIES = entries()


@pytest.fixture(scope="module")
def base() -> Digests:
    return Digests(PACKAGE)


@pytest.fixture(scope="module")
def before(base: Digests) -> dict[str, str]:
    return {entry: base.of(entry) for entry in ENTRIES}


def moved(module: str) -> str:
    """Another place and name for every module but those that the digest knows by name."""
    if module == NAME or module in NEUTRAL:
        return module
    return ".".join([NAME, "attic", *(f"{part}_moved" for part in module.split(".")[1:])])


def rewritten(text: str) -> str:
    """A file's text with its imports, and the modules it names, as they are after the move."""

    def of_name(match: re.Match[str]) -> str:
        parts = match[0].split(".")
        for cut in range(len(parts), 0, -1):
            if (module := ".".join(parts[:cut])) in MODULES:
                return ".".join([moved(module), *parts[cut:]])
        raise AssertionError(match[0])

    def of_import(match: re.Match[str]) -> str:
        """Modules imported from a package: ``from m3h_pipeline.figures import style``."""
        lines = []
        for item in re.findall(r"\w+(?: as \w+)?", match[2]):
            name, _, alias = item.partition(" as ")
            whole = f"{match[1]}.{name}"
            base, _, last = moved(whole).rpartition(".") if whole in MODULES else (match[1], "", name)
            here = base if whole in MODULES else moved(base)
            lines.append(f"from {here} import {last} as {alias or name}")
        return "; ".join(lines).replace(NAME, "\0")

    text = re.sub(rf"\bfrom ({NAME}[\w.]*) import (\([^)]*\)|[^\n(]*)", of_import, text)
    text = re.sub(rf"\bimport ({NAME}\.[\w.]+)$", rf"import {NAME}", text, flags=re.MULTILINE)
    return re.sub(rf"\b{NAME}(?:\.\w+)*", of_name, text).replace("\0", NAME)


def test_moving_every_module_changes_no_digest(before: dict[str, str], tmp_path: Path) -> None:
    package = tmp_path / NAME
    for path, text in TEXTS.items():
        new = package.parent.joinpath(*moved(module_of(path)).split("."))
        new = new / "__init__.py" if path.name == "__init__.py" else new.with_suffix(".py")
        new.parent.mkdir(parents=True, exist_ok=True)
        new.write_text(rewritten(text), encoding="utf-8")
    # What the digest knows by name stays, and so does the folder that it is in.
    for folder in [package / "attic", *(package.joinpath(*name.split(".")[1:-1]) for name in NEUTRAL)]:
        (folder / "__init__.py").touch()
    digests = Digests(package)
    assert {entry: digests.of(moved(entry)) for entry in ENTRIES} == before


STAGES = {
    "ingest": "cohort.mimic.ingest",
    "labels": "tasks.labels",
    "split": "split",
    "fits": "training.export",
    "packs": "training.pack",
    "search": "search.plan",
    "tim": "tim.estimate",
    "evaluation": "evaluation.evaluate",
    "calibration": "figures.calibration",
    "map": "figures.phenotypes",
}

#: What is changed -> (a text that stands once in the package, the new one, stages whose digest changes).
#: A capital letter in ``...``: nothing is said of the others.
CHANGES = {
    "the least count that is shown": (
        "LEAST: Final = 11\n",
        "LEAST: Final = 12\n",
        "ingest labels fits packs evaluation calibration map",
    ),
    "a message": ("did you mean `{close[0]}`?", "perhaps `{close[0]}`?", ""),
    "how an error is shown": ('f"  to do: {self.hint}"', 'f"  hint: {self.hint}"', ""),
    "how progress is shown": ('return f"{s} s"', 'return f"{s} sec"', ""),
    "a default of a section": (
        "PositiveInt = Field(default=8, description",
        "PositiveInt = Field(default=2, description",
        # A pack predicts with its kept models as they are read later, whatever their description leaves out.
        "packs",
    ),
    "a description": ('description="layers of the transformer"', 'description="its layers"', ""),
    "a field more": (
        "    epochs: Count = Field(default=15,",
        "    more: int = 1\n    epochs: Count = Field(default=15,",
        "",
    ),
    "a validator": ("if self.width % self.heads:", "if self.width % self.heads == 1:", "fits packs"),
    "a computed property": (
        "return self.bins if self.loss",
        "return self.bins + 1 if self.loss",
        "fits packs",
    ),
    "a constant of the configuration": (
        'CORE_TABLES = ("hosp/admissions",',
        'CORE_TABLES = ("hosp/others",',
        "ingest",
    ),
    "false discovery control": ('method="bh")', 'method="by")', "tim evaluation"),
    "memory of stacks": ("_GPU_SHARE = 0.7", "_GPU_SHARE = 0.6", "packs"),
    "a schema": ("PHENOTYPES = schema(", "PHENOTYPES = schema(*(), ", "map"),
}


def edited(base: Digests, old: str, new: str, folder: Path) -> Digests:
    """The package with one text in place of another. What other modules say is not read again."""
    (path,) = (path for path, text in TEXTS.items() if old in text)
    assert TEXTS[path].count(old) == 1
    copy = folder / NAME / path.relative_to(PACKAGE)
    copy.parent.mkdir(parents=True)
    copy.write_text(TEXTS[path].replace(old, new), encoding="utf-8")
    digests, module = Digests(PACKAGE), module_of(path)
    digests.package._paths.update(base.package._paths | {module: copy})
    for name in ("_trees", "_modules"):
        known = getattr(base.package, name)
        getattr(digests.package, name).update({one: v for one, v in known.items() if one != module})
    # What a section does is gathered from the modules of those inside it.
    digests.definitions._codes.update(
        {one: code for one, code in base.definitions._codes.items() if one.module != module and code.ordered}
    )
    return digests


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_counts_where_it_is_used_and_nowhere_else(
    change: str, base: Digests, tmp_path: Path
) -> None:
    old, new, counts = CHANGES[change]
    digests = edited(base, old, new, tmp_path)
    modules = {stage: f"{NAME}.{entry}" for stage, entry in STAGES.items()}
    changed = {stage for stage, module in modules.items() if digests.of(module) != base.of(module)}
    assert changed == set(counts.split())
