"""Lists of files that follow from a study's configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from m3h_pipeline.errors import InputError
from m3h_pipeline.figures.registry import FIGURES
from m3h_pipeline.jobs import outputs
from m3h_pipeline.layout import Layout
from tests.jobs.studies import study, tasks
from tests.search.studies import write_tasks

FILES = Layout(Path("r"))


def names(paths: list[Path]) -> list[str]:
    return [path.as_posix() for path in paths]


def test_features_are_of_the_sources_that_modalities_use() -> None:
    one = study(modalities={"tabular": {"sources": ["ts_lab", "demographics"]}})
    assert outputs.sources(one) == ["ts_lab", "demographics"]
    assert names(outputs.features(FILES, one)) == [
        "r/cohort/features/ts_lab.parquet",
        "r/cohort/features/demographics.parquet",
    ]
    assert outputs.embeddings(FILES, one) == outputs.gene_vectors(FILES, one) == []


def test_embeddings_are_of_the_notes_and_images_that_modalities_use() -> None:
    source = {
        "kind": "mimic",
        "folder": "m",
        "embeddings": {
            name: {"kind": "language", "model": "b", "notes": "n.csv.gz"} for name in ("notes", "unused")
        },
    }
    one = study(source=source, modalities={"all": {"sources": ["ts_lab", "notes"]}})
    assert names(outputs.embeddings(FILES, one)) == ["r/cohort/embeddings/notes.parquet"]


def test_genes_start_from_vectors_where_the_modality_says_so() -> None:
    assert names(outputs.gene_vectors(FILES, study("gse7390_txt"))) == ["r/genes/expression.parquet"]
    assert outputs.gene_vectors(FILES, study("tcga_brca_txt")) == []


def test_a_definition_reads_diagnoses_or_columns() -> None:
    for task in tasks(study()).values():
        diagnosed = task.criterion.kind == "diagnosis"
        expected = FILES.cohort.diagnoses if diagnosed else FILES.cohort.columns
        assert outputs.label_input(FILES, task) == expected


def test_references_are_of_the_tasks_that_are_learned(tmp_path: Path) -> None:
    files = Layout(tmp_path)
    with pytest.raises(InputError):
        outputs.baselines(files, study())
    write_tasks(files.labels.tasks, ["b", "a", "c"], {"c": "clustering"})
    assert outputs.baselines(files, study()) == [files.evaluation.baselines(name) for name in ("a", "b")]
    assert outputs.baselines(files, study(evaluation__baselines=[])) == []


def test_a_prediction_in_the_data_is_a_reference_of_the_tasks_it_names_alone(tmp_path: Path) -> None:
    files = Layout(tmp_path)
    write_tasks(files.labels.tasks, ["b", "a", "c"], {"c": "clustering"})
    given = {"theirs": {"b": {"column": "p", "means": "score"}, "gone": {"column": "p", "means": "score"}}}
    one = study(evaluation={"baselines": [], "given": given})
    assert outputs.baselines(files, one) == [files.evaluation.baselines("b")]
    assert outputs.given(files, one, "b") == [files.cohort.columns]
    assert outputs.given(files, one, "a") == []


def test_figures_come_in_each_format_and_as_a_table() -> None:
    one = study("gse7390_txt", figures={"formats": ["svg"]})
    every = {"binary", "multiclass", "regression", "survival", "clustering"}
    drawn = names(outputs.figures(FILES, one, every))
    assert sorted(drawn) == sorted(f"r/figures/{name}.{s}" for name in FIGURES for s in ("svg", "csv"))
    fewer = set(drawn) - set(names(outputs.figures(FILES, one, {"binary", "clustering"})))
    gone = ("roc", "agreement", "survival")
    assert fewer == {f"r/figures/{name}.{s}" for name in gone for s in ("svg", "csv")}
    pairs = names(outputs.gene_pair_figures(FILES, one))
    assert len(pairs) == 2 * 3 * 2
    assert "r/gene_pairs/metastasis_5y/volcano.svg" in pairs
    assert names(outputs.network_comparison(FILES, one)) == [
        f"r/networks/comparison.{suffix}" for suffix in ("parquet", "tsv", "svg", "csv")
    ]
    assert outputs.gene_pair_figures(FILES, study()) == outputs.network_comparison(FILES, study()) == []


def test_gene_sets_are_tested_where_there_are_some() -> None:
    tables = outputs.gene_pair_tables(FILES, study("gse7390_txt"), "{task}")
    assert [path.name for path in tables] == [
        "pairs.parquet",
        "genes.parquet",
        "heads.parquet",
        "network.graphml",
    ]
    more = study("gse7390_txt", gene_pairs__gene_sets="sets.gmt")
    assert outputs.gene_pair_tables(FILES, more, "er")[-1].as_posix() == "r/gene_pairs/er/gene_sets.parquet"


def test_the_studys_own_network_comes_first() -> None:
    assert outputs.network_names(study("tcga_brca_txt")) == ["txt", "mlp"]
    assert outputs.network_names(study()) == []
