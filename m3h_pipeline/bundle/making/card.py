"""``MODEL_CARD.md``, made from a bundle's description and nothing else.

Headings are those of TRIPOD+AI (Collins et al., BMJ 2024; 385:e078378) and of the applied model card of the
Coalition for Health AI (CHAI); what nobody stated says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from m3h_pipeline.bundle.schema import Description, Estimate, TaskModel
from m3h_pipeline.disclosure.text import plain

_UNSTATED = "*Not stated by its makers.*"
_SCORES = {
    "auroc": "AUROC",
    "macro_auroc": "macro AUROC",
    "r2": "R²",
    "concordance": "concordance",
    "silhouette": "silhouette",
}


def model_card(known: Description) -> str:
    """The card as Markdown.

    Args:
        known: what stands in ``bundle.json``.
    """
    return "\n".join(_lines(known)) + "\n"


def _lines(known: Description) -> Iterator[str]:
    purpose = known.purpose
    yield f"# Model card: {_text(known.study)}"
    yield ""
    yield "Made from `bundle.json`; headings of TRIPOD+AI and of CHAI's applied model card."
    yield ""
    yield from _section("Summary (CHAI)", _summary(known))
    yield from _section("Intended use and users (CHAI: uses and directions)", [_stated(purpose.intended_use)])
    yield from _section("Out-of-scope use (CHAI: cautioned settings)", [_stated(purpose.not_for)])
    yield from _section("Warnings (CHAI: known risks and limitations)", _warnings(known))
    yield from _section("Source of data and participants (TRIPOD+AI 5, 6)", _participants(known))
    yield from _section("Outcome (TRIPOD+AI 8)", _outcomes(known))
    yield from _section("Predictors and missing data (TRIPOD+AI 9, 11)", _predictors(known))
    yield from _section("Analytical methods and model specification (TRIPOD+AI 12, 22)", _models(known))
    yield from _section("Model output: probabilities and thresholds (TRIPOD+AI 15)", _thresholds(known))
    yield from _section("Model performance (TRIPOD+AI 23; CHAI: key metrics)", _performance(known))
    yield from _section("Fairness (TRIPOD+AI 14; CHAI: fairness and equity)", _subgroups(known))
    yield from _section(
        "Transparency, maintenance and licence (TRIPOD+AI 18; CHAI: transparency)", _facts(known)
    )


def _section(title: str, lines: Sequence[str] | Iterator[str]) -> Iterator[str]:
    yield f"## {title}"
    yield ""
    yield from lines
    yield ""


def _summary(known: Description) -> Iterator[str]:
    yield f"Predicts {len(known.tasks)} outcome(s) of one sample from {_count_features(known)} features."
    yield ""
    yield from _table(
        ("task", "predicts", "model", "score on the test part (95 %)"),
        (
            (
                name,
                f"{_text(task.title)} ({task.problem_class})",
                _text(task.words),
                _said(_score(task, "test")),
            )
            for name, task in known.tasks.items()
        ),
    )


def _warnings(known: Description) -> Iterator[str]:
    yield "- Numbers are of patients of the study, held back; how it does elsewhere or later they do not say:"
    yield "  `m3h evaluate-bundle` tells where outcomes are known."
    for name, task in known.tasks.items():
        if task.permuted:
            yield f"- `{name}` is a negative control: its labels were shuffled. Do not use it."
        if task.instead_of:
            yield (
                f"- `{name}`: the study chose {_text(task.instead_of)}, which cannot be carried; the best "
                "that can takes its place."
            )
        if task.problem_class != "clustering" and task.calibrator is None:
            yield f"- `{name}`: predictions are not recalibrated."
        if not task.candidates[task.chosen].alone:
            yield (
                f"- `{name}`: what is said of a sample depends on the samples predicted with it: the study "
                "divides by a maximum over batches (`attention.normalise: published`). Of one sample alone "
                "it says something else than in the study's evaluation."
            )
    if known.own_code:
        yield f"- It needs code of its makers: {', '.join(f'`{_text(path)}`' for path in known.own_code)}."


def _participants(known: Description) -> Iterator[str]:
    who = known.who
    yield from _table(
        ("part", "samples", "patients"),
        (
            (part, _number(who.samples.get(part)), _number(who.patients.get(part)))
            for part in ("training", "test")
        ),
    )
    for column, groups in who.subgroups.items():
        yield ""
        shown = ", ".join(f"{_text(value)} {_number(n)}" for value, n in groups.items())
        yield f"Training patients by {_text(column)}: {shown}."


def _outcomes(known: Description) -> Iterator[str]:
    def rows() -> Iterator[tuple[str, ...]]:
        for name, task in known.tasks.items():
            one = task.training
            if task.problem_class == "binary":
                how = "not shown" if one.prevalence is None else f"{one.prevalence:.1%} have it"
            elif task.problem_class == "multiclass":
                parts = (
                    f"{_text(k)} {'not shown' if v is None else f'{v:.1%}'}" for k, v in one.shares.items()
                )
                how = ", ".join(parts)
            elif task.problem_class == "regression" and one.mean is not None:
                how = f"mean {one.mean:g}, deviation {one.deviation:g} {_text(task.unit)}".rstrip()
            elif task.problem_class == "survival":
                how = f"{_number(one.events)} events, times in {_text(task.unit) or 'the unit of the data'}"
            else:
                how = f"{task.clusters} clusters" if task.clusters else ""
            yield name, _text(task.title), _number(one.samples), how, _text(task.note)

    yield from _table(("task", "outcome", "training samples", "in the training part", "note"), rows())


def _predictors(known: Description) -> Iterator[str]:
    yield from _table(
        ("modality", "source", "features"),
        (
            (modality, source, str(len(known.reading.sources[source].names)))
            for modality, sources in known.modalities.items()
            for source in sources
        ),
    )
    yield ""
    yield "Names, units and categories are in `bundle.json` under `reading`. Missing values may stay missing:"
    yield "each model has its way with them. A category that was never seen is *other*, never another one's."


def _models(known: Description) -> Iterator[str]:
    def rows() -> Iterator[tuple[str, ...]]:
        for name, task in known.tasks.items():
            for one, model in task.candidates.items():
                weight = ""
                if model.blend is not None:
                    weight = ", ".join(
                        f"{m} {w:.3g}" for m, w in zip(model.members, model.blend.weights, strict=True)
                    )
                with_ = ", ".join(model.tasks) or weight
                yield (
                    name,
                    one + (" (chosen)" if one == task.chosen else ""),
                    model.kind,
                    model.setting,
                    with_,
                )

    yield from _table(("task", "candidate", "kind", "setting", "learned with, or weights"), rows())
    yield ""
    yield "Weights are in `networks/` and `references/`. Of a network all replicates are averaged. Candidates"
    yield "were compared out of fold, by patient; the test part had no say. Probabilities, curves and values"
    yield "are recalibrated by predictions out of fold."


def _thresholds(known: Description) -> Iterator[str]:
    rows = [
        (
            name,
            one.chosen_for + (f" {one.target:g}" if one.target is not None else ""),
            f"{one.value:.4f}",
            *(
                f"{_share(getattr(one.validation, rate))} / {_share(getattr(one.test, rate))}"
                for rate in ("sensitivity", "specificity", "ppv", "alerts")
            ),
        )
        for name, task in known.tasks.items()
        for one in task.thresholds
    ]
    if rows:
        yield "Of the calibrated probability, chosen out of fold. Rates: out of fold / test part; `-` where"
        yield "they, or what they differ by from another row's, would tell of fewer than 11 patients."
        yield ""
        head = ("task", "chosen for", "threshold", "sensitivity", "specificity", "PPV", "alerts")
        yield from _table(head, rows)
    for name, task in known.tasks.items():
        if task.interval is not None:
            held = task.interval.test_coverage
            found = "" if held is None else f"; on the test part it held {held:.1%}"
            yield ""
            yield (
                f"`{name}`: value ± {task.interval.half_width:g} {_text(task.unit)} holds "
                f"{task.interval.coverage:.0%} of patients{found}."
            )


def _performance(known: Description) -> Iterator[str]:
    def rows() -> Iterator[tuple[str, ...]]:
        for name, task in known.tasks.items():
            slope = next((one for one in task.calibration if one.state == "after"), None)
            shown = "" if slope is None or slope.slope is None else f"{slope.slope:.2f}"
            if shown and slope is not None and slope.slope_low is not None and slope.slope_high is not None:
                shown += f" ({slope.slope_low:.2f} to {slope.slope_high:.2f})"
            yield (
                name,
                _SCORES.get(task.metric, task.metric),
                _said(_score(task, "validation")),
                _said(_score(task, "test")),
                shown,
            )

    head = ("task", "score", "out of fold", "test part (95 %)", "calibration slope, recalibrated")
    yield from _table(head, rows())


def _subgroups(known: Description) -> Iterator[str]:
    rows = [
        (name, _text(one.group), _said(one))
        for name, task in known.tasks.items()
        for one in task.scores
        if one.group
    ]
    if rows:
        yield "Test part; groups in which fewer than 11 patients tell of the outcome are left out."
        yield ""
        yield from _table(("task", "group", "score (95 %)"), rows)
    else:
        yield "The study has no subgroups of enough patients."


def _facts(known: Description) -> Iterator[str]:
    yield f"- Licence: {_stated(known.purpose.licence)}"
    yield f"- Contact: {_stated(known.purpose.contact)}"
    yield f"- Format: version {known.version}; seed of the study: {known.seed}"
    yield f"- Made with: {', '.join(f'{name} {text}' for name, text in known.versions.items())}"
    yield "- No row of any patient; no value or count of fewer than 11 patients."


def _score(task: TaskModel, part: str) -> Estimate | None:
    return next((one for one in task.scores if one.part == part and not one.group), None)


def _said(one: Estimate | None) -> str:
    if one is None or one.value is None:
        return "not shown"
    ends = "" if one.low is None or one.high is None else f" ({one.low:.3f} to {one.high:.3f})"
    return f"{one.value:.3f}{ends}"


def _table(head: Sequence[str], rows: Iterator[tuple[str, ...]] | Sequence[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _count_features(known: Description) -> int:
    return sum(len(known.reading.sources[s].names) for sources in known.modalities.values() for s in sources)


def _number(n: int | None) -> str:
    return "not shown" if n is None else f"{n:,}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _stated(text: str) -> str:
    return _text(text) or _UNSTATED


def _text(text: str) -> str:
    """A name from elsewhere, harmless in Markdown."""
    return plain(text).replace("|", "\\|").replace("<", "&lt;").strip()
