"""The draft as text: a study file and a file of tasks, with what is doubtful as comments where it stands."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence

import yaml

from m3h_pipeline.disclosure.text import plain
from m3h_pipeline.draft.joins import File
from m3h_pipeline.draft.outcomes import Outcome
from m3h_pipeline.draft.plan import LISTED, Block, Plan
from m3h_pipeline.draft.words import slug

_WIDTH = 110
#: Where a doubt stands: a mark to search for.
DOUBT = "# ?"


def render_study(plan: Plan, name: str, data: str, paths: Sequence[str], tasks: str) -> str:
    """The study file.

    Args:
        plan: what becomes of the columns.
        name: of the study.
        data: folder that the paths start from.
        paths: of the files of the plan, and of the file of codes behind them.
        tasks: path of the file of tasks.
    """
    files = plan.meeting.files
    lines = [
        f"# The study {name}, drafted by `m3h init` from names and types of columns: read before you run it.",
        f"# Lines with `{DOUBT}` are questions to you. All keys: config/README.md.",
        f"study: {_q(name)}",
        "# Folder that the paths below start from.",
        f"data: {_q(data)}",
        "",
        "source:",
        "  kind: table",
        "  # The first file has the samples, a row each; the others are joined to them by their `id`.",
        "  files:",
    ]
    for file, path in zip(files, paths, strict=False):
        lines += _file(file, path)
    lines += [f"    {DOUBT} left out: {plain(path)}: {why}" for path, why in plan.meeting.left.items()]
    lines += _people(plan)
    lines += [
        "  # What a model sees. Nothing may be here that is not known when a prediction is made.",
        "  blocks:",
    ]
    lines += _questions(plan, "blocks", 4)
    for block in plan.blocks:
        lines += _block(block, len(files))
    lines += _withheld(plan)
    lines += _values(plan)
    if plan.subgroups:
        lines += ["  # Groups that results are shown for, too.", "  subgroups:"]
        lines += [f"    {slug(one)}: {{column: {_q(one)}}}" for one in plan.subgroups]
    lines += _diagnoses(plan, paths)
    lines += ["", "# Sources that share an encoder.", "modalities:"]
    small = [block.name for block in plan.blocks if not block.wide]
    if small:
        lines.append(f"  tabular: {{sources: {_flow(small, 22)}}}")
    for block in plan.blocks:
        if block.wide:
            modality = "expression" if block.genes else f"of_{block.name}"
            lines.append(f"  {modality}: {{sources: [{block.name}]}}")
    rows = files[0].table.rows
    lines += [
        "",
        "tasks:",
        f"  definitions: [{_q(tasks)}]",
        "",
        "split:",
        f"  folds: {5 if rows >= 2000 else 3}",
        *_stratified(plan),
        "",
        "# Batch size, epochs and widths follow from the shape of the study (docs/recipes.md).",
        "training:",
        "  sizes: auto",
        "",
        "search:",
        "  max_size: 2",
        "",
        "tim:",
        "  replicates: 2",
        "",
        "evaluation:",
        "  replicates: 2",
    ]
    return "\n".join(lines) + "\n"


def _file(file: File, path: str) -> list[str]:
    options = [f"path: {_q(path)}"]
    if file.id is not None:
        options.append(f"id: {_q(file.id)}")
    if file.on is not None:
        options.append(f'"on": {_q(file.on)}')
    if file.partial and file.on is None:
        options.append("join: left")
    if file.table.transposed:
        options.append("transposed: true")
        if file.table.annotation:
            options.append(f"annotation: {_flow(file.table.annotation, 0)}")
    lines = [f"    - {{{', '.join(options)}}}"]
    if file.id is None:
        lines.append(f"    {DOUBT} no column names the rows: their number does. Is each row a sample?")
    if file.partial:
        what = "`join: left` keeps the samples of the first file; `inner` those that both have, `outer` all"
        lines += _wrapped(f"this file lacks samples, or has others: {what}", 4, DOUBT)
    return lines


def _people(plan: Plan) -> list[str]:
    lines = ["  # Patients are never divided between training and test."]
    lines += [f"  patient_id: {_q(plan.patient)}"] if plan.patient else ["  # patient_id: COLUMN"]
    return lines + _questions(plan, "patient_id", 2)


def _block(block: Block, files: int) -> list[str]:
    lines = [f"    {block.name}:"]
    if len(block.columns) <= LISTED or set(map(plain, block.columns)) != set(block.columns):
        lines.append(f"      columns: {_flow(block.columns, 15)}")
    else:
        lines.append('      pattern: ".+"')
        if block.exclude:
            lines.append(f"      exclude: {_flow(block.exclude, 15)}")
    if files > 1 or len(block.columns) > LISTED:
        lines.append(f"      file: {block.file}")
    if block.categorical:
        lines.append(f"      categorical: {_flow(block.categorical, 19)}")
    if block.genes:
        lines += ["      # The mean of a gene that stands several times; `log: log2` for raw values.",
                  "      genes: {duplicates: mean}"]  # fmt: skip
    return lines


def _withheld(plan: Plan) -> list[str]:
    read = list(
        dict.fromkeys(c for o in plan.outcomes for c in ((o.time, o.column) if o.time else (o.column,)))
    )
    columns = [*read, *plan.later]
    lines = []
    if columns:
        lines = ["  # What tasks read, and what a model must never see: no block takes these columns."]
        lines.append(f"  columns: {_flow(columns, 11)}")
    for why, names in _by_reason([plan.later]).items():
        lines += _wrapped(f"{names}: {why}", 2, DOUBT)
    for why, names in _by_reason(plan.ignored.values()).items():
        lines += _wrapped(f"Not used: {names}: {why}.", 2)
    return lines


def _by_reason(found: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Reason -> the columns that it holds of, in words."""
    reasons: dict[str, list[str]] = {}
    for columns in found:
        for name, why in columns.items():
            reasons.setdefault(why, []).append(f"`{name}`")
    return {
        why: ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
        for why, names in reasons.items()
    }


def _values(plan: Plan) -> list[str]:
    lines = []
    if plan.missing_values:
        lines += ["  # These mean: not observed, beside what means it in every table (empty, NA, n/a, ...)."]
        lines += [f"  missing_values: {_flow(plan.missing_values, 18)}"]
    lines += _questions(plan, "missing_values", 2)
    if plan.limits:
        named = ", ".join(f"`{plain(name)}`" for name in plan.limits[:10])
        lines += [
            *_wrapped(f"Values beyond what can be measured (`<5`) in {named}: half of the least.", 2),
            f"  {DOUBT} `number` takes the limit itself, `missing` nothing",
            "  limits: half",
        ]
    return lines


def _diagnoses(plan: Plan, paths: Sequence[str]) -> list[str]:
    codes = plan.meeting.codes
    if codes is not None:
        version = f"version_column: {_q(codes.column)}" if codes.column else f"version: {codes.version}"
        of = "" if codes.of == "sample" else f", of: {codes.of}"
        where = f"path: {_q(paths[-1])}, id: {_q(codes.id)}{of}, code: {_q(codes.code)}"
        doubt = f"  {DOUBT} the codes look like those of ICD-{codes.version}: are they?"
        return [
            "  # One ICD code a row; tasks on them are examples in the file of tasks.",
            *([] if codes.column else [doubt]),
            f"  diagnoses: {{{where}, {version}}}",
        ]
    if plan.codes:
        return [
            "  # Columns of ICD codes; tasks on them are examples in the file of tasks.",
            f"  {DOUBT} they look like ICD-{plan.version}: are they? What is no code goes under `not_codes`",
            f"  diagnoses: {{columns: {_flow(plan.codes, 24)}, version: {plan.version}}}",
        ]
    return []


def _stratified(plan: Plan) -> list[str]:
    chosen = [o for o in plan.outcomes if o.problem_class == "binary" and min(o.counts.values()) >= 30]
    if not chosen:
        return []
    names = [o.name for o in sorted(chosen, key=lambda o: min(o.counts.values()))[:3]]
    return [f"  stratify_by: {_flow(names, 15)}"]


def render_tasks(plan: Plan, name: str) -> str:
    """The file of tasks."""
    lines = [
        f"# Tasks of the study {name}, drafted by `m3h init`; lines with `{DOUBT}` are questions to you.",
        "# A value that no list names is refused by `m3h check`, never taken for the other class.",
        "tasks:",
    ]
    for outcome in plan.outcomes:
        lines += ["", *_task(outcome)]
    if not plan.outcomes:
        lines += [f"  {DOUBT} {text}" for text in plan.doubts.get("tasks", [])]
        lines += _PHENOTYPES
    if plan.codes or plan.meeting.codes:
        version = plan.meeting.codes.version if plan.meeting.codes else plan.version
        example = "I50" if version == 10 else "428"
        lines += [
            "",
            f"  {DOUBT} which diagnoses shall be tasks? One like this each, with your codes:",
            "  # heart_failure:",
            "  #   title: Heart failure",
            "  #   department: Heart",
            "  #   class: binary",
            f'  #   criterion: {{kind: diagnosis, icd: {{{version}: ["{example}"]}}}}',
        ]
    if plan.outcomes:
        lines += [
            "",
            "  # Groups of patients, without any label:",
            *[f"  #{text[1:]}" for text in _PHENOTYPES],
        ]
    return "\n".join(lines) + "\n"


_PHENOTYPES = [
    "  phenotypes:",
    "    title: Phenotypes",
    "    department: Patients",
    "    class: clustering",
    "    criterion: {kind: none, clusters: 5}",
]


def _task(outcome: Outcome) -> list[str]:
    lines = [f"  # {outcome.sure}: {_because(outcome)}"]
    for doubt in outcome.doubts:
        lines += _wrapped(doubt, 2, DOUBT)
    lines += [
        f"  {outcome.name}:",
        f"    title: {_q(outcome.title)}",
        "    department: Outcomes",
        f"    class: {outcome.problem_class}",
        *([f"    unit: {_q(outcome.unit)}"] if outcome.unit else []),
        "    criterion:",
    ]
    return lines + [f"      {key}: {text}" for key, text in _criterion(outcome).items()]


def _because(outcome: Outcome) -> str:
    if outcome.problem_class == "survival":
        return f"`{plain(outcome.time)}` and `{plain(outcome.column)}` seem to be a time and its event"
    named = "by its name or values" if outcome.sure != "unsure" else "by its file, or a guess"
    return f"`{plain(outcome.column)}` seems to be an outcome, {named}"


def _criterion(outcome: Outcome) -> dict[str, str]:
    found: dict[str, str] = {}
    classes = outcome.classes
    if outcome.problem_class == "survival":
        found = {"kind": "time_to_event", "time": _q(outcome.time), "event": _q(outcome.column)}
        found |= {"observed": _flow(classes["positive"], 0), "censored": _flow(classes["negative"], 0)}
    elif outcome.problem_class == "binary":
        found = {"kind": "values", "column": _q(outcome.column)}
        found |= {key: _flow(values, 0) for key, values in classes.items()}
    elif outcome.problem_class == "multiclass":
        pairs = ", ".join(f"{_q(name)}: {_flow(values, 0)}" for name, values in classes.items())
        found = {"kind": "classes", "column": _q(outcome.column), "classes": f"{{{pairs}}}"}
    else:
        found = {"kind": "number", "column": _q(outcome.column)}
    if outcome.missing:
        found["missing"] = _flow(outcome.missing, 0)
    if outcome.few:
        found["otherwise"] = "missing"
    return found


def _questions(plan: Plan, key: str, indent: int) -> list[str]:
    return [line for text in plan.doubts.get(key, []) for line in _wrapped(text, indent, DOUBT)]


def _wrapped(text: str, indent: int, mark: str = "#") -> list[str]:
    lead = " " * indent
    return textwrap.wrap(
        plain(text), _WIDTH, initial_indent=f"{lead}{mark} ", subsequent_indent=f"{lead}#   ",
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip


def _q(value: object) -> str:
    """A value as YAML writes it within a flow; numbers stay bare, as criteria compare them as numbers."""
    text = str(value)
    if re.fullmatch(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?", text):
        return text
    written = yaml.safe_dump([text], default_flow_style=True, width=10**9, allow_unicode=True).strip()
    return written[1:-1]


def _flow(values: Iterable[object], indent: int) -> str:
    """A list within brackets, broken into lines where it is long."""
    text = f"[{', '.join(map(_q, values))}]"
    if not indent or len(text) + indent <= _WIDTH:
        return text
    wrapped = textwrap.wrap(text, _WIDTH - indent, break_long_words=False, break_on_hyphens=False)
    return ("\n" + " " * indent).join(wrapped)


def counts(outcome: Outcome) -> str:
    """How many rows each class has, for the screen."""
    return ", ".join(f"{name} {n:,}" for name, n in outcome.counts.items())
