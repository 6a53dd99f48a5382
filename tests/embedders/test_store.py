"""The store of embeddings: resumed, shared, independent of batches."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from m3h_pipeline.coding import Float32Array
from m3h_pipeline.embedders import store as store_module
from m3h_pipeline.embedders.store import embed_all
from m3h_pipeline.errors import ContractError


class Counting:
    """Embeds a text as two numbers, counts what it computes, and is killed at a given number."""

    width = 2

    def __init__(self, digest: str = "a" * 64, killed_at: int | None = None) -> None:
        self.digest, self.killed_at = digest, killed_at
        self.computed: list[str] = []

    def content(self, item: str) -> bytes:
        return item.encode()

    def embed(self, items: Sequence[str]) -> Float32Array:
        self.computed += items
        if self.killed_at is not None and len(self.computed) > self.killed_at:
            raise KeyboardInterrupt
        return np.array([[len(item), int(item.split()[1])] for item in items], dtype=np.float32)


ITEMS = [f"note {i}" for i in range(30)]


def run(
    embedder: Counting, folder: Path, items: list[str] = ITEMS, batch: int = 4
) -> tuple[Float32Array, int]:
    return embed_all(embedder, items, folder, batch=batch, stream=io.StringIO())


def test_a_killed_run_goes_on_without_computing_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "KEPT", 8)
    killed = Counting(killed_at=20)
    with pytest.raises(KeyboardInterrupt):
        run(killed, tmp_path)
    again = Counting()
    x, computed = run(again, tmp_path)
    # Two pieces of eight were finished; what they hold is not computed a second time.
    assert computed == len(again.computed) == 30 - 16
    assert not set(again.computed) & set(ITEMS[:16])
    np.testing.assert_array_equal(x, run(Counting(), tmp_path / "other")[0])
    assert run(again, tmp_path)[1] == 0


def test_equal_items_are_computed_once_and_order_is_kept(tmp_path: Path) -> None:
    embedder = Counting()
    x, computed = run(embedder, tmp_path, ["note 2", "note 1", "note 2"])
    assert computed == 2
    np.testing.assert_array_equal(x[:, 1], [2, 1, 2])
    x, computed = run(embedder, tmp_path, ["note 9", "note 1"], batch=1)
    assert computed == 1
    np.testing.assert_array_equal(x[:, 1], [9, 1])


def test_other_weights_share_nothing(tmp_path: Path) -> None:
    run(Counting(), tmp_path)
    assert run(Counting("b" * 64), tmp_path)[1] == 30


def test_nothing_to_embed_and_a_wrong_embedder(tmp_path: Path) -> None:
    x, computed = run(Counting(), tmp_path, [])
    assert x.shape == (0, 2)
    assert computed == 0
    wrong = Counting()
    wrong.width = 3
    with pytest.raises(ContractError, match="another width"):
        run(wrong, tmp_path)
