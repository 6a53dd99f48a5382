"""The data contracts: Arrow schemas of every file of a study, checked at each read and each write.

A file is written under a temporary name beside its destination and renamed, so that a reader never meets a
half-written one. Unknown columns are an error.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from m3h_pipeline.errors import ContractError, InputError

Float32Array = npt.NDArray[np.float32]

#: Times at which survival curves are recorded.
SURVIVAL_TIMES = 32

#: One row per fit and member task.
SCORES = pa.schema(
    [
        pa.field("fit_key", pa.string(), nullable=False),
        pa.field("combination", pa.string(), nullable=False),
        pa.field("task", pa.string(), nullable=False),
        pa.field("replicate", pa.int16(), nullable=False),
        pa.field("fold", pa.int16(), nullable=False),
        pa.field("batch_size", pa.int32(), nullable=False),
        pa.field("learning_rate", pa.float64(), nullable=False),
        pa.field("metric", pa.string(), nullable=False),
        pa.field("value", pa.float64()),
        pa.field("n_scored", pa.int32(), nullable=False),
        pa.field("epochs", pa.int32(), nullable=False),
        pa.field("status", pa.string(), nullable=False),
        pa.field("seconds", pa.float64(), nullable=False),
    ]
)

#: Predictions for the scored rows of a fit, in the row order of the cohort restricted to the scored part.
#: ``width`` numbers a row: binary 1 (probability), multiclass C (probabilities), regression 1 (in the
#: unit of the label), clustering 2 (cluster, silhouette of the sample), survival 1 + ``SURVIVAL_TIMES``
#: (risk: the larger, the sooner the event; then the probability of no event until each time of the task's
#: grid, see ``m3h_pipeline.survival.time_grid``). ``prediction`` is row-major.
PREDICTIONS = pa.schema(
    [
        pa.field("fit_key", pa.string(), nullable=False),
        pa.field("task", pa.string(), nullable=False),
        pa.field("width", pa.int16(), nullable=False),
        pa.field("prediction", pa.list_(pa.float32()), nullable=False),
    ]
)

#: Row-aligned with ``samples``: the part (train/test) and the fold (0..k-1 in train, -1 in test).
SPLIT = pa.schema(
    [
        pa.field("sample_id", pa.string(), nullable=False),
        pa.field("part", pa.string(), nullable=False),
        pa.field("fold", pa.int16(), nullable=False),
    ]
)

#: The diagnosis codes of a stay's hospital admission, without dots; the title is empty if unknown.
DIAGNOSES = pa.schema(
    [
        pa.field("patient_id", pa.string(), nullable=False),
        pa.field("stay_id", pa.string(), nullable=False),
        pa.field("icd_code", pa.string(), nullable=False),
        pa.field("icd_version", pa.int8(), nullable=False),
        pa.field("long_title", pa.string(), nullable=False),
    ]
)

#: One task's labels, row-aligned with ``samples``; NaN = not observed. A multiclass label is the class index.
LABELS = pa.schema([pa.field("y", pa.float32(), nullable=False)])

#: Labels of a survival task: ``y`` is 1 for an observed event and 0 for a censored time, ``time`` when that
#: was, in the unit of the description; both are NaN where either is not observed.
SURVIVAL_LABELS = pa.schema(
    [pa.field("y", pa.float32(), nullable=False), pa.field("time", pa.float32(), nullable=False)]
)

#: The best combination of each task, and its single-task control (``score``: mean over folds and replicates).
SELECTION = pa.schema(
    [
        pa.field("task", pa.string(), nullable=False),
        pa.field("problem_class", pa.string(), nullable=False),
        pa.field("metric", pa.string(), nullable=False),
        pa.field("combination", pa.string(), nullable=False),
        pa.field("size", pa.int16(), nullable=False),
        pa.field("batch_size", pa.int32(), nullable=False),
        pa.field("learning_rate", pa.float64(), nullable=False),
        pa.field("score", pa.float64(), nullable=False),
        pa.field("single_batch_size", pa.int32(), nullable=False),
        pa.field("single_learning_rate", pa.float64(), nullable=False),
        pa.field("single_score", pa.float64(), nullable=False),
    ]
)

#: Every combination a source task looked at: its round, score, and whether the beam kept it.
TRAJECTORY = pa.schema(
    [
        pa.field("task", pa.string(), nullable=False),
        pa.field("round", pa.int16(), nullable=False),
        pa.field("combination", pa.string(), nullable=False),
        pa.field("score", pa.float64()),
        pa.field("kept", pa.bool_(), nullable=False),
    ]
)

#: TIM(task, companion): how much learning ``companion`` too changes the score of ``task``.
TIM = pa.schema(
    [
        pa.field("task", pa.string(), nullable=False),
        pa.field("companion", pa.string(), nullable=False),
        pa.field("estimate", pa.float64(), nullable=False),
        pa.field("low", pa.float64(), nullable=False),
        pa.field("high", pa.float64(), nullable=False),
        pa.field("p", pa.float64(), nullable=False),
        pa.field("q", pa.float64(), nullable=False),
        pa.field("significant", pa.bool_(), nullable=False),
        pa.field("n_differences", pa.int32(), nullable=False),
        pa.field("mode", pa.string(), nullable=False),
    ]
)

#: Test part, one row per task: the selected multitask model against the single-task model.
EVALUATION = pa.schema(
    [
        pa.field("task", pa.string(), nullable=False),
        pa.field("title", pa.string(), nullable=False),
        pa.field("department", pa.string(), nullable=False),
        pa.field("problem_class", pa.string(), nullable=False),
        pa.field("metric", pa.string(), nullable=False),
        pa.field("combination", pa.string(), nullable=False),
        pa.field("single", pa.float64(), nullable=False),
        pa.field("single_low", pa.float64(), nullable=False),
        pa.field("single_high", pa.float64(), nullable=False),
        pa.field("multi", pa.float64(), nullable=False),
        pa.field("multi_low", pa.float64(), nullable=False),
        pa.field("multi_high", pa.float64(), nullable=False),
        pa.field("difference", pa.float64(), nullable=False),
        pa.field("difference_low", pa.float64(), nullable=False),
        pa.field("difference_high", pa.float64(), nullable=False),
        pa.field("relative", pa.float64(), nullable=False),
        pa.field("relative_low", pa.float64(), nullable=False),
        pa.field("relative_high", pa.float64(), nullable=False),
        pa.field("p", pa.float64(), nullable=False),
        pa.field("q", pa.float64(), nullable=False),
        pa.field("n_samples", pa.int32(), nullable=False),
        pa.field("n_patients", pa.int32(), nullable=False),
    ]
)

#: Every model beside every other: ``model`` is multi, single, linear or gradient_boosting; ``part`` is
#: validation (out of fold) or test.
COMPARISON = pa.schema(
    [
        pa.field("task", pa.string(), nullable=False),
        pa.field("model", pa.string(), nullable=False),
        pa.field("part", pa.string(), nullable=False),
        pa.field("metric", pa.string(), nullable=False),
        pa.field("value", pa.float64()),
        pa.field("low", pa.float64()),
        pa.field("high", pa.float64()),
    ]
)

#: Networks compared (section ``variants``), beside the references: ``network`` is a network's name, linear or
#: gradient_boosting; ``learned`` is alone (each task by itself), together (all tasks) or reference; ``part``
#: as in ``COMPARISON``. ``value``: metric of the mean prediction of all ``replicates`` (0: a model without
#: seeds), out of fold the mean over folds. ``one_seed`` and ``deviation``: mean and deviation of the scores
#: of single replicates. ``difference``: less the linear reference, or less the study's own network of the
#: task alone where the task has none; null of that model itself.
VARIANTS = pa.schema(
    [
        pa.field("task", pa.string(), nullable=False),
        pa.field("network", pa.string(), nullable=False),
        pa.field("learned", pa.string(), nullable=False),
        pa.field("part", pa.string(), nullable=False),
        pa.field("metric", pa.string(), nullable=False),
        pa.field("replicates", pa.int16(), nullable=False),
        pa.field("value", pa.float64()),
        pa.field("low", pa.float64()),
        pa.field("high", pa.float64()),
        pa.field("one_seed", pa.float64()),
        pa.field("deviation", pa.float64()),
        pa.field("difference", pa.float64()),
        pa.field("difference_low", pa.float64()),
        pa.field("difference_high", pa.float64()),
    ]
)

#: Observed event rate by predicted-risk quantile (Figure 4a). ``subgroup`` is "all" or a group's name.
CALIBRATION = pa.schema(
    [
        pa.field("task", pa.string(), nullable=False),
        pa.field("model", pa.string(), nullable=False),
        pa.field("subgroup", pa.string(), nullable=False),
        pa.field("quantile", pa.int16(), nullable=False),
        pa.field("predicted", pa.float64(), nullable=False),
        pa.field("observed", pa.float64(), nullable=False),
        pa.field("low", pa.float64(), nullable=False),
        pa.field("high", pa.float64(), nullable=False),
        pa.field("n", pa.int32(), nullable=False),
    ]
)

#: One-vs-rest ROC curves on a grid of false positive rates (Figure 4b).
ROC = pa.schema(
    [
        pa.field("task", pa.string(), nullable=False),
        pa.field("model", pa.string(), nullable=False),
        pa.field("class_name", pa.string(), nullable=False),
        pa.field("fpr", pa.float64(), nullable=False),
        pa.field("tpr", pa.float64(), nullable=False),
        pa.field("auroc", pa.float64(), nullable=False),
    ]
)

#: Predicted against observed values of regression tasks as counts on a grid of cells (Figure 4c), cell
#: edges in the label's unit.
AGREEMENT = pa.schema(
    [
        pa.field("task", pa.string(), nullable=False),
        pa.field("model", pa.string(), nullable=False),
        pa.field("observed_low", pa.float64(), nullable=False),
        pa.field("observed_high", pa.float64(), nullable=False),
        pa.field("predicted_low", pa.float64(), nullable=False),
        pa.field("predicted_high", pa.float64(), nullable=False),
        pa.field("n", pa.int32(), nullable=False),
    ]
)

#: Survival tasks on the test part beyond the concordance: ``score`` is uno (concordance weighted by the
#: inverse probability of censoring), brier (integrated over the grid's times; the smaller the better) or
#: dynamic_auroc (mean over these times). ``model`` is as in ``COMPARISON``, or kaplan_meier: the training
#: part's curve for all.
SURVIVAL = pa.schema(
    [
        pa.field("task", pa.string(), nullable=False),
        pa.field("model", pa.string(), nullable=False),
        pa.field("score", pa.string(), nullable=False),
        pa.field("value", pa.float64()),
        pa.field("low", pa.float64()),
        pa.field("high", pa.float64()),
        pa.field("n", pa.int32(), nullable=False),
        pa.field("events", pa.int32(), nullable=False),
    ]
)

#: Kaplan-Meier curves of the test part by third of the predicted risk, at evenly spaced times. ``n`` and
#: ``events`` are the group's; ``p`` is of the log-rank test between the groups.
KAPLAN_MEIER = pa.schema(
    [
        pa.field("task", pa.string(), nullable=False),
        pa.field("model", pa.string(), nullable=False),
        pa.field("group", pa.string(), nullable=False),
        pa.field("time", pa.float64(), nullable=False),
        pa.field("survival", pa.float64(), nullable=False),
        pa.field("low", pa.float64(), nullable=False),
        pa.field("high", pa.float64(), nullable=False),
        pa.field("at_risk", pa.int32(), nullable=False),
        pa.field("n", pa.int32(), nullable=False),
        pa.field("events", pa.int32(), nullable=False),
        pa.field("p", pa.float64(), nullable=False),
    ]
)

#: AUROC of the predicted risk for an event until each time against none until then (cumulative / dynamic).
DYNAMIC_AUROC = pa.schema(
    [
        pa.field("task", pa.string(), nullable=False),
        pa.field("model", pa.string(), nullable=False),
        pa.field("time", pa.float64(), nullable=False),
        pa.field("auroc", pa.float64(), nullable=False),
        pa.field("low", pa.float64(), nullable=False),
        pa.field("high", pa.float64(), nullable=False),
    ]
)

#: UMAP of the phenotypes' latents, binned (Figure 4d): the cluster most samples of a cell belong to.
PHENOTYPES = pa.schema(
    [
        pa.field("task", pa.string(), nullable=False),
        pa.field("model", pa.string(), nullable=False),
        pa.field("x", pa.float64(), nullable=False),
        pa.field("y", pa.float64(), nullable=False),
        pa.field("cluster", pa.int16(), nullable=False),
        pa.field("n", pa.int32(), nullable=False),
        pa.field("silhouette", pa.float64(), nullable=False),
    ]
)

#: Mean cross-task attention of the final models: the row of ``task`` within its selected combination.
ATTENTION = pa.schema(
    [
        pa.field("task", pa.string(), nullable=False),
        pa.field("companion", pa.string(), nullable=False),
        pa.field("weight", pa.float64(), nullable=False),
    ]
)

#: Files of final fits: mean attention within every final combination, over the test samples.
FIT_ATTENTION = pa.schema(
    [
        pa.field("fit_key", pa.string(), nullable=False),
        pa.field("combination", pa.string(), nullable=False),
        pa.field("replicate", pa.int16(), nullable=False),
        pa.field("task", pa.string(), nullable=False),
        pa.field("companion", pa.string(), nullable=False),
        pa.field("weight", pa.float64(), nullable=False),
    ]
)

#: ``genes/<modality>.parquet``: the vectors that genes start from; ``fold`` is null where all folds share
#: them, -1 of final fits.
GENE_EMBEDDINGS = pa.schema(
    [
        pa.field("fold", pa.int16()),
        pa.field("gene", pa.string(), nullable=False),
        pa.field("vector", pa.list_(pa.float32()), nullable=False),
    ]
)

#: ``interactions/<task>/pairs.parquet``: every pair of genes. ``effect`` and ``magnitude`` are mixed
#: differences of the task's output (mean, and mean magnitude, over samples; of the class with the largest
#: ``magnitude``); ``attention`` is the mean over layers, heads and directions; the rest compares two groups
#: of patients and is null where there are none.
GENE_PAIRS = pa.schema(
    [
        pa.field("gene_a", pa.string(), nullable=False),
        pa.field("gene_b", pa.string(), nullable=False),
        pa.field("effect", pa.float64(), nullable=False),
        pa.field("magnitude", pa.float64(), nullable=False),
        pa.field("attention", pa.float64(), nullable=False),
        pa.field("difference", pa.float64()),
        pa.field("statistic", pa.float64()),
        pa.field("p", pa.float64()),
        pa.field("q", pa.float64()),
        pa.field("called", pa.bool_()),
    ]
)

#: ``interactions/<task>/genes.parquet``: mean magnitude of the effect of one deviation of each gene.
GENE_IMPORTANCE = pa.schema(
    [
        pa.field("gene", pa.string(), nullable=False),
        pa.field("importance", pa.float64(), nullable=False),
    ]
)

#: ``interactions/<task>/heads.parquet``: attention of the top pairs, both directions together, in every head,
#: as a multiple of what even attention would give.
GENE_HEADS = pa.schema(
    [
        pa.field("layer", pa.int16(), nullable=False),
        pa.field("head", pa.int16(), nullable=False),
        pa.field("gene_a", pa.string(), nullable=False),
        pa.field("gene_b", pa.string(), nullable=False),
        pa.field("ratio", pa.float64(), nullable=False),
    ]
)

#: ``interactions/<task>/gene_sets.parquet``: over-representation of gene sets among the top pairs' genes.
GENE_SETS = pa.schema(
    [
        pa.field("gene_set", pa.string(), nullable=False),
        pa.field("overlap", pa.int32(), nullable=False),
        pa.field("size", pa.int32(), nullable=False),
        pa.field("p", pa.float64(), nullable=False),
        pa.field("q", pa.float64(), nullable=False),
        pa.field("genes", pa.string(), nullable=False),
    ]
)

#: Files of final fits: latents of clustering tasks for the test samples, (n_test, width) row-major.
LATENTS = pa.schema(
    [
        pa.field("fit_key", pa.string(), nullable=False),
        pa.field("combination", pa.string(), nullable=False),
        pa.field("replicate", pa.int16(), nullable=False),
        pa.field("task", pa.string(), nullable=False),
        pa.field("width", pa.int16(), nullable=False),
        pa.field("latent", pa.list_(pa.float32()), nullable=False),
    ]
)

#: Predictions of the references (linear, gradient boosting) for one task: fold 0..k-1 out of fold, fold -1
#: for the test part; rows and width as in ``PREDICTIONS``. ``setting`` says what was chosen ("C=0.01").
BASELINE_PREDICTIONS = pa.schema(
    [
        pa.field("task", pa.string(), nullable=False),
        pa.field("model", pa.string(), nullable=False),
        pa.field("setting", pa.string(), nullable=False),
        pa.field("fold", pa.int16(), nullable=False),
        pa.field("width", pa.int16(), nullable=False),
        pa.field("prediction", pa.list_(pa.float32()), nullable=False),
    ]
)

#: How much of a selected combination's validation score is luck of the search (BBC-CV, Tsamardinos 2018):
#: ``corrected`` is the mean out-of-bag score of the combination that wins in the bag, with its 95 % interval;
#: ``chosen`` is the share of the draws in which the combination that was selected wins again.
OPTIMISM = pa.schema(
    [
        pa.field("task", pa.string(), nullable=False),
        pa.field("metric", pa.string(), nullable=False),
        pa.field("combination", pa.string(), nullable=False),
        pa.field("selected", pa.float64(), nullable=False),
        pa.field("corrected", pa.float64(), nullable=False),
        pa.field("low", pa.float64(), nullable=False),
        pa.field("high", pa.float64(), nullable=False),
        pa.field("chosen", pa.float64(), nullable=False),
        pa.field("n_combinations", pa.int32(), nullable=False),
    ]
)

#: The metric of a problem class.
METRICS = {
    "binary": "auroc",
    "multiclass": "macro_auroc",
    "regression": "r2",
    "clustering": "silhouette",
    "survival": "concordance",
}


def prediction_width(problem_class: str, classes: int) -> int:
    """Numbers per row of a prediction, see ``PREDICTIONS``."""
    return {"multiclass": classes, "clustering": 2, "survival": 1 + SURVIVAL_TIMES}.get(problem_class, 1)


def combination_key(tasks: Iterable[str]) -> str:
    """The key of a combination; it ignores order.

    Examples:
        >>> combination_key(["sepsis", "anemia"])
        'anemia+sepsis'
    """
    return "+".join(sorted(tasks))


def combination_tasks(key: str) -> tuple[str, ...]:
    """The tasks of a combination's key, sorted."""
    return tuple(key.split("+"))


_SAMPLE_FIELDS = {"sample_id": pa.string(), "patient_id": pa.string(), "stay_id": pa.string()}


def check_schema(table: pa.Table, schema: pa.Schema, where: str) -> pa.Table:
    """Return ``table`` if it has exactly the columns and types of ``schema``, in that order.

    Raises:
        ContractError: a column is missing, unknown, of another type, or holds nulls it may not hold.
    """
    have, want = set(table.column_names), set(schema.names)
    if missing := sorted(want - have):
        raise ContractError(f"column(s) missing: {', '.join(missing)}", where=where)
    if unknown := sorted(have - want):
        raise ContractError(f"unknown column(s): {', '.join(unknown)}", where=where)
    for field in schema:
        column = table.column(field.name)
        if column.type != field.type:
            raise ContractError(f"column `{field.name}` is {column.type}, not {field.type}", where=where)
        if not field.nullable and column.null_count:
            raise ContractError(f"column `{field.name}` has {column.null_count} empty values", where=where)
    return table.select(schema.names)


def samples_schema(subgroups: Mapping[str, Any] | list[str]) -> pa.Schema:
    """Schema of ``cohort/samples.parquet`` with the given subgroup columns."""
    fields = [
        pa.field("sample_id", pa.string(), nullable=False),
        pa.field("patient_id", pa.string(), nullable=False),
        pa.field("stay_id", pa.string()),
    ]
    fields += [pa.field(name, pa.dictionary(pa.int32(), pa.string())) for name in subgroups]
    return pa.schema(fields)


@contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` that takes its place when the block ends without an error.

    Raises:
        InputError: the disk is full or the folder cannot be written; nothing is left behind.
    """
    target = Path(path)
    temporary: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".part")
        os.close(handle)
        temporary = Path(name)
        yield temporary
        # mkstemp makes private files; results are shared with the group as the user's umask says.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(target)
    except OSError as error:
        raise InputError(
            f"cannot write: {error.strerror or error}",
            where=str(target),
            hint="check the free space and the permissions of the folder",
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_table(table: pa.Table, path: Path | str, schema: pa.Schema | None = None, **options: Any) -> None:
    """Write a Parquet file whole or not at all, checked against ``schema`` if one is given."""
    if schema is not None:
        table = check_schema(table, schema, str(path))
    with replacing(path) as temporary:
        pq.write_table(table, temporary, compression="zstd", **options)


def read_table(
    path: Path | str, schema: pa.Schema | None = None, columns: list[str] | None = None
) -> pa.Table:
    """Read a Parquet file, checked against ``schema`` if one is given; then keep ``columns``.

    Raises:
        InputError: the file is absent or no Parquet file.
        ContractError: the file does not follow the schema.
    """
    try:
        table = pq.read_table(path, memory_map=True)
    except FileNotFoundError as error:
        raise InputError(
            "the file does not exist", where=str(path), hint="run the stage that makes it"
        ) from error
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(
            f"this is no readable Parquet file: {error}", where=str(path), hint="delete it and run again"
        ) from error
    if schema is not None:
        table = check_schema(table, schema, str(path))
    return table if columns is None else table.select(columns)


def write_json(value: Any, path: Path | str) -> None:
    """Write JSON with sorted keys, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


def read_json(path: Path | str) -> Any:
    """Read JSON.

    Raises:
        InputError: the file is absent or no JSON.
    """
    try:
        return json.loads(Path(path).read_text())
    except FileNotFoundError as error:
        raise InputError(
            "the file does not exist", where=str(path), hint="run the stage that makes it"
        ) from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"this is no JSON file: {error}", where=str(path)) from error


def read_samples(path: Path | str) -> pa.Table:
    """Read ``cohort/samples.parquet``: the three identifiers, then any number of subgroup dictionaries.

    Raises:
        ContractError: an identifier is missing, a subgroup is no dictionary, or rows are not sorted.
    """
    table = read_table(path)
    subgroups = [name for name in table.column_names if name not in _SAMPLE_FIELDS]
    table = check_schema(table, samples_schema(subgroups), str(path))
    ids = table.column("sample_id").to_numpy()
    if len(ids) > 1 and not bool(np.all(ids[:-1] < ids[1:])):
        raise ContractError("`sample_id` is not sorted, or not unique", where=str(path))
    return table


def features_schema(names: list[str], units: list[str] | None = None) -> pa.Schema:
    """Schema of a feature file of ``D`` named features."""
    metadata = {"names": json.dumps(names), "units": json.dumps(units or [""] * len(names))}
    kind = pa.list_(pa.float32(), len(names))
    return pa.schema([pa.field("x", kind, nullable=False)], metadata=metadata)


def write_features(
    x: Float32Array, names: list[str], path: Path | str, units: list[str] | None = None
) -> None:
    """Write one source's features, ``x`` of shape (n, D), as one fixed-size list column."""
    n, width = x.shape
    if len(names) != width:
        raise ContractError(f"{len(names)} feature names for {width} columns", where=str(path))
    flat = pa.array(np.ascontiguousarray(x, dtype=np.float32).reshape(-1))
    column = pa.FixedSizeListArray.from_arrays(flat, width)
    metadata = {"names": json.dumps(names), "units": json.dumps(units or [""] * width)}
    schema = pa.schema([pa.field("x", column.type, nullable=False)], metadata=metadata)
    write_table(pa.Table.from_arrays([column], schema=schema), path, row_group_size=max(1, min(n, 65536)))


def read_features(path: Path | str) -> tuple[Float32Array, list[str]]:
    """Read one source's features.

    Shape:
        (n, D) contiguous float32, NaN = missing; and the D feature names.
    """
    table = read_table(path)
    if table.column_names != ["x"] or not pa.types.is_fixed_size_list(table.schema.field("x").type):
        raise ContractError("a feature file holds one fixed-size list column `x`", where=str(path))
    kind = table.schema.field("x").type
    if kind.value_type != pa.float32():
        raise ContractError(f"features are {kind.value_type}, not float32", where=str(path))
    column = table.column("x").combine_chunks()
    if isinstance(column, pa.ChunkedArray):
        column = column.chunk(0) if column.num_chunks else pa.array([], type=kind)
    x = np.asarray(column.flatten().to_numpy(zero_copy_only=False), dtype=np.float32)
    metadata = table.schema.metadata or {}
    names = json.loads(metadata.get(b"names", b"[]"))
    return np.ascontiguousarray(x.reshape(len(column), kind.list_size)), names


def signed_time(time: npt.ArrayLike, event: npt.ArrayLike) -> Float32Array:
    """Times to an event as one number a row: negative (-0.0 included) where the time is censored.

    So survival labels travel as those of all other tasks do. NaN where the time or whether there was an event
    (``event`` NaN) is not known.

    Examples:
        >>> signed_time([3.0, 2.0, 0.0, 1.0], [1, 0, 0, np.nan]).tolist()
        [3.0, -2.0, -0.0, nan]
    """
    t, happened = np.asarray(time, dtype=np.float32), np.asarray(event, dtype=np.float32)
    return np.where(np.isnan(t) | np.isnan(happened), np.float32(np.nan), np.where(happened == 1, t, -t))


def time_and_event(y: npt.NDArray[Any]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """The inverse of :func:`signed_time`: times (NaN = not observed), and where an event was observed."""
    return np.abs(y.astype(np.float64)), ~np.signbit(y) & ~np.isnan(y)


def write_labels(y: Float32Array, path: Path | str, metadata: Mapping[str, Any]) -> None:
    """Write one task's labels, ``y`` of shape (n,), with the task's description in the schema metadata.

    Labels of a survival task are given as by :func:`signed_time`, and written as ``SURVIVAL_LABELS``.
    """
    described = {"task": json.dumps(dict(metadata), sort_keys=True)}
    if metadata.get("problem_class") != "survival":
        schema = LABELS.with_metadata(described)
        write_table(pa.Table.from_arrays([pa.array(y, type=pa.float32())], schema=schema), path)
        return
    time, event = time_and_event(np.asarray(y))
    observed = np.where(np.isnan(time), np.nan, event.astype(np.float32))
    columns = [pa.array(values.astype(np.float32), type=pa.float32()) for values in (observed, time)]
    write_table(pa.Table.from_arrays(columns, schema=SURVIVAL_LABELS.with_metadata(described)), path)


def read_labels(path: Path | str) -> tuple[Float32Array, dict[str, Any]]:
    """Read one task's labels, shape (n,), NaN = not observed, and the task's description.

    Labels of a survival task come as of :func:`signed_time`.

    Raises:
        InputError: the file is absent or no Parquet file.
        ContractError: the file does not follow its schema, a time is negative, an event neither 0 nor 1.
    """
    table = read_table(path)
    metadata = pq.read_schema(path).metadata or {}
    description: dict[str, Any] = json.loads(metadata.get(b"task", b"{}"))
    if description.get("problem_class") != "survival":
        return check_schema(table, LABELS, str(path)).column("y").to_numpy(), description
    table = check_schema(table, SURVIVAL_LABELS, str(path))
    y, time = (table.column(name).to_numpy() for name in ("y", "time"))
    if not (np.isnan(y) | np.isin(y, (0, 1))).all():
        raise ContractError("an event is neither 0 nor 1", where=str(path), hint="run `label` again")
    if (time < 0).any() or np.isinf(time).any():
        raise ContractError("a time is negative or infinite", where=str(path), hint="run `label` again")
    return signed_time(time, y), description
