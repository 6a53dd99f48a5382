"""Check a study against its record: every file by its digest, cohort, labels and split by making them anew,
and a sample of fits by training them again.

A fit is trained again in its own stack: another stack rounds differently. On the same device with the same
versions the scores must then be equal to the last bit; otherwise within a tolerance.
"""

from __future__ import annotations

import contextlib
import math
import random
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from m3h_pipeline.config import MimicSource, Study, validate
from m3h_pipeline.config.networks import networks
from m3h_pipeline.config.paths import input_paths
from m3h_pipeline.contracts import SCORES
from m3h_pipeline.dotted import untrusted
from m3h_pipeline.environment import environment, versions
from m3h_pipeline.errors import ContractError, InputError, M3HError
from m3h_pipeline.files import read_table
from m3h_pipeline.files.makers import again
from m3h_pipeline.hashes import input_files, sha256
from m3h_pipeline.jobs.code import code_of_stages
from m3h_pipeline.jobs.outputs import score_files
from m3h_pipeline.layout import Layout
from m3h_pipeline.record import read_record, segments
from m3h_pipeline.remade import STAGES, NotRemadeError, remade
from m3h_pipeline.search.sizes import sized_study

if TYPE_CHECKING:
    from m3h_pipeline.training.spec import FitResult, TrainingSettings

#: Largest difference of a score (AUROC, R2, silhouette) on another device or with other versions.
TOLERANCE = 0.02
#: Libraries that decide what is in cohort, labels and split.
_DECISIVE_TABLES = ("python", "numpy", "pandas", "pyarrow", "duckdb")


@dataclass
class Report:
    """What was found.

    Attributes:
        checked: what was compared, in the plural -> how many.
        problems: what does not match, each with what to do.
        notes: differences that are no error by themselves.
        unchecked: what was not looked at, and why.
        largest: the largest difference of a score of a fit that was trained again.
    """

    checked: dict[str, int] = field(default_factory=dict)
    problems: list[M3HError] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)
    largest: float = 0.0

    def add(self, what: str, where: str, hint: str) -> None:
        self.problems.append(ContractError(what, where=where, hint=hint))

    def write(self, screen: TextIO) -> None:
        """Print the report."""
        screen.writelines(f"note: {note}\n" for note in self.notes)
        screen.writelines(f"MISMATCH: {problem}\n" for problem in self.problems)
        done = ", ".join(f"{number:,} {what}" for what, number in self.checked.items())
        screen.write(f"compared: {done}\n")
        screen.writelines(f"not checked: {what}\n" for what in self.unchecked)


def verify(
    root: Path,
    fits: int = 3,
    seed: int = 0,
    data: Path | None = None,
    tolerance: float = TOLERANCE,
    screen: TextIO = sys.stdout,
    trust: bool = False,
    cohort: bool = True,
) -> Report:
    """Compare a study with its record and print a report.

    Args:
        root: the study's results.
        fits: how many stored fits are drawn and trained again; 0: none.
        seed: of the draw.
        data: the folder of the inputs; None: as configured, where that is a relative path.
        tolerance: largest difference of a score on another device or with other versions.
        screen: where the report goes.
        trust: import what the record names by dotted path.
        cohort: make cohort, labels and split anew.

    Raises:
        InputError: the study has no record, or a damaged one.
        ConfigError: the record names code of its own, and is not trusted.
        ContractError: something does not match; the report says what.
    """
    with contextlib.nullcontext() if trust else untrusted():
        return _verified(Layout(Path(root)), fits, seed, data, tolerance, screen, cohort)


def _verified(
    layout: Layout,
    fits: int,
    seed: int,
    data: Path | None,
    tolerance: float,
    screen: TextIO,
    cohort: bool,
) -> Report:
    known = read_record(layout)
    study = validate(Study, known["configuration"], where=str(layout.record))
    report = Report()
    _compare_files(layout, known["files"], report)
    _compare_inputs(study, known["inputs"], data, report)
    same_code = _compare_software(known, report)
    if report.problems:
        report.unchecked.append("cohort, labels, split and fits were not made again: files do not match")
    else:
        if cohort:
            _make_again(layout, study, known, data, same_code, report)
        else:
            report.unchecked.append("cohort, labels and split were not made again: `--no-cohort`")
        if fits > 0:
            _compare_fits(layout, study, fits, seed, same_code["training"], tolerance, report)
        else:
            report.unchecked.append("no fit was trained again: `--fits N`")
    report.unchecked.append("selection, TIM, evaluation and figures: by their digests alone")
    report.write(screen)
    if report.problems:
        raise ContractError(
            f"the study does not match its record in {len(report.problems)} place(s), listed above",
            where=str(layout.folder),
        )
    screen.write("the study matches its record\n")
    return report


def _compare_files(layout: Layout, files: Mapping[str, Mapping[str, Any]], report: Report) -> None:
    for name, entry in files.items():
        path = layout.folder / name
        if not path.is_file():
            hint = "run `snakemake`, or take it from where the study was copied from"
            report.add("the file is missing", str(path), hint)
        elif path.stat().st_size != entry["bytes"] or sha256(path) != entry["sha256"]:
            report.add("the file is not what the study wrote", str(path), again(path))
    report.checked["files"] = len(files)


def _compare_inputs(
    study: Study, inputs: Mapping[str, Mapping[str, Any]], data: Path | None, report: Report
) -> None:
    base = data if data is not None else Path(study.data)
    here = study if data is None else study.model_copy(update={"data": str(data)})
    found = input_files(input_paths(here), str(base))
    if data is not None:
        # What was configured outside the folder is looked up in it by name.
        found = {name: found.get(name, data / Path(name).name) for name in inputs}
    for name, entry in inputs.items():
        path = found.get(name)
        if path is None or not path.is_file():
            report.add("the input is not there", name, "say where the inputs lie: `--data FOLDER`")
        elif path.stat().st_size != entry["bytes"] or sha256(path) != entry["sha256"]:
            report.add(
                "the input is not the one the study was made from",
                str(path),
                "bring back the file, or run `snakemake` to make the study from this one",
            )
    report.checked["inputs"] = len(inputs)


def _compare_software(known: Mapping[str, Any], report: Report) -> dict[str, bool]:
    now = versions()
    for name, before in known["versions"].items():
        if now.get(name) != before:
            report.notes.append(f"{name} is {now.get(name, 'absent')}, the study was made with {before}")
    code = code_of_stages()
    same = {stage: digest == code.get(stage) for stage, digest in known["code"].items()}
    changed = [stage for stage, equal in same.items() if not equal]
    if changed:
        report.notes.append(
            f"the code of {', '.join(changed)} has changed since; `snakemake` would run these stages again"
        )
    return same


def _make_again(
    layout: Layout,
    study: Study,
    known: Mapping[str, Any],
    data: Path | None,
    same_code: Mapping[str, bool],
    report: Report,
) -> None:
    """Cohort, labels and split made anew; where code or versions differ, a difference is no fault."""
    now = versions()
    changed = [f"the code of {stage}" for stage in STAGES if not same_code.get(stage)]
    changed += [f"{name}" for name in _DECISIVE_TABLES if now.get(name) != known["versions"].get(name)]
    here = study if data is None else study.model_copy(update={"data": str(data)})
    compared = 0
    try:
        for path, equal in remade(layout, here, known["definitions"], everything=data is None):
            compared += 1
            if equal:
                continue
            if changed:
                why = ", ".join(changed)
                report.notes.append(f"{path}: made anew it differs; since then {why} changed")
            else:
                report.add("made anew from the inputs, the file says something else", str(path), again(path))
    except NotRemadeError as error:
        report.unchecked.append(str(error))
    if isinstance(study.source, MimicSource) and study.source.embeddings:
        report.unchecked.append("vectors of notes and images were taken as they are")
    report.checked["files of cohort, labels and split made anew"] = compared


def _compare_fits(
    layout: Layout, study: Study, number: int, seed: int, same_code: bool, tolerance: float, report: Report
) -> None:
    from m3h_pipeline.training.store import read_segment

    places = {key: path for path, keys in segments(layout, study).items() for key in sorted(keys)}
    others = _fits_of_others(layout, study)
    keys = sorted(places)
    drawn = random.Random(seed).sample(keys, min(number, len(keys)))
    scores = _scores(layout, study, set(drawn))
    trained = 0
    for path in sorted({places[key] for key in drawn}):
        stored, trained_with = read_segment(path)
        # A segment is of one job, so of one network.
        network = next((others[result.key] for result in stored if result.key in others), study)
        again, exact, why = _train_again(layout, network, stored, trained_with, same_code)
        trained += len(again)
        if why:
            report.notes.append(f"{path.name}: scores may differ by up to {tolerance}: {why}")
        by_spec = {result.spec: result for result in again}
        for result in stored:
            if result.key in drawn:
                fresh = by_spec[result.spec]
                spec = result.spec
                name = f"{'+'.join(spec.combination)}, fold {spec.fold}, replicate {spec.replicate}"
                where = f"{name} (in {path})"
                if same_code and fresh.key != result.key and not why:
                    hint = "the features, labels or split changed; run `snakemake`"
                    report.add("the fit is of other data than the study's", where, hint)
                _compare_scores(scores[result.key], fresh, where, 0.0 if exact else tolerance, report)
    if left := len(keys) - len(drawn):
        report.unchecked.append(f"{left:,} of {len(keys):,} fits were not trained again: `--fits N`")
    report.checked["fits"] = len(drawn)
    report.checked["fits of their stacks trained again"] = trained


def _compare_scores(
    table: Mapping[str, float], fresh: FitResult, where: str, tolerance: float, report: Report
) -> None:
    for task, before in table.items():
        now = fresh.values[task]
        if math.isnan(before) and math.isnan(now):
            continue
        difference = abs(before - now)
        report.largest = max(report.largest, difference)
        if not difference <= tolerance:
            report.add(
                f"the score of {task} is {before:.6f}, trained again {now:.6f}",
                where,
                "delete the stored fits and the pack's files, and run `snakemake`",
            )


def _fits_of_others(layout: Layout, study: Study) -> dict[str, Study]:
    """Keys of the fits of networks that the study's own is compared with -> the study with their sections."""
    found: dict[str, Study] = {}
    for name, network in list(networks(study).items())[1:]:
        for path in sorted(layout.networks.fits_of(name).pack_folder.glob("*.scores.parquet")):
            keys = read_table(path, SCORES, ["fit_key"]).column(0).to_pylist()
            found |= dict.fromkeys(keys, network)
    return found


def _scores(layout: Layout, study: Study, keys: set[str]) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for path in score_files(layout, study):
        for row in read_table(path, SCORES, ["fit_key", "task", "value"]).to_pylist():
            if row["fit_key"] in keys:
                value = math.nan if row["value"] is None else row["value"]
                found.setdefault(row["fit_key"], {})[row["task"]] = value
    return found


def _train_again(
    layout: Layout,
    study: Study,
    stored: Sequence[FitResult],
    trained_with: Mapping[str, Any],
    same_code: bool,
) -> tuple[list[FitResult], bool, str]:
    """The fits of a segment trained again; whether they must be equal; if not, why."""
    from m3h_pipeline.training.data import load_study_data
    from m3h_pipeline.training.fits import device_of, run_fits

    settings = _settings(sized_study(study, layout.cohort.summary))
    device = device_of(settings).type
    now = environment(device)
    why = []
    if not same_code:
        why.append("the training code has changed")
    if trained_with.get("device") != now["device"]:
        before = trained_with.get("device", {}).get("name", "an unknown device")
        why.append(f"trained on {before}, now {now['device']['name']}")
    decisive = ("python", "system", "numpy", "scipy", "torch")
    before_versions = trained_with.get("versions", {})
    other = [name for name in decisive if before_versions.get(name) != now["versions"].get(name)]
    if other:
        why.append(f"other versions of {', '.join(other)}")
    specs = [result.spec for result in stored]
    tasks = sorted({task for spec in specs for task in spec.combination})
    data = load_study_data(
        layout.cohort.folder,
        layout.labels.folder,
        layout.split,
        tasks,
        settings.modalities,
        grouped=True,
        genes=layout.genes,
        seed=settings.seed,
    )
    try:
        again = run_fits(specs, data, settings)
    except RuntimeError as error:
        raise InputError(
            f"the fits cannot be trained again here: {error}", where=str(layout.folder)
        ) from error
    return again, not why, "; ".join(why)


def _settings(study: Study) -> TrainingSettings:
    from m3h_pipeline.training.spec import TrainingSettings

    return TrainingSettings(study.model, study.training, study.compute, study.modalities, study.seed)
