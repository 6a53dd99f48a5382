"""What a study's plans name: packs, the tasks each of them learns, and their files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from m3h_pipeline.coding import labelled_by
from m3h_pipeline.files import read_json
from m3h_pipeline.layout import Layout, StageFiles

#: Tables of a pack of cross-validated fits.
CROSSED_KINDS = ("scores", "predictions")
#: Tables of a pack of final fits.
FINAL_KINDS = (*CROSSED_KINDS, "attention", "latents")


def packs(plan: Path) -> dict[str, list[str]]:
    """Pack -> the tasks that it learns, sorted.

    Raises:
        InputError: there is no plan.
    """
    return {
        pack: sorted({task for entry in entries for task in entry["combination"]})
        for pack, entries in read_json(plan)["packs"].items()
    }


def planner(stage: str) -> tuple[str, dict[str, str]]:
    """The rule that plans a stage, and its wildcards.

    Examples:
        >>> planner("search/round_2"), planner("search/networks/mlp"), planner("search/tim")
        (('plan_round', {'round': '2'}), ('plan_network', {'network': 'mlp'}), ('plan_tim', {}))
    """
    kind, _, name = stage.removeprefix("search/").partition("/")
    if kind.startswith("round_"):
        return "plan_round", {"round": kind.removeprefix("round_")}
    return ("plan_network", {"network": name}) if kind == "networks" else (f"plan_{kind}", {})


def pack_files(stage: StageFiles, kind: str) -> list[Path]:
    """Tables of one kind of every pack that a stage trains."""
    return [stage.of_pack(pack, kind) for pack in packs(stage.plan)]


def pack_models(layout: Layout, final: StageFiles) -> list[Path]:
    """Folders of the models of every pack of the final fits."""
    return [layout.models_of(pack) for pack in packs(final.plan)]


def pack_labels(layout: Layout, stage: StageFiles, pack: str) -> list[Path]:
    """Labels of the tasks that a pack learns: no other task's definition touches it."""
    named = dict.fromkeys(labelled_by(task) for task in packs(stage.plan)[pack])
    return [layout.labels.labels_of(task) for task in named]


def rounds(layout: Layout) -> Iterator[StageFiles]:
    """The rounds of a finished search; the last one has nothing to train.

    Raises:
        InputError: a round has no plan.
    """
    number = 1
    while True:
        stage = layout.round(number)
        yield stage
        if not packs(stage.plan):
            return
        number += 1


def stages(layout: Layout, networks: Iterable[str] = ()) -> Iterator[StageFiles]:
    """All that a finished study trained: rounds, TIM, final fits, compared networks.

    Args:
        layout: of the study.
        networks: names of the networks that it compares.
    """
    yield from rounds(layout)
    yield layout.tim
    yield layout.final
    yield from (layout.networks.fits_of(name) for name in networks)
