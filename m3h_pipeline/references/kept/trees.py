"""Boosted trees as arrays, and what they say of new rows.

scikit-learn fits them; its nodes are kept without its counts and gains. A split on a category is a table: for
each of its codes, missing and other included, whether a row goes left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from m3h_pipeline.references.columns import Codes
from m3h_pipeline.references.design import Float64

Array = npt.NDArray[Any]
_NODES: Final[dict[str, Any]] = {
    "column": np.int32,
    "threshold": np.float64,
    "missing": np.bool_,
    "left": np.int32,
    "right": np.int32,
    "value": np.float64,
    "table": np.int32,
}


@dataclass(frozen=True)
class Trees:
    """Boosted trees.

    Attributes:
        start: (k,) what each output begins with.
        roots: (trees, k) first node of each.
        nodes: arrays of all nodes, (nodes,) each: ``column`` (the numbers first, then the categories; -1: a
            leaf), ``threshold`` (at most: left), ``missing`` (whether a missing number goes left), ``left``,
            ``right``, ``value`` (of a leaf), ``table`` (where a category's table begins).
        tables: of all splits on categories, code after code, whether it goes left.
    """

    start: Float64
    roots: npt.NDArray[np.int64]
    nodes: dict[str, Array]
    tables: npt.NDArray[np.bool_]

    def arrays(self) -> dict[str, Array]:
        """By name, as :func:`raw_trees` takes them."""
        return {
            "start": self.start,
            "roots": self.roots,
            "tables": self.tables,
            **{f"node/{name}": values for name, values in self.nodes.items()},
        }


def no_trees() -> Trees:
    """Trees that say 0."""
    nodes = {name: np.zeros(0, dtype=kind) for name, kind in _NODES.items()}
    return Trees(np.zeros(1), np.zeros((0, 1), dtype=np.int64), nodes, np.zeros(0, dtype=bool))


def trees_of(model: Any, columns: Sequence[int], encoded: Mapping[int, Float64]) -> Trees:
    """The trees of a fitted histogram gradient boosting of scikit-learn.

    Args:
        model: fitted.
        columns: which column each feature of the model is.
        encoded: column of a category -> what the model's features hold for each of its codes, NaN = missing.
    """
    flags = getattr(model, "is_categorical_", None)
    flags = np.zeros(len(columns), dtype=bool) if flags is None else np.asarray(flags)
    # The model puts its categories first, and numbers their values anew.
    order = [*np.flatnonzero(flags), *np.flatnonzero(~flags)]
    known, _ = model._bin_mapper.make_known_categories_bitsets()
    values = model._preprocessor.named_transformers_["encoder"].categories_ if flags.any() else []
    ranks = {}
    for i, place in enumerate(np.flatnonzero(flags)):
        codes, seen = encoded[columns[int(place)]], np.asarray(values[i], dtype=np.float64)
        seen = seen[~np.isnan(seen)]
        at = np.minimum(np.searchsorted(seen, np.nan_to_num(codes)), max(0, len(seen) - 1))
        found = (seen[at] == codes) if len(seen) else np.zeros(len(codes), dtype=bool)
        # What the training rows did not hold counts as missing.
        ranks[i] = np.where(found & _in(known[i], at), at, -1)
    parts: dict[str, list[Array]] = {name: [] for name in _NODES}
    tables: list[npt.NDArray[np.bool_]] = []
    roots, first, filled = [], 0, 0
    for trees in model._predictors:
        row = []
        for tree in trees:
            nodes = tree.nodes
            row.append(first)
            leaf = nodes["is_leaf"].astype(bool)
            column = np.where(leaf, -1, np.asarray(columns)[np.asarray(order)[nodes["feature_idx"]]])
            at = np.full(len(nodes), -1)
            for n in np.flatnonzero(nodes["is_categorical"].astype(bool) & ~leaf):
                rank = ranks[int(nodes["feature_idx"][n])]
                left = _in(tree.raw_left_cat_bitsets[nodes["bitset_idx"][n]], np.maximum(rank, 0))
                tables.append(np.where(rank < 0, bool(nodes["missing_go_to_left"][n]), left))
                at[n] = filled
                filled += len(rank)
            value = np.where(leaf, nodes["value"], 0.0)
            kept: list[Array] = [column, nodes["num_threshold"], nodes["missing_go_to_left"]]
            kept += [nodes["left"] + first, nodes["right"] + first, value, at]
            for name, array in zip(_NODES, kept, strict=True):
                parts[name].append(array)
            first += len(nodes)
        roots.append(row)
    nodes_of = {name: np.concatenate(parts[name]).astype(kind) for name, kind in _NODES.items()}
    start = np.asarray(model._baseline_prediction, dtype=np.float64).reshape(-1)
    flat = np.concatenate([np.zeros(0, dtype=bool), *tables])
    return Trees(start, np.array(roots, dtype=np.int64), nodes_of, flat)


def _in(bits: Array, values: Array) -> npt.NDArray[np.bool_]:
    """Which values are in a set of numbers below 256, kept as eight 32-bit words."""
    words = np.asarray(bits, dtype=np.uint32)[np.asarray(values) // 32]
    found: npt.NDArray[np.bool_] = (words >> (np.asarray(values) % 32).astype(np.uint32)) & 1 == 1
    return found


def raw_trees(arrays: Mapping[str, Array], numbers: Float64, codes: Codes) -> Float64:
    """What the trees add up to, (n, k).

    Args:
        arrays: of :meth:`Trees.arrays`.
        numbers: (n, P), NaN = missing.
        codes: (n, G), of categories.
    """
    out = np.tile(arrays["start"], (len(numbers), 1))
    for row in arrays["roots"]:
        for k, root in enumerate(row):
            out[:, k] += arrays["node/value"][_leaves(int(root), arrays, numbers, codes)]
    return out


def _leaves(root: int, arrays: Mapping[str, Array], numbers: Float64, codes: Codes) -> npt.NDArray[np.int64]:
    """The leaf of a tree that each row ends in, (n,); all rows go down one level at a time."""
    column, table, missing = (arrays[f"node/{name}"] for name in ("column", "table", "missing"))
    node = np.full(len(numbers), root, dtype=np.int64)
    rows = np.arange(len(numbers))
    while len(rows := rows[column[node[rows]] >= 0]):
        at = node[rows]
        place = column[at]
        left = np.empty(len(rows), dtype=bool)
        coded = place >= numbers.shape[1]
        some = at[coded]
        left[coded] = arrays["tables"][table[some] + codes[rows[coded], place[coded] - numbers.shape[1]]]
        some = at[~coded]
        x = numbers[rows[~coded], place[~coded]]
        left[~coded] = np.where(np.isnan(x), missing[some], x <= arrays["node/threshold"][some])
        node[rows] = np.where(left, arrays["node/left"][at], arrays["node/right"][at])
    return node
