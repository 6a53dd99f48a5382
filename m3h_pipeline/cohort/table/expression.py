"""Gene expression in a table: names, logarithm, outliers, and which genes stay.

Steps come in this order: names without version, the list to keep, logarithm, clipping, genes that are seldom
observed, symbols that stand several times, the genes that vary most. Logarithm and clipping look at one value
at a time. Filters look at all samples, those of the test part included, but never at an outcome.
"""

from __future__ import annotations

import re
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
class Genes:
    """Expression that a source is made of.

    Attributes:
        x: (n, G) float32, NaN = missing.
        names: (G,) each once, in the order of the columns.
        report: what happened to the genes, in numbers of genes (of ``clipped``: of values).
    """

    x: Float32Array
    names: list[str]
    report: dict[str, int]


def prepare_genes(x: Float32Array, names: Sequence[str], options: GeneOptions, where: str) -> Genes:
    """Prepare expression as configured.

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
        >>> found = prepare_genes(x, ["NM_000546.5", "NM_000546.6", "TP53"], options, "genes")
        >>> found.names, found.x.tolist(), found.report["clipped"], found.report["merged"]
        (['NM_000546', 'TP53'], [[1.5, 0.0], [2.0, 2.0]], 1, 1)
    """
    symbols = [without_version(name) if options.strip_version else name for name in names]
    report = {"given": len(symbols)}
    values = x.astype(np.float64)
    if options.keep is not None:
        kept = _listed(options.keep, symbols, where)
        at = [i for i, symbol in enumerate(symbols) if symbol in kept]
        values, symbols = values[:, at], [symbols[i] for i in at]
        report["not_listed"] = report["given"] - len(at)
    if options.log != "none":
        values = _logarithm(values, symbols, options, where)
    if options.clip is not None:
        low, high = options.clip
        report["clipped"] = int(((values < low) | (values > high)).sum())
        values = np.clip(values, low, high)
    if options.min_observed > 0:
        often = np.logical_not(np.isnan(values)).mean(0) >= options.min_observed
        report["seldom_observed"] = int((~often).sum())
        values, symbols = values[:, often], [s for s, seen in zip(symbols, often, strict=True) if seen]
    values, symbols, merged = _one_each(values, symbols, options, where)
    report["merged"] = merged
    if options.top_variance is not None and options.top_variance < len(symbols):
        # Ties go by name, so that the order of the columns decides nothing.
        spread = _variance(values)
        order = sorted(range(len(symbols)), key=lambda i: (-spread[i], symbols[i]))
        at = sorted(order[: options.top_variance])
        report["less_variable"] = len(symbols) - len(at)
        values, symbols = values[:, at], [symbols[i] for i in at]
    if not symbols:
        raise InputError("no gene is left", where=where, hint="loosen `keep` or `min_observed`")
    report["kept"] = len(symbols)
    return Genes(values.astype(np.float32), symbols, report)


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
    shift = 1.0 if options.log == "log1p" else options.pseudo_count
    if (wrong := x + shift <= 0).any():
        column = int(np.argmax(wrong.any(0)))
        raise InputError(
            f"gene `{symbols[column]}` has values without a logarithm",
            where=f"{where}.log",
            hint="the values may be logarithms or z-scores already; else raise `pseudo_count`",
        )
    return np.log1p(x) if options.log == "log1p" else np.log2(x + shift)


def _variance(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Variance of each column over what is observed; 0 where nothing is."""
    seen = ~np.isnan(x)
    count = np.maximum(seen.sum(0), 1)
    mean = np.where(seen, x, 0.0).sum(0) / count
    variance: npt.NDArray[np.float64] = np.square(np.where(seen, x - mean, 0.0)).sum(0) / count
    return variance


def _one_each(
    x: npt.NDArray[np.float64], symbols: Sequence[str], options: GeneOptions, where: str
) -> tuple[npt.NDArray[np.float64], list[str], int]:
    """One column per symbol, where its first column stood, and how many columns went into others."""
    columns: dict[str, list[int]] = {}
    for i, symbol in enumerate(symbols):
        columns.setdefault(symbol, []).append(i)
    merged = len(symbols) - len(columns)
    if not merged:
        return x, list(symbols), 0
    if options.duplicates == "error":
        symbol = next(s for s, at in columns.items() if len(at) > 1)
        raise InputError(
            f"gene `{symbol}` stands {len(columns[symbol])} times",
            where=where,
            hint="say what becomes of such genes: `duplicates: mean`, `max_variance` or `first`",
        )
    spread = _variance(x)
    parts = []
    for at in columns.values():
        if options.duplicates == "mean" and len(at) > 1:
            seen = ~np.isnan(x[:, at])
            total, count = np.where(seen, x[:, at], 0.0).sum(1), seen.sum(1)
            parts.append(np.where(count > 0, total / np.maximum(count, 1), np.nan))
        else:
            best = max(at, key=lambda i: spread[i]) if options.duplicates == "max_variance" else at[0]
            parts.append(x[:, best])
    return np.stack(parts, 1), list(columns), merged
