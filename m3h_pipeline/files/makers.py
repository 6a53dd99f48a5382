"""Which rule of the workflow makes a file of a study again: for messages, in one place.

``tests/test_makers.py`` keeps it to what the workflow says.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from m3h_pipeline.layout import GENE_PAIR_FIGURES, Layout

#: Pattern of a file, its rule, and how far above the file the folder lies that the rule makes as a whole.
Maker = tuple[Path, str, int]


def _makers() -> Iterator[Maker]:
    layout = Layout(Path())
    cohort, labels, evaluation = layout.cohort, layout.labels, layout.evaluation
    pairs, networks = layout.gene_pairs("*"), layout.networks
    drawn = [pairs.figure(name, "*") for name in GENE_PAIR_FIGURES]
    found = [pairs.pairs, pairs.genes, pairs.heads, pairs.network, pairs.gene_sets]
    files = [
        ([layout.input / "*", layout.input / "*" / "*"], "simulate"),
        ([layout.embedding("*"), layout.embedding_store / "*" / "*"], "embed"),
        ([*cohort.tables(), cohort.features("*")], "ingest"),
        ([labels.tasks, labels.audit, labels.values, labels.prevalence], "assess"),
        ([labels.labels_of("*"), labels.audit_of("*")], "label"),
        ([layout.gene_vectors("*")], "embed_genes"),
        # Compared networks come before the other stages: one may be called `tim` or `final`.
        ([networks.fits_of("*").plan], "plan_network"),
        ([networks.fits_of("*").of_pack("*", "*")], "train_network"),
        ([networks.comparison("parquet"), networks.comparison("tsv")], "compare_networks"),
        ([networks.comparison("*")], "draw_networks"),
        ([layout.round("*").plan], "plan_round"),
        ([layout.round("*").of_pack("*", "*"), layout.tim.of_pack("*", "*")], "train_pack"),
        ([layout.round("*").scores], "merge_scores"),
        ([layout.trajectory, layout.search_report], "select"),
        ([layout.tim.plan], "plan_tim"),
        ([layout.tim_table], "tim"),
        ([layout.final.plan], "plan_final"),
        ([layout.final.of_pack("*", "*")], "train_final"),
        ([evaluation.baselines("*")], "baselines"),
        ([*evaluation.tables(), evaluation.summary, evaluation.headline, evaluation.planted], "evaluate"),
        ([evaluation.phenotypes, evaluation.phenotype_scores, evaluation.phenotype_profiles], "phenotypes"),
        ([evaluation.missing, evaluation.reliance], "missing"),
        ([evaluation.performance, evaluation.subgroups], "performance"),
        ([evaluation.operating_points, evaluation.confusion], "performance"),
        ([evaluation.flow, evaluation.participants, evaluation.participants_summary], "participants"),
        # One figure is called as a table is.
        (found, "gene_pairs"),
        (drawn, "draw_gene_pairs"),
        ([layout.figure("*", "*")], "figure"),
        ([layout.made("bundle")], "export_bundle"),
        # These lie in the folder of the study itself: a pattern is a name alone, and comes last.
        ([layout.split], "split"),
        ([layout.selection, layout.selection_summary], "select"),
        ([layout.report], "report_page"),
        ([layout.record], "record"),
    ]
    bundle = layout.bundle
    yield layout.models_of("*") / "*", "train_final", 1
    yield layout.references_of("*") / "*", "baselines", 1
    for folder in (bundle.network_folder, bundle.reference_folder):
        yield folder / "*", "export_bundle", 2
    for path in (bundle.description, bundle.card, bundle.features):
        yield path, "export_bundle", 1
    yield from ((pattern, rule, 0) for patterns, rule in files for pattern in patterns)


#: The first that fits counts.
MAKERS: Final = tuple(_makers())


def maker(path: Path | str) -> tuple[str, Path] | None:
    """The rule that makes a file of a study, and what to delete for it: the file, or a folder above it.

    Args:
        path: of the file, wherever the results lie.

    Examples:
        >>> rule, output = maker("results/default/labels/sepsis.parquet")
        >>> rule, output.as_posix()
        ('label', 'results/default/labels/sepsis.parquet')
        >>> rule, output = maker("results/default/final/models/0000/4f.safetensors")
        >>> rule, output.as_posix()
        ('train_final', 'results/default/final/models/0000')
        >>> maker("elsewhere.parquet") is None
        True
    """
    path = Path(path)
    for pattern, rule, above in MAKERS:
        if path.match(pattern.as_posix()):
            return rule, path if above == 0 else path.parents[above - 1]
    return None


def again(path: Path | str) -> str:
    """What to do to have a damaged file of a study made again."""
    path = Path(path)
    store = Layout(Path()).store
    if path.match((store / "*").as_posix()) or path.match((store / "references" / "*").as_posix()):
        return "delete it and run `snakemake`: its fits are trained again"
    made = maker(path)
    if made is None:
        return "delete it and run again"
    rule, output = made
    which = "it" if output == path else f"the folder {output}"
    # Snakemake makes nothing again that no target lacks: what is asked for by name is made.
    asked = f"snakemake -- {shlex.quote(str(output))}"
    return f"delete {which}; rule `{rule}` makes it again: `{asked}`, then `snakemake`"
