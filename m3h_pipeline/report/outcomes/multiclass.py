"""The page of an outcome of several classes: which is taken for which, and each class against the others."""

from __future__ import annotations

from collections.abc import Iterator

from m3h_pipeline.figures.text import class_title
from m3h_pipeline.report import charts
from m3h_pipeline.report.blocks import Block, chart, heading, on_screen, table, words
from m3h_pipeline.report.facts import chosen
from m3h_pipeline.report.gather import Gathered
from m3h_pipeline.report.outcomes.common import slope_table
from m3h_pipeline.report.outcomes.said import arm, filled, interval, model, number, one, share


def multiclass_blocks(gathered: Gathered, task: str) -> list[Block]:
    """Blocks of a multiclass outcome, between its companions and its subgroups."""
    return [
        heading("Which class is taken for which"),
        *_confusion(gathered, task),
        heading("Each class against the others"),
        *_classes(gathered, task),
        *on_screen(slope_table(gathered, task)),
    ]


def _confusion(gathered: Gathered, task: str) -> Iterator[Block]:
    use = chosen(gathered, task)
    classes = list(gathered.tasks[task].classes)
    rows = [row for row in gathered.rows("confusion", task) if row["candidate"] == use]
    known = [row for row in rows if row["n"] is not None]
    accuracy = one(gathered.rows("performance", task), candidate=use, state="before", measure="accuracy")
    brier = one(gathered.rows("performance", task), candidate=use, state="before", measure="scaled_brier")
    said = []
    if accuracy is not None:
        said.append(f"The likeliest class is the right one for {share(accuracy)} of the test samples")
    if brier is not None:
        said.append(
            f"scaled Brier score {interval(brier)} (0: no better than the frequencies of the classes)"
        )
    if said:
        yield words("; ".join(said) + ".")
    if not known:
        yield words("No cell may be shown: too few patients of each class.")
        return
    most = max(row["n"] for row in known)
    titles = [class_title(name) for name in classes]
    cells = [
        (classes.index(row["predicted"]), classes.index(row["observed"]), float(row["n"]))
        for row in known
        if row["observed"] in classes and row["predicted"] in classes
    ]
    hidden = len(rows) - len(known)
    yield chart(
        "Observed (rows) and predicted class (columns)",
        charts.heatmap(titles, titles, cells, ["samples"], float(most), diverging=False),
        f"Numbers of test samples, {model(str(use))}. "
        + (
            f"{hidden} of {len(rows)} cells are hidden: they are of 1 to 10 patients, or one could tell "
            "such. The lightest colour is 0."
            if hidden
            else "No cell is hidden."
        ),
        f"Confusion of {len(classes)} classes, {len(known)} cells shown.",
        wide=True,
    )


def _classes(gathered: Gathered, task: str) -> Iterator[Block]:
    use, (network, drawn_as, other) = chosen(gathered, task), arm(gathered, task)
    curves = [row for row in gathered.rows("roc", task) if row["model"] == network]
    drawn = []
    for name in gathered.tasks[task].classes:
        mine = [row for row in curves if row["class_name"] == name][::5]
        if mine:
            title = f"{class_title(name)} {number(mine[0]['auroc'], 2)}"
            drawn.append(charts.series(title, [r["fpr"] for r in mine], [r["tpr"] for r in mine]))
    if drawn:
        yield chart(
            f"ROC curve of each class ({drawn_as})",
            charts.lines(
                charts.axis("false positive rate", 0, 1, percent=True),
                charts.axis("sensitivity", 0, 1, percent=True),
                drawn,
                diagonal=True,
            ),
            "A class against all others, with its area; at corners between which no 1 to 10 patients are."
            + other,
            f"ROC curves of {len(drawn)} classes.",
        )
    rows = [
        row
        for row in gathered.rows("performance", task)
        if row["candidate"] == use and row["state"] == "before" and row["class_name"]
    ]
    measures = ("auroc", "auprc", "sensitivity", "specificity", "ppv")
    shown = [name for name in measures if any(row["measure"] == name for row in rows)]
    cells = [
        [class_title(name) if name != "macro" else "mean of the classes"]
        + [interval(one(rows, class_name=name, measure=measure), digits=2) for measure in shown]
        for name in dict.fromkeys(row["class_name"] for row in rows)
    ]
    if cells:
        names = {"auroc": "AUROC", "auprc": "mean precision", "ppv": "PPV"}
        yield table("By class", *filled(["class", *(names.get(m, m) for m in shown)], cells))
