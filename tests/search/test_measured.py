"""The search on measured scores: it is the study's own, sees what it would have trained, and no more."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from m3h_pipeline.cli import main
from m3h_pipeline.config import Race, Search, Tim
from m3h_pipeline.contracts import SEARCH_REPORT, TRAJECTORY
from m3h_pipeline.errors import ContractError, InputError
from m3h_pipeline.files import read_table
from m3h_pipeline.search.measured import read_measured, replay_search, searched
from tests.search.simulated import Simulated, planted
from tests.search.studies import fits_of, run_search, write_tasks
from tests.search.test_greedy import luck, selection_of

TASKS = ["a", "b", "c", "d", "e"]
#: Looks at everything there is: a table that holds what any other search asks for.
EVERYTHING = Search(race=None, beam=99, standard_errors=0.0)


def score(combination: tuple[str, ...], task: str, replicate: int, fold: int, *_: Any) -> float:
    errors = luck(combination, task, replicate, fold) + luck(combination, task, replicate)
    return 0.5 + 0.01 * len(combination) + 0.02 * luck(combination, task) + 0.01 * errors


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("measured")
    tasks = write_tasks(folder / "tasks.json", TASKS)
    grown = lambda c, *rest: score(c, *rest) + len(c)  # noqa: E731 - whatever is larger is better: nothing stops
    _, scores = run_search(folder, tasks, grown, EVERYTHING, Tim(replicates=2), folds=4)
    frame = pd.concat([pd.read_parquet(path) for path in scores])
    assert frame["combination"].nunique() == 2 ** len(TASKS) - 1
    columns = ["combination", "task", "replicate", "fold", "value"]
    places = frame[columns[:-1]].itertuples(index=False, name=None)
    frame["value"] = [score(tuple(key.split("+")), *rest) for key, *rest in places]
    frame[columns].to_parquet(folder / "measured.parquet")
    frame[columns].to_csv(folder / "measured.csv", index=False)
    return [folder / "measured.parquet", folder / "measured.csv"]


@pytest.mark.parametrize("race", [None, Race(z=0.5), Race(z=2.0)])
def test_a_replay_is_the_search_that_trains(tmp_path: Path, measured: list[Path], race: Race | None) -> None:
    search = Search(race=race, standard_errors=0.5)
    tasks = write_tasks(tmp_path / "tasks.json", TASKS)
    plans, scores = run_search(tmp_path, tasks, score, search, Tim(replicates=2), folds=4)
    chosen = selection_of(tmp_path, tasks, scores, search)
    stream = io.StringIO()
    replay_search(measured[:1], tmp_path / "replay", search, stream)
    looked = read_table(tmp_path / "replay/search/trajectory.parquet", TRAJECTORY).to_pandas()
    pd.testing.assert_frame_equal(looked, read_table(tmp_path / "trajectory.parquet").to_pandas())
    report = read_table(tmp_path / "replay/search/report.parquet", SEARCH_REPORT)
    assert report.equals(read_table(tmp_path / "report.parquet"))
    assert report.column("fits")[0].as_py() == sum(len(fits_of(plan)) for plan in plans)
    shown = pd.read_csv(io.StringIO(stream.getvalue()), sep="\t")
    assert shown["combination"].tolist()[1:] == [row["combination"] for row in chosen.values()]


def test_formats_and_the_order_of_tasks_say_the_same(tmp_path: Path, measured: list[Path]) -> None:
    parquet, csv = (read_measured([path]) for path in measured)
    assert parquet.column("value").to_numpy() == pytest.approx(csv.column("value").to_numpy())
    assert parquet.drop(["value"]).equals(csv.drop(["value"]))
    frame = pd.read_csv(measured[1])
    frame["combination"] = ["+".join(reversed(key.split("+"))) for key in frame["combination"]]
    frame.to_csv(tmp_path / "reversed.csv", index=False)
    assert read_measured([tmp_path / "reversed.csv"]).equals(csv)


def test_what_is_said_twice_alike_is_said_once(tmp_path: Path, measured: list[Path]) -> None:
    stream, once = io.StringIO(), io.StringIO()
    replay_search([measured[1], measured[1]], tmp_path / "twice", Search(), stream)
    replay_search([measured[1]], tmp_path / "once", Search(), once)
    assert stream.getvalue() == once.getvalue()


def test_the_verb(tmp_path: Path, measured: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    command = ["replay", str(measured[1]), "--out", str(tmp_path / "out")]
    assert main([*command, "--search", '{"race": null, "beam": 1}']) == 0
    exhaustive = read_table(tmp_path / "out/search/report.parquet", SEARCH_REPORT).to_pylist()
    assert "within the error" in capsys.readouterr().out
    assert exhaustive[0]["saved"] == 0
    assert main(command) == 0
    assert read_table(tmp_path / "out/search/report.parquet").to_pylist() != exhaustive
    assert main([*command, "--search", '{"bema": 1}']) == 2
    assert "did you mean `beam`" in capsys.readouterr().err


def test_scores_that_are_not_there_are_named(tmp_path: Path, measured: list[Path]) -> None:
    frame = pd.read_csv(measured[1])
    frame[frame["combination"] != "a+b"].to_csv(tmp_path / "less.csv", index=False)
    with pytest.raises(ContractError, match="combinations of 2 tasks"):
        replay_search([tmp_path / "less.csv"], tmp_path / "out", Search(), io.StringIO())
    frame[frame["fold"] != 3].to_csv(tmp_path / "three.csv", index=False)
    replay_search([tmp_path / "three.csv"], tmp_path / "out", Search(), io.StringIO())
    only = frame["combination"].str.count(r"\+") < 2
    frame[only].to_csv(tmp_path / "pairs.csv", index=False)
    with pytest.raises(ContractError, match="combinations of 3 tasks"):
        replay_search([tmp_path / "pairs.csv"], tmp_path / "out", Search(standard_errors=0), io.StringIO())
    assert list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.drop(columns="fold"), "there is no `fold`"),
        (lambda f: f.assign(task="z"), "task `z` is no member of combination `a`"),
        (lambda f: f.assign(replicate="first"), "a column is not what it should be"),
        (lambda f: f.assign(replicate=[None, *f["replicate"][1:]]), "`replicate` has empty fields"),
        (lambda f: f.assign(fold="2026-01-01"), "a column is not what it should be"),
        (lambda f: f.assign(value=[np.inf, *f["value"][1:]]), "an infinite score"),
        (lambda f: f.iloc[:0], "there is no score in this table"),
        (lambda f: pd.concat([f, f["value"]], axis=1), "several columns `value`"),
        (lambda f: f.assign(combination="a+a", task="a"), "without a name, or twice"),
        (lambda f: f.assign(combination="a+", task="a"), "without a name, or twice"),
        (lambda f: f[f["combination"].ne("a+b") | f["task"].ne("b")], "no row for its task `b`: combination"),
        (lambda f: f[(f.index != f.index[-1])], "no row for its task"),
        (lambda f: pd.concat([f, f.head(1).assign(value=0.1)]), "rows differ in the score of task `a`"),
        (lambda f: pd.concat([f, f.head(1).assign(value=None)]), "rows differ in the score of task `a`"),
    ],
)
def test_what_is_no_table_of_scores_is_explained(
    tmp_path: Path, measured: list[Path], change: Any, message: str
) -> None:
    change(pd.read_csv(measured[1])).to_csv(tmp_path / "x.csv", index=False)
    with pytest.raises(InputError, match=message):
        read_measured([tmp_path / "x.csv"])
    with pytest.raises(InputError, match="does not exist"):
        read_measured([tmp_path / "no.csv"])


def test_an_empty_score_bars_the_setting_and_settings_are_told_apart(tmp_path: Path) -> None:
    rows = [
        (key, task, 0, fold, batch, None if (key, fold, batch) == ("a+b", 1, 2) else value)
        for batch, value in ((1, 0.6), (2, 0.9))
        for key in ("a", "b", "a+b")
        for task in key.split("+")
        for fold in range(3)
    ]
    columns = ["combination", "task", "replicate", "fold", "batch_size", "value"]
    pd.DataFrame(rows, columns=columns).to_csv(tmp_path / "x.csv", index=False)
    replay_search([tmp_path / "x.csv"], tmp_path, Search(), io.StringIO())
    found = read_table(tmp_path / "search/trajectory.parquet", TRAJECTORY).to_pandas()
    by = found[found["task"] == "a"].set_index("combination")["score"]
    assert by.to_dict() == pytest.approx({"a": 0.9, "a+b": 0.6})


def test_the_simulator_has_the_errors_that_it_states() -> None:
    """Correlations between scores of one combination: over folds within a seed, over seeds within a fold."""
    sim = Simulated(np.zeros((2, 2)), patients=0.006, seeds=0.008, persists=0.5, folds=2, replicates=2)
    many = []
    for seed in range(4000):
        sim.seed = seed
        many.append(sim.values("t00+t01")[0, 0].reshape(-1))
    cov = np.cov(np.array(many).T) * 1e6
    assert cov[0, 0] == pytest.approx(36 + 64, rel=0.1)
    assert cov[0, 1] == pytest.approx(32, rel=0.15)  # another fold, the same seed
    assert cov[0, 2] == pytest.approx(36, rel=0.15)  # the same fold, another seed
    assert cov[0, 3] == pytest.approx(0, abs=4)
    gains = planted(5, 0.01, 2, 1, 0.002)
    assert (np.diag(gains) == 0).all()
    assert ((gains > 0).sum(axis=1) == 2).all()
    assert Simulated(gains, crowding=0.1).truth("t00", "t00+t01+t02") == pytest.approx(
        0.75 + gains[0, 1] + gains[0, 2] - 0.1
    )


def test_a_fit_that_is_asked_for_is_counted_once() -> None:
    sim = Simulated(planted(6, 0.02, 2, 3), settings=(0.0, 0.01))
    search = Search()
    progress, scores = searched(sim.tasks, lambda wanted: sim.measure(wanted, search), search)
    assert progress.wanted is None
    assert sim.fits == sum(map(scores.fits, scores.combinations))
