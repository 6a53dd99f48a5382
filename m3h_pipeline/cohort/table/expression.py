"""Gene expression in a table: names, logarithm, outliers, and which genes stay.

Steps come in this order: names without version, the list to keep, logarithm, clipping, genes that are seldom
observed, symbols that stand several times, the genes that vary most. Logarithm and clipping look at one value
at a time. Filters look at all samples, those of the test part included, but never at an outcome.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from m3h_pipeline.coding import Float32Array
from m3h_pipeline.config.sources import GeneOptions
from m3h_pipeline.errors import InputError, nearest
from m3h_pipeline.tables.textfile import open_bytes

#: Identifiers that carry a version: stable ones of Ensembl (a gene's copy on chromosome Y in GENCODE is
#: another gene) and accessions of RefSeq. `RP11-34P13.7` and `AC114498.1` are names of clones.
_VERSION = re.compile(r"(ENS[A-Z]*\d{11}|[NX][MRPGCT]_\d{6,9})\.\d+(_PAR_Y)?")


@dataclass(frozen=True)
class Kept:
    """Which genes stay, and what they are made of.

    Attributes:
        columns: gene -> numbers of its columns, of which several are averaged; in the order of the features.
        of: gene -> how many columns it has, used or not.
        report: what happened to the genes, in numbers of genes (of ``clipped``: of values).
    """

    columns: dict[str, list[int]]
    of: dict[str, int]
    report: dict[str, int]


def learn_genes(x: Float32Array, names: Sequence[str], options: GeneOptions, where: str) -> Kept:
    """Choose the genes as configured.

    Args:
        x: (n, G) values, NaN = missing.
        names: of the columns; a gene may stand several times.
        options: section ``source.blocks.<name>.genes``.
        where: the section, for messages.

    Raises:
        InputError: a listed gene is absent, a value has no logarithm, a symbol stands several times and
            ``duplicates`` is ``error``, or no gene is left.

    Examples:
        >>> x = np.array([[1, 3, 0], [3, 3, 8]], dtype=np.float32)
        >>> options = GeneOptions(strip_version=True, log="log2", clip=(0, 2), duplicates="mean")
        >>> found = learn_genes(x, ["NM_000546.5", "NM_000546.6", "TP53"], options, "genes")
        >>> found.columns, found.report["clipped"], found.report["merged"]
        ({'NM_000546': [0, 1], 'TP53': [2]}, 1, 1)
        >>> applied(x, list(found.columns), [2, 1], options).tolist()
        [[1.5, 0.0], [2.0, 2.0]]
    """
    symbols = [without_version(name) if options.strip_version else name for name in names]
    report = {"given": len(symbols)}
    at = list(range(len(symbols)))
    if options.keep is not None:
        kept = _listed(options.keep, symbols, where)
        at = [i for i in at if symbols[i] in kept]
        report["not_listed"] = report["given"] - len(at)
    values = _logarithm(x[:, at].astype(np.float64), [symbols[i] for i in at], options, f"{where}.log")
    if options.clip is not None:
        low, high = options.clip
        report["clipped"] = int(((values < low) | (values > high)).sum())
        values = np.clip(values, low, high)
    if options.min_observed > 0:
        often = np.logical_not(np.isnan(values)).mean(0) >= options.min_observed
        report["seldom_observed"] = int((~often).sum())
        values, at = values[:, often], [i for i, seen in zip(at, often, strict=True) if seen]
    columns: dict[str, list[int]] = {}
    for j, i in enumerate(at):
        columns.setdefault(symbols[i], []).append(j)
    report["merged"] = len(at) - len(columns)
    chosen = _one_each(values, columns, options, where)
    if options.top_variance is not None and options.top_variance < len(chosen):
        spread = _variance(_averaged(values, list(chosen.values())))
        names = list(chosen)
        # Ties go by name, so that the order of the columns decides nothing.
        order = sorted(range(len(names)), key=lambda i: (-spread[i], names[i]))
        first = set(order[: options.top_variance])
        report["less_variable"] = len(names) - len(first)
        chosen = {name: chosen[name] for i, name in enumerate(names) if i in first}
    if not chosen:
        raise InputError("no gene is left", where=where, hint="loosen `keep` or `min_observed`")
    report["kept"] = len(chosen)
    every = Counter(symbols)
    return Kept(
        {symbol: [at[j] for j in found] for symbol, found in chosen.items()},
        {symbol: every[symbol] for symbol in chosen},
        report,
    )


def applied(
    x: Float32Array, symbols: Sequence[str], widths: Sequence[int], options: GeneOptions
) -> Float32Array:
    """Expression of the chosen genes: logarithm, clipping, the mean of a gene's columns; each row by itself.

    Args:
        x: (n, columns) values, those of a gene beside one another, NaN = missing.
        symbols: of the genes, for messages.
        widths: how many columns each gene has.
        options: of which `log`, `pseudo_count` and `clip` count.

    Raises:
        InputError: a value has no logarithm.

    Shape:
        (n, genes) float32.
    """
    each = [symbol for symbol, width in zip(symbols, widths, strict=True) for _ in range(width)]
    values = _logarithm(x.astype(np.float64), each, options, "genes: {log: " + options.log + "}")
    if options.clip is not None:
        values = np.clip(values, *options.clip)
    starts = np.cumsum([0, *widths])
    groups = [list(range(a, b)) for a, b in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True)]
    return _averaged(values, groups).astype(np.float32)


def without_version(name: str) -> str:
    """A gene's name without the version of its record.

    Examples:
        >>> [without_version(name) for name in ("ENSG00000141510.16", "ENSG00000182378.15_PAR_Y")]
        ['ENSG00000141510', 'ENSG00000182378_PAR_Y']
        >>> without_version("RP11-34P13.7")
        'RP11-34P13.7'
    """
    found = _VERSION.fullmatch(name)
    return f"{found[1]}{found[2] or ''}" if found else name


def _listed(keep: list[str] | str, symbols: Sequence[str], where: str) -> set[str]:
    """The genes to keep, from a list or a file with one gene per line."""
    if isinstance(keep, str):
        with open_bytes(keep) as stream:
            text = stream.read().decode("utf-8", errors="replace")
        listed, where = [line.strip() for line in text.splitlines()], keep
        # A panel that a file names is seldom measured whole: what is there of it is kept.
        found = {gene for gene in listed if gene} & set(symbols)
        if not found:
            raise InputError(
                "none of the listed genes is in the block",
                where=where,
                hint="one gene per line, named as in the table",
            )
        return found
    if absent := [gene for gene in keep if gene not in set(symbols)]:
        raise InputError(
            f"gene `{absent[0]}` is not in the block",
            where=f"{where}.keep",
            hint=nearest(absent[0], set(symbols)),
        )
    return set(keep)


def _logarithm(
    x: npt.NDArray[np.float64], symbols: Sequence[str], options: GeneOptions, where: str
) -> npt.NDArray[np.float64]:
    if options.log == "none":
        return x
    shift = 1.0 if options.log == "log1p" else options.pseudo_count
    if (wrong := x + shift <= 0).any():
        column = int(np.argmax(wrong.any(0)))
        raise InputError(
            f"gene `{symbols[column]}` has values without a logarithm",
            where=where,
            hint="the values may be logarithms or z-scores already; else raise `pseudo_count`",
        )
    # One layout in memory: libraries may round the logarithm of another in another way.
    flat = np.ascontiguousarray(x).reshape(-1)
    found = np.log1p(flat) if options.log == "log1p" else np.log2(flat + shift)
    return found.reshape(x.shape)


def _variance(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Variance of each column over what is observed; 0 where nothing is."""
    seen = ~np.isnan(x)
    count = np.maximum(seen.sum(0), 1)
    mean = np.where(seen, x, 0.0).sum(0) / count
    variance: npt.NDArray[np.float64] = np.square(np.where(seen, x - mean, 0.0)).sum(0) / count
    return variance


def _one_each(
    x: npt.NDArray[np.float64], columns: dict[str, list[int]], options: GeneOptions, where: str
) -> dict[str, list[int]]:
    """The columns that make each symbol, in the order of their first ones."""
    if options.duplicates == "error":
        for symbol, at in columns.items():
            if len(at) > 1:
                raise InputError(
                    f"gene `{symbol}` stands {len(at)} times",
                    where=where,
                    hint="say what becomes of such genes: `duplicates: mean`, `max_variance` or `first`",
                )
    if options.duplicates == "mean":
        return columns
    spread = _variance(x) if options.duplicates == "max_variance" else np.zeros(x.shape[1])
    # Of equal ones the first.
    return {symbol: [max(at, key=lambda i: spread[i])] for symbol, at in columns.items()}


def _averaged(x: npt.NDArray[np.float64], groups: Sequence[list[int]]) -> npt.NDArray[np.float64]:
    """One column per group: its mean over what is observed, which no order of columns changes."""
    found = x[:, [at[0] for at in groups]]
    for g, at in enumerate(groups):
        if len(at) > 1:
            # In ascending order, missing ones last: a sum depends on the order of what is added.
            part = np.sort(x[:, at], axis=1)
            count = np.logical_not(np.isnan(part)).sum(1)
            total = np.zeros(len(x))
            for j in range(len(at)):
                total += np.where(np.isnan(part[:, j]), 0.0, part[:, j])
            found[:, g] = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return found
