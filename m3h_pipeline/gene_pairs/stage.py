"""The verb ``gene-pairs``: what the final models of a task say about pairs of genes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from m3h_pipeline.coding import time_and_event
from m3h_pipeline.config import GenePairs, Modality
from m3h_pipeline.contracts import SELECTION, combination_tasks
from m3h_pipeline.contracts.gene_pairs import GENE_HEADS, GENE_IMPORTANCE, GENE_PAIRS, GENE_SETS
from m3h_pipeline.disclosure import LEAST
from m3h_pipeline.errors import ConfigError, InputError, nearest
from m3h_pipeline.evaluation.arms import final_fits
from m3h_pipeline.files import read_table, write_table
from m3h_pipeline.gene_pairs.attention import Attention, Difference, compare, read_attention
from m3h_pipeline.gene_pairs.function import Effects, effects, output_of
from m3h_pipeline.gene_pairs.graphs import over_represented, write_graphml
from m3h_pipeline.inference.resampled import TEST
from m3h_pipeline.layout import GenePairFiles
from m3h_pipeline.model.transcriptome import Transcriptome
from m3h_pipeline.progress import Progress
from m3h_pipeline.training.data import StudyData, load_study_data
from m3h_pipeline.training.fitted import FittedModel, load_model

BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Sources:
    """Where the results of a study lie.

    Attributes:
        cohort: folder of the cohort.
        labels: folder of the labels.
        split: the split file.
        selection: table of contracts.SELECTION.
        scores: tables of contracts.SCORES of the final fits.
        models: folders with ``<fit_key>.safetensors`` of the final fits.
    """

    cohort: Path
    labels: Path
    split: Path
    selection: Path
    scores: Sequence[Path]
    models: Sequence[Path]


def find_gene_pairs(
    task: str,
    sources: Sources,
    modalities: Mapping[str, Modality],
    settings: GenePairs,
    seed: int,
    out: Path,
    screen: TextIO,
) -> None:
    """Write pairs, importance, heads, network and gene sets of a task's final models.

    All replicates of the selected combination are read, on samples of the test part, which they never saw.

    Args:
        task: whose models.
        sources: where the study's results lie.
        modalities: modality -> its sources and encoder.
        settings: section ``gene_pairs``.
        seed: of permutations and of the drawn samples.
        out: folder for ``pairs.parquet``, ``genes.parquet``, ``heads.parquet``, ``network.graphml`` and,
            where gene sets are given, ``gene_sets.parquet``.
        screen: where to report.

    Raises:
        ConfigError: not just one modality has a transcriptome encoder, or the groups cannot be told apart.
        InputError: a file is absent, or a group has fewer than :data:`LEAST` patients.
    """
    name = _modality(modalities)
    extra = [settings.groups or task, *([settings.within.task] if settings.within else [])]
    data = load_study_data(
        sources.cohort,
        sources.labels,
        sources.split,
        list(dict.fromkeys([task, *extra])),
        {key: _without_vectors(value) for key, value in modalities.items()},
    )
    models = _models(task, sources)
    rows = _stratum(data, settings)
    group, compared = _groups(task, data, rows, settings)
    first = models[0]
    item = next(i for i in first.network.architecture.inputs if i.name == name)
    genes = list(item.genes)
    asked = _drawn(rows, settings.samples, seed)
    attention, found = [], []
    steps = len(models) * (len(genes) + len(rows))
    with Progress("genes and samples", steps, stream=screen) as bar:
        for model in models:
            part = _columns(model, name)
            raw = {key: values[rows] for key, values in data.features.items()}
            x = model.standardise(raw)
            encoder = cast(Transcriptome, model.network.encoders[name])
            attention.append(read_attention(encoder, x[:, part], advance=bar.advance))
            model.network.double()
            exact = x.double()
            places = np.searchsorted(rows, asked)
            step, present = exact[:, part].std(0), model.present(raw)[:, places]
            found.append(effects(output_of(model, task), exact[places], part, step, bar.advance, present))
    pairs_of_samples = np.mean([one.pairs for one in attention], axis=0)
    difference = None
    if compared is not None:
        difference = compare(pairs_of_samples[compared], group[compared], settings.permutations, seed)
    table = pairs_table(genes, found, pairs_of_samples.mean(0), difference, settings.fdr)
    top = top_pairs(table, settings.top)
    out.mkdir(parents=True, exist_ok=True)
    files = GenePairFiles(out)
    importance = np.mean([one.importance for one in found], axis=0)
    order = np.argsort(-importance, kind="stable")
    columns = [pa.array([genes[i] for i in order]), pa.array(importance[order])]
    write_table(pa.Table.from_arrays(columns, schema=GENE_IMPORTANCE), files.genes, GENE_IMPORTANCE)
    write_table(heads_table(genes, attention, top), files.heads, GENE_HEADS)
    strength = dict(zip(genes, importance.tolist(), strict=True))
    write_graphml(top, strength, files.network)
    if settings.gene_sets is not None:
        members = sorted({row[key] for row in top.to_pylist() for key in ("gene_a", "gene_b")})
        write_table(over_represented(members, genes, settings.gene_sets), files.gene_sets, GENE_SETS)
    write_table(table, files.pairs, GENE_PAIRS)
    calls = (
        "no groups" if difference is None else f"{int(difference.called(settings.fdr).sum()):,} pairs differ"
    )
    screen.write(f"{task}: {len(table):,} pairs of {len(genes):,} genes, {len(models)} models; {calls}\n")


def _modality(modalities: Mapping[str, Modality]) -> str:
    names = [name for name, modality in modalities.items() if modality.options is not None]
    if len(names) != 1:
        raise ConfigError(
            f"{len(names) or 'no'} modalities have a transcriptome encoder; interactions are those of one",
            where="gene_pairs",
        )
    return names[0]


def _without_vectors(modality: Modality) -> Modality:
    """Models are finished: where their genes started from is of no matter; what is missing they find."""
    modality = modality.model_copy(update={"indicators": False})
    if modality.options is None or modality.options.genes is None:
        return modality
    options = modality.options.model_copy(update={"genes": None})
    return modality.model_copy(update={"transcriptome": options})


def _models(task: str, sources: Sources) -> list[FittedModel]:
    rows = {row["task"]: row for row in read_table(sources.selection, SELECTION).to_pylist()}
    if task not in rows:
        raise InputError(
            f"no model of `{task}` was selected",
            where=str(sources.selection),
            hint=nearest(task, rows) + "; a task may have been dropped as unevaluable (labels/tasks.json)",
        )
    row = rows[task]
    fits = final_fits(sources.scores)
    place = row["combination"], (row["batch_size"], row["learning_rate"])
    whole = fits.get(place, {}).get(TEST, {})
    keys = [key for _, (key, status) in sorted(whole.items()) if status == "ok"]
    files = {path.stem: path for folder in sources.models for path in Path(folder).glob("*.safetensors")}
    if not keys or any(key not in files for key in keys):
        raise InputError(
            f"the final models of {' and '.join(combination_tasks(row['combination']))} are missing",
            where=", ".join(str(folder) for folder in sources.models),
            hint="run the stage of the final fits",
        )
    return [load_model(files[key]) for key in keys]


def _columns(model: FittedModel, name: str) -> slice:
    """The columns of a modality in a model's input."""
    start = 0
    for item in model.network.architecture.inputs:
        if item.name == name:
            return slice(start, start + item.features)
        start += item.features
    raise ConfigError("the model does not take it", where=f"modality {name}")


def _stratum(data: StudyData, settings: GenePairs) -> IntArray:
    """Test samples that are looked at."""
    rows = data.scored_rows(-1)
    if settings.within is None:
        return rows
    task, value = settings.within.task, settings.within.value
    classes = [str(c) for c in data.tasks[task].get("classes") or ["0", "1"]]
    if data.tasks[task]["problem_class"] not in ("binary", "multiclass") or value not in classes:
        raise ConfigError(
            f"`{value}` is no class of `{task}`",
            where="gene_pairs.within",
            hint=nearest(value, classes),
        )
    rows = np.flatnonzero(~data.train & (data.labels[task] == classes.index(value)))
    if len(np.unique(data.patients[rows])) < LEAST:
        raise InputError(
            f"fewer than {LEAST} test patients are of class `{value}`", where="gene_pairs.within"
        )
    return rows


def _groups(
    task: str, data: StudyData, rows: IntArray, settings: GenePairs
) -> tuple[BoolArray, IntArray | None]:
    """Membership of the group, and the samples that are compared (places in ``rows``) if there are any."""
    by = settings.groups or task
    kind, labels = data.tasks[by]["problem_class"], data.labels[by][rows]
    if kind == "binary":
        group, known = labels == 1, ~np.isnan(labels)
    elif kind == "survival" and settings.horizon is not None:
        time, event = time_and_event(labels)
        group = event & (time <= settings.horizon)
        known = group | (time > settings.horizon)
    else:
        if settings.groups is not None:
            needed = "needs a `horizon`" if kind == "survival" else "is no binary or survival task"
            raise ConfigError(f"`{by}` {needed}", where="gene_pairs.groups")
        return np.zeros(len(rows), dtype=bool), None
    compared = np.flatnonzero(known)
    sizes = [len(np.unique(data.patients[rows[compared[group[compared] == side]]])) for side in (True, False)]
    if min(sizes) < LEAST:
        if settings.groups is not None:
            raise InputError(
                f"fewer than {LEAST} test patients are in one of the groups of `{by}`",
                where="gene_pairs.groups",
            )
        return group, None
    return group, compared


def _drawn(rows: IntArray, most: int, seed: int) -> IntArray:
    if len(rows) <= most:
        return rows
    rng = np.random.Generator(np.random.Philox(seed))
    return rows[np.sort(rng.choice(len(rows), most, replace=False))]


def pairs_table(
    genes: Sequence[str],
    found: Sequence[Effects],
    attention: npt.NDArray[np.floating],
    difference: Difference | None,
    fdr: float,
) -> pa.Table:
    """One row per pair (contracts.GENE_PAIRS), genes of a pair and pairs sorted by name.

    Args:
        genes: (G,) names.
        found: effects of each replicate.
        attention: (P,) mean attention of each pair.
        difference: between groups, or None.
        fdr: of the calls.
    """
    above = np.triu_indices(len(genes), 1)
    signed = np.mean([one.signed for one in found], axis=0)[:, above[0], above[1]]
    magnitude = np.mean([one.magnitude for one in found], axis=0)[:, above[0], above[1]]
    most = magnitude.argmax(0)[None]
    n = len(above[0])
    nothing = pa.nulls(n, pa.float64())
    compared = (
        [nothing] * 4 + [pa.nulls(n, pa.bool_())]
        if difference is None
        else [
            *(pa.array(part) for part in (difference.difference, difference.statistic)),
            *(pa.array(part) for part in (difference.p, difference.q, difference.called(fdr))),
        ]
    )
    names = np.array(genes, dtype=object)
    a, b = names[above[0]], names[above[1]]
    swap = a > b
    a, b = np.where(swap, b, a), np.where(swap, a, b)
    columns = [
        pa.array(a, pa.string()),
        pa.array(b, pa.string()),
        pa.array(np.take_along_axis(signed, most, 0)[0]),
        pa.array(np.take_along_axis(magnitude, most, 0)[0]),
        pa.array(attention.astype(np.float64)),
        *compared,
    ]
    table = pa.Table.from_arrays(columns, schema=GENE_PAIRS)
    return table.sort_by([("gene_a", "ascending"), ("gene_b", "ascending")])


def top_pairs(table: pa.Table, count: int) -> pa.Table:
    """The pairs with the strongest interactions (:data:`MEASURE`), strongest first."""
    size = np.abs(table.column(MEASURE).to_numpy())
    order = np.lexsort([np.arange(len(size)), -size])[:count]
    return table.take(pa.array(order))


#: The measure that finds planted pairs best (docs/gene_pairs.md) and that networks and figures show.
MEASURE = "effect"


def heads_table(genes: Sequence[str], attention: Sequence[Attention], top: pa.Table) -> pa.Table:
    """Attention of the top pairs in every head, as a multiple of even attention (contracts.GENE_HEADS)."""
    mean = np.mean([one.heads for one in attention], axis=0)
    number = {gene: i for i, gene in enumerate(genes)}
    rows = []
    for pair in top.select(["gene_a", "gene_b"]).to_pylist():
        i, j = number[pair["gene_a"]], number[pair["gene_b"]]
        both = (mean[:, :, i, j] + mean[:, :, j, i]) / 2 * len(genes)
        rows += [
            {"layer": layer, "head": head, **pair, "ratio": float(both[layer, head])}
            for layer in range(both.shape[0])
            for head in range(both.shape[1])
        ]
    return pa.Table.from_pylist(rows, schema=GENE_HEADS)
