"""Charts as compact data, drawn by ``assets/charts.js`` when they come into view.

A spec says what is shown and no style: colours, fonts and behaviour stand once, in ``charts.js``. Numbers are
rounded to what a screen shows. Every spec is drawn as a chart and as the table behind "numbers".
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Spec = dict[str, Any]
Number = float | int | None
#: Significant digits of numbers in charts.
DIGITS = 4


def rounded(value: Number, digits: int = DIGITS) -> Number:
    """A number to some significant digits; None where it is undefined.

    Examples:
        >>> rounded(0.123456), rounded(12.0), rounded(float("nan")), rounded(-0.0)
        (0.1235, 12, None, 0)
    """
    if value is None or not math.isfinite(value):
        return None
    short = float(f"{value:.{digits}g}")
    return int(short) if short.is_integer() else short


def _all(values: Iterable[Number]) -> list[Number]:
    return [rounded(value) for value in values]


def axis(
    name: str,
    least: float | None = None,
    most: float | None = None,
    percent: bool = False,
    log: bool = False,
    whole: bool = False,
) -> Spec:
    """An axis.

    Args:
        name: beside it, with the unit.
        least, most: its ends; None: by the data.
        percent: shares are shown as percent.
        log: logarithmic.
        whole: ticks at whole numbers alone.

    Examples:
        >>> axis("risk", 0, 1, percent=True)
        {'name': 'risk', 'min': 0, 'max': 1, 'percent': True}
    """
    found = {"name": name, "min": rounded(least), "max": rounded(most)}
    flags = {"percent": percent, "log": log, "whole": whole}
    return {key: value for key, value in found.items() if value is not None} | {
        key: True for key, value in flags.items() if value
    }


def series(
    name: str,
    x: Sequence[Number],
    y: Sequence[Number],
    low: Sequence[Number] | None = None,
    high: Sequence[Number] | None = None,
    look: str = "",
    dash: bool = False,
    step: bool = False,
    dots: bool = False,
    line: bool = True,
) -> Spec:
    """A line of :func:`lines`.

    Args:
        name: in the legend.
        x, y: (n,).
        low, high: ends of an interval around y, drawn as a band, or as bars where ``dots`` are drawn.
        look: a model's name (``figures.looks``), or a colour; empty: the next colour.
        dash: a dashed line.
        step: y stays until the next x.
        dots: a mark at every point.
        line: whether points are joined.
    """
    found: Spec = {"name": name, "x": _all(x), "y": _all(y)}
    if low is not None and high is not None:
        found |= {"low": _all(low), "high": _all(high)}
    flags = {"look": look, "dash": dash, "step": step, "dots": dots, "bare": not line}
    return found | {key: value for key, value in flags.items() if value}


def lines(
    x: Spec,
    y: Spec,
    drawn: Sequence[Spec],
    diagonal: bool = False,
    rules: Sequence[Mapping[str, Any]] = (),
) -> Spec:
    """Lines over a numeric axis.

    Args:
        x, y: of :func:`axis`.
        drawn: of :func:`series`.
        diagonal: with the line y = x.
        rules: straight lines across: ``{"x": 0.2, "name": "..."}`` or ``{"y": ...}``.
    """
    found: Spec = {"kind": "lines", "x": x, "y": y, "series": list(drawn)}
    if diagonal:
        found["diagonal"] = True
    if rules:
        found["rules"] = [dict(rule) for rule in rules]
    return found


def intervals(
    x: Spec,
    rows: Sequence[str],
    drawn: Sequence[Mapping[str, Any]],
    zero: float | None = None,
) -> Spec:
    """Points with intervals, a row each (a forest plot).

    Args:
        x: of :func:`axis`.
        rows: their names, from top to bottom.
        drawn: ``{"name", "look", "value", "low", "high"}``, each of as many numbers as rows.
        zero: where a line of no difference stands.
    """
    made = [
        {key: _all(value) if key in {"value", "low", "high"} else value for key, value in one.items()}
        for one in drawn
    ]
    return {"kind": "intervals", "x": x, "rows": list(rows), "series": made} | (
        {} if zero is None else {"zero": zero}
    )


def bars(
    categories: Sequence[str],
    y: Spec,
    drawn: Sequence[Mapping[str, Any]],
    name: str = "",
    stacked: bool = False,
    lying: bool = False,
) -> Spec:
    """Bars by category.

    Args:
        categories: their names.
        y: of :func:`axis`.
        drawn: ``{"name", "look", "y"}``, optionally with ``low`` and ``high``.
        name: of the axis of the categories.
        stacked: one upon the other.
        lying: from left to right, for long names.
    """
    made = [
        {key: _all(value) if key in {"y", "low", "high"} else value for key, value in one.items()}
        for one in drawn
    ]
    found: Spec = {
        "kind": "bars",
        "categories": list(categories),
        "name": name,
        "y": y,
        "series": made,
    }
    return found | ({"stacked": True} if stacked else {}) | ({"lying": True} if lying else {})


def heatmap(
    columns: Sequence[str],
    rows: Sequence[str],
    cells: Sequence[Sequence[Any]],
    measures: Sequence[str],
    limit: float,
    diverging: bool = True,
    least: float = 0.0,
) -> Spec:
    """A heatmap.

    Args:
        columns: names from left to right.
        rows: names from top to bottom.
        cells: (column, row, value, ...), the rest as ``measures`` names it.
        measures: what the cells hold beyond column and row; the first one is the colour.
        limit: the value of the strongest colour.
        diverging: colours of a signed change; else of an amount from ``least`` on.
        least: the value of the weakest colour of an amount.
    """
    made = [[*cell[:2], *(rounded(v) if isinstance(v, float) else v for v in cell[2:])] for cell in cells]
    return {
        "kind": "heatmap",
        "columns": list(columns),
        "rows": list(rows),
        "cells": made,
        "measures": list(measures),
        "limit": rounded(limit),
    } | ({"diverging": True} if diverging else {"least": rounded(least)})


def grid(
    x: Spec,
    y: Spec,
    cells: Sequence[Sequence[Number]],
    measure: str = "samples",
    diagonal: bool = False,
) -> Spec:
    """Counts on a grid over two numeric axes.

    Args:
        x, y: of :func:`axis`.
        cells: (x from, x to, y from, y to, n).
        measure: what n counts.
        diagonal: with the line y = x.
    """
    found: Spec = {
        "kind": "grid",
        "x": x,
        "y": y,
        "cells": [_all(cell) for cell in cells],
        "measure": measure,
    }
    return found | ({"diagonal": True} if diagonal else {})


def tiles(
    x: Spec, y: Spec, drawn: Sequence[Mapping[str, Any]], side: tuple[float, float], measure: str = "samples"
) -> Spec:
    """A map of cells on a grid, each in the colour of its group and the darker the more it holds.

    Args:
        x, y: of :func:`axis`.
        drawn: ``{"name", "points": [(x, y, n), ...]}``: middles of cells.
        side: width and height of a cell.
        measure: what n counts.
    """
    made = [{**one, "points": [_all(point) for point in one["points"]]} for one in drawn]
    return {"kind": "tiles", "x": x, "y": y, "series": made, "side": _all(side), "measure": measure}


def network(
    nodes: Sequence[Mapping[str, Any]], edges: Sequence[Mapping[str, Any]], measures: Sequence[str]
) -> Spec:
    """A network with arrows.

    Args:
        nodes: ``{"name", "group", "to"}``; ``to``: where a click leads.
        edges: ``{"from", "to", "values"}``: places of nodes, and numbers as ``measures`` names them; the
            first one is the width and, by its sign, the colour.
        measures: what the edges hold.
    """
    made = [{**edge, "values": [rounded(v) for v in edge["values"]]} for edge in edges]
    return {
        "kind": "network",
        "nodes": [dict(node) for node in nodes],
        "edges": made,
        "measures": list(measures),
    }
