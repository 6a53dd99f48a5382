"""The verb `gene-pairs` on a small study: tables, groups, strata, and what can be wrong."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from m3h_pipeline.coding import signed_time
from m3h_pipeline.config import Figures, GenePairs
from m3h_pipeline.contracts import SELECTION
from m3h_pipeline.contracts.gene_pairs import GENE_HEADS, GENE_IMPORTANCE, GENE_PAIRS, GENE_SETS
from m3h_pipeline.errors import ConfigError, InputError
from m3h_pipeline.figures.gene_pairs import draw_gene_pairs
from m3h_pipeline.files import read_json, read_table, write_json, write_labels, write_table
from m3h_pipeline.gene_pairs.attention import read_attention
from m3h_pipeline.gene_pairs.stage import Sources, find_gene_pairs
from m3h_pipeline.training.fitted import load_model
from m3h_pipeline.training.pack import train_pack
from tests.training.studies import study, write_study
from tests.training.test_transcriptome_fits import configured

CHOSEN = {"anemia": "anemia+stay", "stay": "stay", "grade": "grade"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("study")
    data = study(n=200, widths={"alpha": 5, "beta": 7})
    entries = [
        {"combination": key.split("+"), "replicates": [0, 1], "folds": [-1], "settings": [[16, 0.01]]}
        for key in CHOSEN.values()
    ]
    write_study(data, folder, {"0000": entries})
    train_pack(
        folder / "plan.json",
        "0000",
        folder / "cohort",
        folder / "labels",
        folder / "split.parquet",
        folder / "store",
        folder / "scores.parquet",
        folder / "predictions.parquet",
        configured(),
        models=folder / "models",
    )
    rows = [
        {
            "task": task,
            "problem_class": "binary",
            "metric": "auroc",
            "combination": combination,
            "size": 1,
            "batch_size": 16,
            "learning_rate": 0.01,
            "score": 0.7,
            "control": "",
            "single_batch_size": 16,
            "single_learning_rate": 0.01,
            "single_score": 0.6,
        }
        for task, combination in CHOSEN.items()
    ]
    write_table(pa.Table.from_pylist(rows, schema=SELECTION), folder / "selection.parquet", SELECTION)
    tasks = {
        task: {"title": task, "status": "ok", "problem_class": "binary", "metric": "auroc"} for task in CHOSEN
    }
    write_json({"tasks": tasks}, folder / "labels/tasks.json")
    return folder


def run(folder: Path, task: str, out: Path, **options: Any) -> str:
    screen = io.StringIO()
    sources = Sources(
        folder / "cohort",
        folder / "labels",
        folder / "split.parquet",
        folder / "selection.parquet",
        [folder / "scores.parquet"],
        [folder / "models"],
    )
    settings = GenePairs(tasks=[task], **{"permutations": 99, "top": 5, **options})
    find_gene_pairs(task, sources, configured().modalities, settings, 1, out, screen)
    return screen.getvalue()


def test_tables_follow_their_contracts_and_the_models(trained: Path, tmp_path: Path) -> None:
    sets = tmp_path / "sets.gmt"
    sets.write_text("some\tof\tbeta_0\tbeta_1\tbeta_3\nothers\tof\tbeta_5\n")
    said = run(trained, "anemia", tmp_path / "out", gene_sets=str(sets))
    assert "anemia: 21 pairs of 7 genes, 2 models" in said
    pairs = read_table(tmp_path / "out/pairs.parquet", GENE_PAIRS).to_pandas()
    assert len(pairs) == 21
    assert pairs["p"].between(0, 1).all()
    genes = read_table(tmp_path / "out/genes.parquet", GENE_IMPORTANCE).to_pandas()
    assert sorted(genes["gene"]) == [f"beta_{i}" for i in range(7)]
    assert (genes["importance"].diff().dropna() <= 0).all()
    heads = read_table(tmp_path / "out/heads.parquet", GENE_HEADS).to_pandas()
    assert len(heads) == 5 * 2 * 2
    graph = nx.read_graphml(tmp_path / "out/network.graphml")
    assert graph.number_of_edges() == 5
    strongest = pairs.loc[pairs["effect"].abs().nlargest(5).index]
    assert {frozenset(edge) for edge in graph.edges} == {
        frozenset(pair) for pair in zip(strongest["gene_a"], strongest["gene_b"], strict=True)
    }
    assert read_table(tmp_path / "out/gene_sets.parquet", GENE_SETS).column("size").to_pylist()
    # Attention is the mean of the replicates' over the test part.
    data = study(n=200, widths={"alpha": 5, "beta": 7})
    rows = ~data.train
    read = []
    keys = read_table(trained / "scores.parquet").to_pandas().query("combination == 'anemia+stay'")
    for key in keys["fit_key"].unique():
        model = load_model(trained / f"models/{key}.safetensors")
        x = model.standardise({name: values[rows] for name, values in data.features.items()})
        read.append(read_attention(model.network.encoders["beta"], x[:, 5:]).pairs.mean(0))  # type: ignore[arg-type]
    assert len(read) == 2
    np.testing.assert_allclose(pairs["attention"], np.mean(read, 0), atol=1e-6)


def test_without_groups_attention_is_not_compared(trained: Path, tmp_path: Path) -> None:
    assert "no groups" in run(trained, "stay", tmp_path)
    pairs = read_table(tmp_path / "pairs.parquet", GENE_PAIRS)
    assert pairs.column("p").null_count == len(pairs)


def test_groups_and_strata_may_be_those_of_other_tasks(trained: Path, tmp_path: Path) -> None:
    run(trained, "stay", tmp_path / "all", groups="anemia")
    run(trained, "anemia", tmp_path / "own")
    every, own = (read_table(tmp_path / f"{n}/pairs.parquet").to_pandas() for n in ("all", "own"))
    assert every["p"].notna().all()
    assert not np.allclose(every["statistic"], own["statistic"])
    run(trained, "stay", tmp_path / "part", within={"task": "anemia", "value": "1"})
    part = read_table(tmp_path / "part/pairs.parquet").to_pandas()
    assert not np.allclose(every["attention"], part["attention"])


def test_a_horizon_divides_patients_by_their_survival(trained: Path, tmp_path: Path) -> None:
    data = study(n=200, widths={"alpha": 5, "beta": 7})
    rng = np.random.default_rng(0)
    time, event = rng.exponential(10, data.n), rng.random(data.n) < 0.6
    labels = signed_time(time, event)
    description = {"problem_class": "survival", "metric": "concordance", "title": "Death"}
    write_labels(labels, trained / "labels/death.parquet", description)
    run(trained, "anemia", tmp_path / "death", groups="death", horizon=10.0)
    # The same groups as a binary task, those last seen before the horizon without an event left out.
    early = (event & (time <= 10.0)).astype(np.float32)
    early[~event & (time <= 10.0)] = np.nan
    write_labels(early, trained / "labels/early.parquet", {"problem_class": "binary", "metric": "auroc"})
    run(trained, "anemia", tmp_path / "early", groups="early")
    one, other = ((tmp_path / n / "pairs.parquet").read_bytes() for n in ("death", "early"))
    assert one == other
    with pytest.raises(ConfigError, match="`death` needs a `horizon`"):
        run(trained, "anemia", tmp_path / "none", groups="death")


@pytest.mark.parametrize(
    ("task", "options", "message"),
    [
        ("gout", {}, "no model of `gout` was selected"),
        ("anemia", {"groups": "stay"}, "`stay` is no binary or survival task"),
        ("anemia", {"within": {"task": "grade", "value": "4"}}, "`4` is no class of `grade`"),
        ("anemia", {"groups": "gout"}, "fewer than 11 test patients"),
    ],
)
def test_what_is_wrong_is_said(
    trained: Path, tmp_path: Path, task: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises((ConfigError, InputError), match=message):
        run(trained, task, tmp_path, **options)
    assert not list(tmp_path.iterdir())


def test_the_same_seed_gives_the_same_bytes(trained: Path, tmp_path: Path) -> None:
    for name in ("one", "other"):
        run(trained, "anemia", tmp_path / name, samples=20)
    for file in sorted((tmp_path / "one").iterdir()):
        assert file.read_bytes() == (tmp_path / "other" / file.name).read_bytes()


def test_figures_are_drawn_from_the_tables(trained: Path, tmp_path: Path) -> None:
    run(trained, "anemia", tmp_path)
    settings = GenePairs(tasks=["anemia"], top=5)
    described = read_json(trained / "labels/tasks.json")
    described["tasks"]["anemia"]["control"] = "permuted labels"
    write_json(described, tmp_path / "tasks.json")
    for number, tasks in enumerate([trained / "labels/tasks.json", tmp_path / "tasks.json"]):
        draw_gene_pairs("anemia", tasks, tmp_path, settings, Figures())
        for name in ("network", "heads", "volcano"):
            mark = pd.read_csv(tmp_path / f"{name}.csv", keep_default_na=False)["control"]
            assert set(mark) == {["", "permuted labels"][number]}
            said = (tmp_path / f"{name}.svg").read_text()
            # Where nothing can be drawn, the figure names no task.
            assert ("† control" in said) == ("†:" in said)
        assert ("† control" in (tmp_path / "network.svg").read_text()) == bool(number)
    for name in ("network", "heads", "volcano"):
        for suffix in ("svg", "png", "csv"):
            assert (tmp_path / f"{name}.{suffix}").stat().st_size > 0
