"""What an edit runs again: exactly which jobs, and exactly which fits are trained anew.

Every case changes one thing in a copy of a finished small study and runs Snakemake. The jobs it starts are
compared one by one with what must run, and the store of finished fits with what it held before. The table in
``docs/reproducibility.md`` is written from the cases here.
"""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from m3h_pipeline.files import read_json, write_table
from tests.conftest import ROOT
from tests.end_to_end.small_study import (
    RESULTS,
    STUDY,
    TASKS,
    Fit,
    Project,
    copy_project,
    write_inputs,
    write_study,
)

pytestmark = pytest.mark.study

#: Of a study without multiclass, survival and clustering tasks.
FIGURES = [
    *("agreement", "attention", "calibration", "comparison", "improvement", "missing", "tim"),
    "trajectories",
]
RATES = [1e-3, 3e-3]


def figures(*names: str) -> set[str]:
    return {f"figure({name})" for name in names or FIGURES}


def labels(*tasks: str) -> set[str]:
    return {f"label({task})" for task in tasks}


def baselines(*tasks: str) -> set[str]:
    return {f"baselines({task})" for task in tasks}


def planning(*rounds: int) -> set[str]:
    return {f"plan_round({number})" for number in rounds}


def packs(*names: str) -> set[str]:
    """``1 0000``: a pack of the search's first round."""
    return {f"train_pack(search/round_{name})" for name in names}


#: All packs of final fits: how many there are follows from what is selected.
FINALS = {"train_final(*)"}


ALL_PACKS = packs("1 0000", "1 0001", "2 0000", "2 0001")
CONTROLS = {f"train_pack(search/tim {number})" for number in ("0000", "0001")}
MERGES = {"merge_scores(1)", "merge_scores(2)"}
EVALUATION = {
    "evaluate",
    "performance",
    "export_bundle",
    *(set(figures()) - figures("tim", "missing")),
}
HIDDEN = {"missing", *figures("missing")}
TEST = {*EVALUATION, *HIDDEN, "phenotypes"}
TIM = {"tim", *figures("tim")}
TRAINED = {
    *ALL_PACKS,
    *MERGES,
    *planning(2, 3),
    "select",
    *TIM,
    "plan_final",
    *FINALS,
}
LEARNED = {*TRAINED, "plan_tim", *TEST}
#: Written whenever anything ran.
LAST = {"report_page", "record"}
EVERYTHING = {
    *("ingest", "split", "assess", "participants"),
    *labels(*TASKS),
    *baselines(*TASKS),
    *planning(1),
    *LEARNED,
}


def searched(tasks: list[str], rates: list[float], having: str = "") -> set[Fit]:
    """The search's fits of every task and pair; ``having``: only those that contain a task."""
    found = [[task] for task in tasks] + [list(pair) for pair in combinations(sorted(tasks), 2)]
    return {
        Fit("+".join(members), fold, 0, rate)
        for members in found
        if not having or having in members
        for fold in (0, 1)
        for rate in rates
    }


def of_search(fit: Fit) -> bool:
    """Whether a fit is one of the search: final ones have replicates that neither it nor TIM has used."""
    return fit.replicate == 0


@dataclass(frozen=True)
class Case:
    """An edit and what must follow from it.

    Attributes:
        what: the edit, for people.
        apply: makes it.
        jobs: exactly what runs again, beside report and record, which are written whenever anything ran.
        fits: exactly the fits of the search that are trained anew.
        final: which final fits may be new: those of this task, all ("*"), or none ("").
        redrawn: figures that Snakemake draws again although what they are drawn from is the same: it decided
            so before the plan was made again that shows it. Their files must come out identical.
    """

    what: str
    apply: Callable[[Project], object]
    jobs: set[str] = field(default_factory=set)
    fits: set[Fit] = field(default_factory=set)
    final: str = ""
    redrawn: set[str] = field(default_factory=set)

    def jobs_of(self, project: Project) -> set[str]:
        """What runs again."""
        return named(self.jobs, project)


def named(jobs: set[str], project: Project) -> set[str]:
    """Jobs with the packs of final fits by their names."""
    packs_now = read_json(project.folder / RESULTS / "search/final/plan.json")["packs"]
    return jobs - FINALS | ({f"train_final({name})" for name in packs_now} if jobs & FINALS else set())


PACKAGE = "m3h_pipeline/"
DEFINITIONS = "resources/tasks/m3h.yaml"


def touch(project: Project) -> None:
    for path in [project.folder / "data", *(project.folder / "data").rglob("*")]:
        os.utime(path)


def copy_anew(project: Project) -> None:
    """Copy the project over itself as by ``cp -r``: file by file, with the times of the copying."""
    other = project.folder.with_name("copied")
    shutil.copytree(project.folder, other, copy_function=shutil.copyfile, symlinks=True)
    shutil.rmtree(project.folder)
    other.rename(project.folder)


def touch_results(project: Project) -> None:
    for path in (project.folder / RESULTS).rglob("*.parquet"):
        os.utime(path)


def change_a_result(project: Project) -> None:
    """Exchange two rows of a table that figures show, behind the back of the workflow."""
    path = project.folder / RESULTS / "evaluation/calibration.parquet"
    table = pq.read_table(path)
    write_table(table.take([1, 0, *range(2, table.num_rows)]), path)


def change_value(project: Project) -> None:
    """Add one to the first numeric cell of a demographic column."""
    path = project.folder / "data/table.csv"
    with path.open(newline="") as file:
        rows = list(csv.reader(file))
    column = rows[0].index("de_0")
    row = next(row for row in rows[1:] if row[column])
    row[column] = str(float(row[column]) + 1)
    with path.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def change_hospital_table(project: Project) -> None:
    """Take the dot-free code of heart failure off one admission, in place: the folder's time stays."""
    import gzip

    (path,) = (project.folder / "data/hosp").glob("diagnoses_icd.csv*")
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", newline="") as file:
        rows = list(csv.reader(file))
    column = rows[0].index("icd_code")
    index = next(i for i, row in enumerate(rows) if row[column].startswith("I50"))
    rows[index][column] = "Z0000"
    with opened(path, "wt", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def docstrings(project: Project) -> None:
    for name in (
        *("model/attention.py", "training/trainer.py", "inference/intervals.py"),
        "contracts/__init__.py",
    ):
        path = project.folder / PACKAGE / name
        text = path.read_text()
        assert text.startswith('"""')
        path.write_text('"""Said otherwise. ' + text[3:] + "\n# The end.\n")


def move_a_module(project: Project) -> None:
    """Move the schemas, which every stage reads, under another name into a new folder, imports and all."""
    package = project.folder / PACKAGE
    room = package / "agreed"
    room.mkdir()
    (room / "__init__.py").touch()
    (package / "contracts").rename(room / "schemas")
    for path in [*package.rglob("*.py"), *(project.folder / "workflow").rglob("*.smk")]:
        text = path.read_text(encoding="utf-8")
        text = text.replace(
            "from m3h_pipeline import contracts", "from m3h_pipeline.agreed import schemas as contracts"
        )
        path.write_text(
            text.replace("m3h_pipeline.contracts", "m3h_pipeline.agreed.schemas"), encoding="utf-8"
        )


def insert(path: str, line: str, before: str) -> Callable[[Project], object]:
    """Put a line of code before the only occurrence of another."""
    indent = before[: len(before) - len(before.lstrip())]
    return lambda project: project.edit(PACKAGE + path, before, f"{indent}{line}\n{before}")


PLANS_OF_FEWER = {*packs("1 0000", "2 0000"), *FINALS}

CASES = {
    "nothing": Case("nothing", lambda project: None),
    "touch": Case("an input touched, or copied again", touch),
    "copy": Case("the whole study copied (`cp -r`)", copy_anew),
    "results-touched": Case("every table among the results touched", touch_results),
    "result-changed": Case("a result changed by hand", change_a_result, figures("calibration")),
    "docstring": Case("docstrings and comments of model, training, statistics", docstrings),
    "move": Case("a module that every stage uses, moved and renamed", move_a_module),
    "comment": Case(
        "a comment in the configuration",
        lambda project: project.edit("study.yaml", "# A small study.", "# The same study, described better."),
    ),
    "definition-comment": Case(
        "a comment among the task definitions",
        lambda project: project.edit(
            DEFINITIONS,
            '# "Heart transplant failure" and',
            '# "Heart transplant failure", and',
        ),
    ),
    "unrelated-definition": Case(
        "the definition of a task the study does not learn",
        lambda project: project.edit(DEFINITIONS, "['\\bmacular degeneration\\b']", "['\\bmacular\\b']"),
    ),
    "progress": Case(
        "how progress is shown",
        lambda project: project.edit(PACKAGE + "progress.py", 'f"{s} s"', 'f"{s} sec"'),
    ),
    "memory": Case(
        "how stacks are sized",
        lambda project: project.edit(PACKAGE + "training/stacks.py", "_GPU_SHARE = 0.7", "_GPU_SHARE = 0.6"),
        # The store has every fit and scores come out as before, so selection and TIM stay.
        {
            *ALL_PACKS,
            *MERGES,
            *planning(2, 3),
            "plan_final",
            *FINALS,
            *TEST,
        },
        redrawn=figures("tim"),
    ),
    "figure-module": Case(
        "one figure's module",
        insert("figures/attention.py", "_UNUSED = 1", "def draw("),
        figures("attention"),
    ),
    "colour": Case(
        "one figure's colour",
        lambda project: project.edit(
            PACKAGE + "figures/tim.py", 'ax.set_facecolor("white")', 'ax.set_facecolor("ivory")'
        ),
        figures("tim"),
    ),
    "figure-key": Case(
        "a setting of one figure",
        lambda project: project.configure("figures.calibration_tasks", ["heart_failure"]),
        figures("calibration"),
    ),
    "schema": Case(
        "the schema of one table (phenotypes)",
        lambda project: project.edit(
            PACKAGE + "contracts/__init__.py", "PHENOTYPES = schema(", "PHENOTYPES = schema(*(),"
        ),
        {"phenotypes"},
        # Silhouettes in the inputs, which that job writes too, stand in both.
        redrawn=figures("comparison", "improvement"),
    ),
    "statistics": Case(
        "a function of the statistics (false discovery control)",
        insert("inference/intervals.py", "p = np.asarray(p)", "    q = np.full(len(p), np.nan)"),
        {*TIM, *EVALUATION},
    ),
    "draws": Case(
        "bootstrap draws of the evaluation",
        lambda project: project.configure("evaluation.draws", 21),
        TEST,
    ),
    "licence": Case(
        "what the model card says of its licence",
        lambda project: project.configure("bundle.licence", "CC0-1.0"),
        {"export_bundle"},
    ),
    "tim-controls": Case(
        "a permuted companion beside each task",
        lambda project: project.configure("tim.controls", 1),
        {"plan_tim", *CONTROLS, *TIM},
        # The first task of the draw for the study's seed, alone and beside each task.
        {
            Fit("+".join(sorted({*members, "mortality_48h~1"})), fold, 0, rate)
            for members in ([], *([task] for task in TASKS))
            for fold in (0, 1)
            for rate in RATES
        },
    ),
    "tim-draws": Case("bootstrap draws of TIM", lambda project: project.configure("tim.draws", 21), TIM),
    "baseline": Case(
        "one more reference model",
        lambda project: project.configure("evaluation.baselines", ["linear", "gradient_boosting"]),
        {*baselines(*TASKS), *EVALUATION},
    ),
    "beam": Case(
        "the beam (where no round expands it)",
        lambda project: project.configure("search.beam", 3),
        {*planning(3), "select", "plan_final", *EVALUATION},
        redrawn=figures("tim", "missing"),
    ),
    "max-size": Case(
        "larger combinations",
        lambda project: project.configure("search.max_size", 3),
        {
            *planning(1, 2, 3, 4),
            *packs("3 0000", "3 0001"),
            *("merge_scores(3)", "select", "plan_tim", *TIM, "plan_final"),
            *FINALS,
            *TEST,
        },
        {
            Fit("+".join(t), fold, 0, rate)
            for t in combinations(TASKS, 3)
            for fold in (0, 1)
            for rate in RATES
        },
        "*",
    ),
    "task-codes": Case(
        "one task's ICD list",
        lambda project: project.edit(DEFINITIONS, "'\\bheart failure\\b', ", "'\\bsystolic\\b', "),
        {
            *labels("heart_failure"),
            *baselines("heart_failure"),
            *("assess", "participants"),
            *planning(1),
            *(LEARNED - packs("1 0001")),
        },
        searched(TASKS, RATES, "heart_failure"),
        "*",
    ),
    "new-task": Case(
        "a new task",
        lambda project: project.configure("tasks.include", [*TASKS, "diabetes"]),
        {
            *labels("diabetes"),
            *baselines("diabetes"),
            *("assess", "participants"),
            *planning(1),
            *LEARNED,
            *packs("2 0002", "2 0003"),
        },
        searched([*TASKS, "diabetes"], RATES, "diabetes"),
        "*",
    ),
    "removed-task": Case(
        "a task taken out",
        lambda project: project.configure("tasks.include", [t for t in TASKS if t != "heart_failure"]),
        {"assess", "participants", *planning(1), *(LEARNED - ALL_PACKS), *PLANS_OF_FEWER},
        final="*",
    ),
    "rate": Case(
        "one learning rate",
        lambda project: project.configure("training.learning_rates", [1e-3, 4e-3]),
        {*planning(1), *LEARNED},
        searched(TASKS, [4e-3]),
        "*",
    ),
    "alpha": Case(
        "alpha",
        lambda project: project.configure("model.attention.alpha", 0.3),
        LEARNED,
        searched(TASKS, RATES),
        "*",
    ),
    "split-seed": Case(
        "the seed of the split",
        lambda project: project.configure("split.seed", 5),
        EVERYTHING - {"ingest"} - labels(*TASKS),
        searched(TASKS, RATES),
        "*",
    ),
    "value": Case("one value of an input", change_value, EVERYTHING, searched(TASKS, RATES), "*"),
}


@pytest.fixture(scope="session")
def finished(made_once: Callable[[str, Callable[[Path], None]], Path], programs: Path) -> Project:
    """A copy of the project with a finished small study; nobody may change it."""

    def make(folder: Path) -> None:
        copy_project(folder)
        write_inputs(folder)
        write_study(folder, STUDY)
        project = Project(folder, programs)
        first = project.snakemake()
        assert first.status == 0, first.output[-6000:]
        assert first.jobs == named(EVERYTHING, project) | LAST
        assert {fit for fit in first.fits if of_search(fit)} == searched(TASKS, RATES)

    return Project(made_once("finished", make), programs)


def _pictures(project: Project) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (project.folder / RESULTS / "figures").iterdir()}


@pytest.mark.parametrize("name", CASES)
def test_exactly_what_an_edit_invalidates(name: str, finished: Project, tmp_path: Path) -> None:
    case = CASES[name]
    project = finished.copied_to(tmp_path / "project")
    case.apply(project)
    done = project.snakemake()
    assert done.status == 0, done.output[-6000:]
    last = LAST if case.jobs else set()
    assert sorted(done.jobs - case.redrawn) == sorted(case.jobs_of(project) | last)
    searched_anew = {fit for fit in done.fits if of_search(fit)}
    assert searched_anew == case.fits
    assert len(searched_anew) == len([fit for fit in done.fits if of_search(fit)])
    if case.final != "*":
        assert not [fit for fit in done.fits if not of_search(fit)]
    before, after = _pictures(finished), _pictures(project)
    redrawn = {figure[len("figure(") : -1] for figure in case.redrawn}
    for path in after:
        if Path(path).stem in redrawn:
            assert after[path] == before[path], path


def test_an_edit_inside_a_folder_of_inputs_is_seen(finished: Project, tmp_path: Path) -> None:
    """A folder's time stays when a file in it is written over; what is in the file decides."""
    project = finished.copied_to(tmp_path / "project")
    folder = project.folder / "data/hosp"
    before = folder.stat().st_mtime_ns
    change_hospital_table(project)
    assert folder.stat().st_mtime_ns == before
    assert "ingest" in project.snakemake("--dry-run").jobs


def explained(project: Project) -> str:
    """What ``m3h explain-rerun`` says of a project."""
    program = "from m3h_pipeline.cli import main; raise SystemExit(main(['explain-rerun', 'study.yaml']))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=project.folder,
        env=project.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_reasons_are_told_in_words(finished: Project, tmp_path: Path) -> None:
    project = finished.copied_to(tmp_path / "project")
    assert explained(project) == "results/small: nothing would run\n"
    project.configure("tim.draws", 30)
    project.configure("evaluation.draws", 25)
    CASES["statistics"].apply(project)
    change_value(project)
    (project.folder / RESULTS / "figures/agreement.svg").unlink()
    said = explained(project)
    assert "tim.draws: 20 -> 30  [tim]" in said
    assert "evaluation.draws: 20 -> 25  [" in said
    assert "inference.intervals: benjamini_hochberg  [" in said
    assert "table.csv has changed  [ingest]" in said
    assert "figures/agreement.svg is missing  [figure(agreement)]" in said
    assert "alpha" not in said
    assert len(said.splitlines()) < 40


def _counted(jobs: set[str]) -> str:
    """Jobs for people: rules, with how many of their jobs."""
    numbers: dict[str, int] = {}
    for job in jobs:
        rule = job.partition("(")[0]
        numbers[rule] = numbers.get(rule, 0) + 1
    whole = {"figure": len(FIGURES), "label": len(TASKS), "baselines": len(TASKS)}
    parts = []
    for rule, number in sorted(numbers.items()):
        if number == 1 and rule in {"figure", "label", "baselines"}:
            (job,) = (job for job in jobs if job.startswith(rule + "("))
            parts.append(f"`{job}`")
        elif number == whole.get(rule) or rule == "train_final":
            parts.append(f"every `{rule}`")
        else:
            parts.append(f"`{rule}`" + (f" × {number}" if number > 1 else ""))
    return ", ".join(parts) or "nothing"


def table() -> str:
    """The table of ``docs/reproducibility.md``."""
    lines = ["| edit | runs again | fits trained anew |", "|---|---|---|"]
    whole = len(searched(TASKS, RATES))
    for case in CASES.values():
        number = len(case.fits)
        fits = "none" if not number else f"all {whole}" if number == whole else f"{number}"
        if case.final:
            fits = (
                f"{fits}; final ones of what is selected anew"
                if number
                else "final ones of what is selected anew"
            )
        jobs = "everything" if case.jobs == EVERYTHING else _counted(case.jobs)
        drawn = f"; drawn again to the same bytes: {_counted(case.redrawn)}" if case.redrawn else ""
        lines.append(f"| {case.what} | {jobs}{drawn} | {fits} |")
    return "\n".join(lines) + "\n"


PAGE = ROOT / "docs/reproducibility.md"
START, END = "<!-- what reruns -->\n", "<!-- end -->\n"


def _with_table(text: str) -> str:
    head, _, rest = text.partition(START)
    return head + START + "\n" + table() + "\n" + END + rest.partition(END)[2]


def test_the_page_shows_these_cases() -> None:
    text = PAGE.read_text()
    assert START in text
    assert END in text
    assert _with_table(text) == text, "run `python -m tests.end_to_end.test_invalidation`"


if __name__ == "__main__":
    PAGE.write_text(_with_table(PAGE.read_text()))
    sys.stdout.write(f"{PAGE}\n")
