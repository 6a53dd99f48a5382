"""How fast devices train: the rates by which jobs are sized and a study is forecast.

Those of cards are measured by ``make gpu`` and stand in ``docs/gpu/<card>.json``; where no card was measured
they are an estimate, and called one. Those of ``CPU`` are measured, on one thread of an AMD EPYC server in
float32: 21.6 ms per model and step at the published widths (1.6 M parameters, batch 256), 4.15 and 2.05 ms at
90,370 parameters and batches of 256 and 128, where these rates say 23.2, 4.2 and 2.2 ms.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Final

from m3h_pipeline.errors import ContractError
from m3h_pipeline.shipped import shipped

#: Where ``make gpu`` writes.
MEASURED: Final = shipped("docs/gpu")


@dataclass(frozen=True)
class Device:
    """Rates of a device, in seconds.

    Attributes:
        said: whose rates they are, for people.
        per_operation: an operation of the weight matrices in float32.
        per_byte: a byte of the optimiser's memory traffic.
        per_row: a row of a minibatch and a model, whatever its tasks.
        per_task: more for each of its tasks.
        speed: precision -> how much faster the operations are than in float32.
        per_step: a step of a stack, however small: the host starts its kernels. A larger stack takes the
            longer of this and its work.
    """

    said: str
    per_operation: float
    per_byte: float
    per_row: float
    per_task: float
    speed: Mapping[str, float]
    per_step: float = 0.0

    def arithmetic(self, operations: float, precision: str) -> float:
        """Seconds of operations of the weight matrices; in a precision nobody measured as in float32."""
        return operations * self.per_operation / self.speed.get(precision, 1.0)

    @property
    def step(self) -> float:
        """Seconds of a step of a pair at the published widths: how cards are told apart."""
        return 2.4e9 * self.per_operation + 5.6e7 * self.per_byte + 256 * (self.per_row + 2 * self.per_task)


#: In bfloat16 a processor without instructions for it is slower: jobs are given the time of float32.
CPU: Final = Device(
    "as measured on one thread of an AMD EPYC server",
    *(1 / 160e9, 1 / 12e9, 5e-6, 3.5e-6),
    {"float32": 1.0, "float64": 0.5},
)
#: A processor with instructions for bfloat16 (AVX-512 BF16), measured as those above: docs/gpu.md.
CPU_BFLOAT16: Final = replace(CPU, speed={**CPU.speed, "bfloat16": 2.26})
#: For one 40 GB data-centre GPU: about half of its nominal arithmetic, two thirds of its memory bandwidth.
ESTIMATE: Final = Device(
    "an estimate: no card has been measured yet (`make gpu`)",
    *(1 / 10e12, 1 / 1e12, 1e-7, 5e-8),
    {"float32": 1.0, "tf32": 3.0, "bfloat16": 3.0, "float64": 0.5},
)


@cache
def cards(folder: Path = MEASURED) -> dict[str, Device]:
    """The cards that were measured: name -> rates.

    Raises:
        ContractError: a file does not say what a card's file says.
    """
    found = {}
    for path in sorted(folder.glob("*.json")):
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            name, part = str(content["device"]["name"]), content["parts"].get("rates")
            if part is None or "per_byte" not in part["sizing"]:
                continue
            rates = part["sizing"]
            found[name] = Device(
                f"as measured on {name} on {part['date']}",
                per_operation=float(rates["per_operation"]),
                per_byte=float(rates["per_byte"]),
                per_row=float(rates["per_row"]),
                per_task=float(rates["per_task"]),
                speed={kind: float(value) for kind, value in rates["speed"].items()},
                per_step=float(rates["per_step"]),
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ContractError(
                f"this is no file of a card: {error!r}",
                where=str(path),
                hint="run `make gpu` again, or delete the file",
            ) from error
    return found


def rates_of(gpu: bool, card: str | None = None, known: Mapping[str, Device] | None = None) -> Device:
    """The rates that a job's time is reckoned by.

    Of several cards that were measured the nearest by name is taken, and of those that are equally near the
    slowest, so that limits hold on all of them.

    Args:
        gpu: whether it trains on a GPU.
        card: what the card is called, as far as it is known: "a100".
        known: cards that were measured; None: those in ``docs/gpu``.

    Raises:
        ContractError: the file of a card is no such file.

    Examples:
        >>> slow, fast = replace(ESTIMATE, said="slow"), replace(ESTIMATE, said="fast", per_byte=1e-13)
        >>> known = {"NVIDIA A100": slow, "NVIDIA H100": fast}
        >>> rates_of(True, "h100", known).said, rates_of(True, None, known).said
        ('fast', 'slow')
        >>> rates_of(True, "NVIDIA L40S", known).said
        'slow, the nearest to NVIDIA L40S'
    """
    if not gpu:
        return CPU
    known = cards() if known is None else known
    if not known:
        return ESTIMATE
    wanted = _words(card or "")
    name = max(known, key=lambda one: (len(wanted & _words(one)), known[one].step))
    if card is None or wanted & _words(name) == wanted:
        return known[name]
    return replace(known[name], said=f"{known[name].said}, the nearest to {card}")


def _words(name: str) -> set[str]:
    return set(re.findall(r"[a-z]*\d+[a-z]*|[a-z]+", name.lower()))
