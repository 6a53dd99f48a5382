"""TIM on measured scores: a study's own estimates, intervals by folds and seeds, what is lacking."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from m3h_pipeline.cli import main
from m3h_pipeline.config import Search, Tim
from m3h_pipeline.contracts import SEARCH_REPORT, TIM, combination_key, combination_tasks
from m3h_pipeline.errors import ConfigError, ContractError, InputError
from m3h_pipeline.files import read_table
from m3h_pipeline.search.greedy import Wanted
from m3h_pipeline.search.measured import read_measured, replay_search
from m3h_pipeline.tim.measured import replay_tim
from tests.search.simulated import Simulated
from tests.tim.studies import SEED, Study, binary_labels, make_study, noisy_model

ESTIMATES = ["estimate", "excess"]


def replayed(scores: list[Path], out: Path, settings: Tim, seed: int = SEED) -> pd.DataFrame:
    """The table of a replay, by pair."""
    replay_tim(read_measured(scores), out, settings, seed, io.StringIO())
    return by_pair(out / "tim/tim.parquet")


def by_pair(path: Path) -> pd.DataFrame:
    frame: pd.DataFrame = read_table(path, TIM).to_pandas()
    return frame.set_index(["task", "companion"])


def said(path: Path) -> dict[str, Any]:
    """What a table says of itself."""
    found: dict[str, Any] = json.loads(pq.read_schema(path).metadata[b"tim"])
    return found


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return make_study(tmp_path_factory.mktemp("study"), binary_labels(["a", "b", "c", "d"], 240))


@pytest.fixture(scope="module")
def scores(study: Study) -> list[Path]:
    return trained(study, Tim(draws=20, controls=2))[0]


def trained(study: Study, settings: Tim) -> tuple[list[Path], list[Path]]:
    """Scores and predictions of a study, one fit of which diverged."""
    model = noisy_model(study, {("a", "b"): 0.5}, cost=0.05)

    def predict(combination: tuple[str, ...], task: str, replicate: int, fold: int, *rest: Any) -> Any:
        if (combination, replicate, fold) == (("c", "d"), 1, 2):
            return None
        return model(combination, task, replicate, fold, *rest)

    return study.train(study.plan(settings), predict)


@pytest.mark.parametrize(
    "settings",
    [
        Tim(draws=20, controls=2),
        Tim(draws=20, controls=0, replicates=2),
        Tim(draws=20, controls=1, mode="exact"),
        Tim(draws=20, controls=2, mode="sampled", sets=14, max_size=3),
    ],
    ids=lambda settings: settings.mode + str(settings.controls),
)
def test_estimates_are_those_of_the_study(tmp_path: Path, study: Study, settings: Tim) -> None:
    scores, predictions = trained(study, settings)
    study.tim(scores, predictions, settings)
    own, path = by_pair(study.folder / "tim.parquet"), tmp_path / "tim/tim.parquet"
    found = replayed([path for path in scores if pq.read_metadata(path).num_rows], tmp_path, settings)
    assert own["estimate"].isna().sum() < len(own)
    same = ["n_differences", "control", "mode"]
    pd.testing.assert_frame_equal(found[ESTIMATES + same], own[ESTIMATES + same], rtol=0, atol=1e-12)
    known, theirs = said(path), said(study.folder / "tim.parquet")
    counted = "folds and seeds" + " and sets" * (settings.mode == "sampled")
    assert known["variance"] == f"{counted}; patients are not resampled: from scores alone"
    assert known["draws"] == 0
    differs = {"variance", "draws"}
    assert {k: v for k, v in known.items() if k not in differs} == {
        k: v for k, v in theirs.items() if k not in differs
    }


def test_all_permuted_companions_of_the_table_are_controls_unless_another_number_is_asked_for(
    tmp_path: Path, scores: list[Path]
) -> None:
    found = replayed(scores, tmp_path, Tim())
    names = said(tmp_path / "tim/tim.parquet")["permuted companions"]
    assert len(names) == 2
    assert all("~" in name for name in names)
    assert found["control"].sum() == 2 * 2 * 4
    plain = replayed(scores, tmp_path, Tim(controls=0))
    assert not plain["control"].any()
    assert plain["excess"].isna().all()
    assert plain["estimate"].tolist() == pytest.approx(
        found.loc[plain.index, "estimate"].tolist(), nan_ok=True
    )
    with pytest.raises(ContractError, match="asks for 3 permuted companions, the table has 2: "):
        replayed(scores, tmp_path, Tim(controls=3))
    assert not (tmp_path / "tim/tim.parquet").exists()


def test_the_search_sees_no_permuted_companion(tmp_path: Path, scores: list[Path]) -> None:
    streams = io.StringIO(), io.StringIO()
    replay_search(scores, tmp_path / "all", Search(max_size=2), streams[0])
    replay_search(scores[:2], tmp_path / "own", Search(max_size=2), streams[1])
    assert streams[0].getvalue() == streams[1].getvalue()
    frame = pd.concat(map(pd.read_parquet, scores))
    frame[frame["combination"].str.fullmatch(r"\w+~1")].to_parquet(tmp_path / "permuted.parquet")
    with pytest.raises(InputError, match="only permuted companions"):
        replay_search([tmp_path / "permuted.parquet"], tmp_path / "none", Search(), io.StringIO())


def test_what_is_absent_is_named_completely_and_no_tim_is_written(tmp_path: Path, scores: list[Path]) -> None:
    frame, out = pd.concat(map(pd.read_parquet, scores)), tmp_path / "out"

    def without(rows: pd.Series[bool]) -> list[Path]:
        frame[~rows].to_parquet(tmp_path / "less.parquet")
        return [tmp_path / "less.parquet"]

    at = frame["combination"].eq
    replayed(scores, out, Tim())
    # One is not there, of another a fold is lacking in all replicates, of a third only in one.
    less = at("a+b") | (at("b+c") & frame["fold"].eq(1)) | (at("b+d") & frame["replicate"].eq(0))
    with pytest.raises(ContractError) as caught:
        replayed(without(less), out, Tim())
    assert caught.value.what.endswith("of which 2 are absent or lack a fold in every replicate: a+b, b+c")
    assert not (out / "tim/tim.parquet").exists()
    name = min(name for name in frame["task"].unique() if "~" in name)
    with pytest.raises(ContractError, match=rf"of which 1 are absent or .*: a\+{name}\n"):
        replayed(without(at(combination_key(["a", name]))), out, Tim())
    scattered = (at("a") & frame["replicate"].eq(0)) | (at("a+c") & frame["replicate"].eq(1))
    scattered |= (at("b") | at("a+b")) & frame["replicate"].eq(2)
    with pytest.raises(
        ContractError, match=r"replicate 0 lacks a; replicate 1 lacks a\+c; replicate 2 lacks a\+b, b\n"
    ):
        replayed(without(scattered), out, Tim())
    # A replicate that every combination has is enough.
    replayed(without(at("a") & frame["replicate"].eq(0)), out, Tim())
    assert said(out / "tim/tim.parquet")["replicates"] == 2


def test_the_verb(tmp_path: Path, scores: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    command = ["replay", *map(str, scores), "--out", str(out), "--search", '{"max_size": 2}']
    assert main(command) == 0
    shown = capsys.readouterr()
    assert "intervals: folds and seeds; patients are not resampled" in shown.err
    assert len(pd.read_csv(io.StringIO(shown.out), sep="\t")) == 5
    assert said(out / "tim/tim.parquet")["fdr"] == 0.05
    (tmp_path / "tim.json").write_text('{"fdr": 0.2, "controls": 0}')
    assert main([*command, "--tim", f"@{tmp_path / 'tim.json'}"]) == 0
    assert said(out / "tim/tim.parquet")["fdr"] == 0.2
    assert "flags hold what sharing costs" in capsys.readouterr().err
    assert "flags" not in shown.err
    assert main([*command, "--seed", "-1"]) == 2
    # What was asked for and cannot be is an error; what nobody asked for is said, and the search stands.
    capsys.readouterr()
    assert main([*command, "--tim", '{"mode": "exact", "controls": 0}']) == 2
    assert "of which 5 are absent or lack a fold in every replicate: a+b+c, " in capsys.readouterr().err
    assert not (out / "tim/tim.parquet").exists()
    assert main([*command, "--tim", '{"mdoe": "exact"}']) == 2
    assert "did you mean `mode`" in capsys.readouterr().err
    alone = ["replay", str(scores[0]), "--out", str(out), "--search", '{"max_size": 1}']
    assert main(alone) == 0
    assert "No TIM: TIM (`mode: pairs`) needs 10 combinations, of which" in capsys.readouterr().err
    assert read_table(out / "search/report.parquet", SEARCH_REPORT).num_rows == 5
    with pytest.raises(ConfigError, match="the limit is 8 tasks"):
        replay_tim(read_measured(many(tmp_path)), out, Tim(mode="exact"), 0, io.StringIO(), asked=False)


def many(folder: Path) -> list[Path]:
    rows = [(f"t{i}", f"t{i}", 0, 0, 0.5) for i in range(9)]
    columns = ["combination", "task", "replicate", "fold", "value"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "many.csv", index=False)
    return [folder / "many.csv"]


def test_an_improvement_to_what_may_be_chance_needs_the_name_of_the_metric(tmp_path: Path) -> None:
    """AUROCs that rise from 0.3 to 0.4 are flagged where nobody says that they are AUROCs."""
    rng = np.random.default_rng(0)
    rows = [
        (key, task, r, fold, 0.3 + 0.1 * (key == "a+b") + 0.001 * rng.normal())
        for key in ("a", "b", "a+b")
        for task in key.split("+")
        for r in range(3)
        for fold in range(5)
    ]
    frame = pd.DataFrame(rows, columns=["combination", "task", "replicate", "fold", "value"])
    for metric, flagged in ((None, True), ("auroc", False)):
        (frame.assign(metric=metric) if metric else frame).to_csv(tmp_path / "x.csv", index=False)
        found = replayed([tmp_path / "x.csv"], tmp_path, Tim())
        assert (found["q"] < 0.01).all()
        assert found["significant"].tolist() == [flagged, flagged]
    frame.assign(metric=["auroc", *["r2"] * (len(frame) - 1)]).to_csv(tmp_path / "x.csv", index=False)
    with pytest.raises(InputError, match="task `a` has scores of several metrics"):
        read_measured([tmp_path / "x.csv"])


@pytest.mark.parametrize("one", ["fold", "replicate"])
def test_one_fold_or_one_seed_has_estimates_and_no_interval(
    tmp_path: Path, scores: list[Path], one: str
) -> None:
    """Folds do not know what a seed changes in all of them."""
    frame = pd.concat(map(pd.read_parquet, scores))
    frame[frame[one] == 0].to_parquet(tmp_path / "one.parquet")
    found = replayed([tmp_path / "one.parquet"], tmp_path, Tim())
    assert found["estimate"].notna().all()
    assert found[["low", "high", "p", "q", "excess_low", "excess_p"]].isna().all(axis=None)
    assert not found["significant"].any()
    assert said(tmp_path / "tim/tim.parquet")["variance"].startswith(
        "not known with one replicate or one fold;"
    )


def simulated(sim: Simulated) -> pa.Table:
    """Every score of its tasks alone and of pairs; the last three are permuted companions of the first."""
    search = Search(halving=False)
    n = len(sim.tasks)
    pairs = [f"{a}+{b}" for i, a in enumerate(sim.tasks) for b in sim.tasks[i + 1 :]]
    wanted = (Wanted(1, tuple(sim.tasks)), Wanted(2, tuple(pairs)))
    table = pa.concat_tables([sim.measure(one, search) for one in wanted])
    name = {task: task if i < n - 3 else f"{sim.tasks[0]}~{i - n + 4}" for i, task in enumerate(sim.tasks)}
    keys = ["+".join(sorted(name[t] for t in combination_tasks(k))) for k in table["combination"].to_pylist()]
    for column, values in (("combination", keys), ("task", [name[t] for t in table["task"].to_pylist()])):
        table = table.set_column(table.schema.get_field_index(column), column, pa.array(values, pa.string()))
    return table


@pytest.mark.parametrize("folds", [3, 5])
@pytest.mark.parametrize(("patients", "seeds"), [(0.012, 0.003), (0.006, 0.008), (0.001, 0.008)])
def test_intervals_by_folds_and_seeds_hold_the_truth(
    tmp_path: Path, patients: float, seeds: float, folds: int
) -> None:
    """40 studies of 12 pairs: luck of patients only up to luck of seeds only. Not narrower than they say, and
    the excess, whose permuted companions differ by nothing but luck, is not widened by that twice.
    """
    truth = np.zeros((7, 7))
    truth[:4, :4] = [[0.0, 0.02, 0.0, -0.02], [0.0, 0.0, 0.02, 0.0], [0.0] * 4, [0.01, 0.0, 0.0, 0.0]]
    rows, widths = [], []
    for seed in range(40):
        sim = Simulated(
            truth - 0.01 * (1 - np.eye(7)), patients=patients, seeds=seeds, folds=folds, seed=seed
        )
        replay_tim(simulated(sim), tmp_path, Tim(), SEED, io.StringIO())
        found = by_pair(tmp_path / "tim/tim.parquet")
        rows.append(found[~found["control"]])
    table, pairs = pd.concat(rows), rows[0].index
    own = np.tile([truth[int(t[1:]), int(c[1:])] for t, c in pairs], len(rows))
    for name, true in (("", own - 0.01), ("excess_", own)):
        value = table["excess" if name else "estimate"].to_numpy()
        low, high = table[f"{name}low"].to_numpy(), table[f"{name}high"].to_numpy()
        held = ((low <= true) & (true <= high)).mean()
        widths.append(np.median(high - low) / (value - true).std())
        assert held > 0.94, (name, held)
    assert widths[1] < 1.2 * widths[0]
    assert table["significant"].to_numpy()[own == 0].mean() < 0.01
