"""The store of finished fits: resuming, corruption, concurrent writers."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import numpy as np
import pytest

from m3h_pipeline.errors import InputError
from m3h_pipeline.files import write_table
from m3h_pipeline.training.export import train_stack
from m3h_pipeline.training.fits import run_fits
from m3h_pipeline.training.spec import FitResult, FitSpec
from m3h_pipeline.training.store import FitStore, environment_of, keys_of
from tests.training.studies import settings, spec, study

SPECS = [spec("anemia", "organ", fold=0), spec("anemia", "organ", fold=1), spec("phenotype", fold=0)]


def fit(name: str, seed: int = 0) -> FitResult:
    """A made-up result."""
    rng = np.random.default_rng(seed)
    chosen = spec("anemia", "organ")
    return FitResult(
        name,
        chosen,
        "ok",
        2,
        0.5,
        {"anemia": 0.7, "organ": float("nan")},
        {"anemia": 10, "organ": 0},
        {
            "anemia": rng.random((12, 1)).astype(np.float32),
            "organ": rng.random((12, 4)).astype(np.float32),
        },
    )


def assert_equal(a: FitResult, b: FitResult) -> None:
    assert (a.key, a.spec, a.status, a.epochs, a.seconds, a.n_scored, a.metadata) == (
        b.key,
        b.spec,
        b.status,
        b.epochs,
        b.seconds,
        b.n_scored,
        b.metadata,
    )
    np.testing.assert_equal(a.values, b.values)
    np.testing.assert_equal(a.predictions, b.predictions)
    np.testing.assert_equal(a.parameters, b.parameters)
    np.testing.assert_equal(a.attention, b.attention)
    np.testing.assert_equal(a.latents, b.latents)


def counted(monkeypatch: pytest.MonkeyPatch) -> list[FitSpec]:
    """The fits that are trained from now on."""
    trained: list[FitSpec] = []

    def spy(stack: object, *arguments: object) -> list[FitResult]:
        results = train_stack(stack, *arguments)  # type: ignore[arg-type]
        trained.extend(result.spec for result in results)
        return results

    monkeypatch.setattr("m3h_pipeline.training.fits.train_stack", spy)
    return trained


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    store = FitStore(tmp_path / "store")
    assert store.load(["a"]) == {}
    store.save([fit("a"), fit("b", 1)])
    store.save([fit("c", 2)])
    found = FitStore(tmp_path / "store").load(["c", "a", "unknown"])
    assert set(found) == {"a", "c"}
    assert_equal(found["a"], fit("a"))
    assert_equal(found["c"], fit("c", 2))


def test_a_second_run_trains_only_what_is_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = counted(monkeypatch)
    data, config = study(), settings()
    first = run_fits(SPECS[:2], data, config, FitStore(tmp_path), code="")
    assert sorted(trained) == sorted(SPECS[:2])
    trained.clear()
    second = run_fits([SPECS[2], *SPECS[1::-1]], data, config, FitStore(tmp_path), code="")
    assert trained == [SPECS[2]]
    assert [result.spec for result in second] == [SPECS[2], *SPECS[1::-1]]
    for a, b in zip(first, second[:0:-1], strict=True):
        assert_equal(a, b)
    trained.clear()
    run_fits(SPECS, data, config, FitStore(tmp_path), code="other")
    assert sorted(trained) == sorted(SPECS)


def test_models_are_kept_and_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = counted(monkeypatch)
    data, config = study(), settings()
    run_fits(SPECS[2:], data, config, FitStore(tmp_path), code="")
    kept = run_fits(SPECS[2:], data, config, FitStore(tmp_path), keep_models=True, code="")
    # The first run kept no model: it is trained again, once.
    assert trained == [SPECS[2]] * 2
    again = run_fits(SPECS[2:], data, config, FitStore(tmp_path), keep_models=True, code="")
    assert trained == [SPECS[2]] * 2
    assert kept[0].kept
    assert_equal(kept[0], again[0])
    light = FitStore(tmp_path).load([kept[0].key])
    assert light[kept[0].key].parameters is None


def test_a_diverged_fit_is_not_trained_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = counted(monkeypatch)
    broken = [spec("anemia", rate=1e18)]
    for _ in range(2):
        (result,) = run_fits(broken, study(), settings(), FitStore(tmp_path), keep_models=True, code="")
        assert result.status == "diverged"
        assert result.predictions == {}
    assert trained == broken


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "text"])
def test_a_damaged_segment_is_reported_and_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    trained = counted(monkeypatch)
    data, config = study(), settings()
    whole = run_fits(SPECS, data, config, FitStore(tmp_path), code="")
    segments = sorted(tmp_path.glob("*.parquet"))
    assert len(segments) == 2
    for segment in segments:
        content = bytearray(segment.read_bytes())
        if damage == "truncated":
            content = content[: len(content) // 2]
        elif damage == "flipped":
            middle = len(content) // 2
            content[middle : middle + 20] = bytes(255 - byte for byte in content[middle : middle + 20])
        elif damage == "empty":
            content = bytearray()
        else:
            content = bytearray(b"no parquet")
        segment.write_bytes(content)
    trained.clear()
    messages: list[str] = []
    again = run_fits(SPECS, data, config, FitStore(tmp_path, messages.append), code="")
    assert sorted(trained) == sorted(SPECS)
    assert messages
    assert all("cannot be read" in message and str(tmp_path) in message for message in messages)
    for a, b in zip(whole, again, strict=True):
        b.seconds = a.seconds
        assert_equal(a, b)
    # The new segments took the place of the damaged ones.
    messages.clear()
    assert len(FitStore(tmp_path, messages.append).load([result.key for result in whole])) == 3
    assert messages == []


def test_what_a_killed_job_leaves_is_ignored(tmp_path: Path) -> None:
    store = FitStore(tmp_path)
    store.save([fit("a")])
    (tmp_path / ".abc.parquet.x1.part").write_bytes(b"half a segment")
    messages: list[str] = []
    assert set(FitStore(tmp_path, messages.append).load(["a"])) == {"a"}
    assert messages == []


def test_a_flipped_bit_in_a_footer_is_a_sentence(tmp_path: Path) -> None:
    """Names of columns and where they lie: what is read before a digest could be compared."""
    store = FitStore(tmp_path)
    store.save([fit("a")])
    (path,) = tmp_path.glob("*.parquet")
    content = path.read_bytes()
    length = int.from_bytes(content[-8:-4], "little")
    names = [i for i in range(len(content) - 8 - length, len(content)) if content[i : i + 7] == b"fit_key"]
    assert names
    places = [*(name + 3 for name in names), *range(len(content) - 8 - length, len(content), 37)]
    for place in places:
        changed = bytearray(content)
        changed[place] ^= 2
        path.write_bytes(changed)
        with pytest.raises(InputError):
            keys_of(path)
        with pytest.raises(InputError):
            environment_of(path)
        messages: list[str] = []
        assert FitStore(tmp_path, messages.append).load(["a"]) == {}
        if messages:
            assert "cannot be read" in messages[0]


def test_a_segment_of_other_columns_is_reported(tmp_path: Path) -> None:
    import pyarrow as pa

    write_table(pa.table({"fit_key": ["a"]}), tmp_path / "old.parquet")
    messages: list[str] = []
    assert FitStore(tmp_path, messages.append).load(["a"]) == {}
    assert "other columns" in messages[0]


def _write(folder: str, first: int) -> None:
    store = FitStore(folder)
    for i in range(10):
        store.save([fit(f"own{first}-{i}", first + i)])
        store.save([fit(f"both-{i}", i)])


def test_two_jobs_may_write_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    jobs = [context.Process(target=_write, args=(str(tmp_path), 100 * j)) for j in range(2)]
    for job in jobs:
        job.start()
    messages: list[str] = []
    reader = FitStore(tmp_path, messages.append)
    while any(job.is_alive() for job in jobs):
        reader.load(["both-3"])
    for job in jobs:
        job.join()
        assert job.exitcode == 0
    keys = [f"own{100 * j}-{i}" for j in range(2) for i in range(10)] + [f"both-{i}" for i in range(10)]
    found = reader.load(keys)
    assert set(found) == set(keys)
    assert_equal(found["both-7"], fit("both-7", 7))
    assert messages == []
    assert not list(tmp_path.glob(".*"))


def test_a_fit_without_a_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="without a key"):
        FitStore(tmp_path).save([fit("")])
    FitStore(tmp_path).save([])
    assert not list(tmp_path.iterdir())
