"""Training a stack against four loops that train the same models otherwise, and against the device itself.

Not part of the test suite. Run it on a machine that does nothing else::

    OMP_NUM_THREADS=1 pytest -o addopts= -s tests/benchmarks/bench_training.py

It is the part ``rates`` of ``make gpu`` (:mod:`tests.gpu.rates`) at the size of a processor's table;
``M3H_TEST_DEVICE=cuda`` measures a card. On a CPU it is the time of the processor, so that other work on the
machine counts less; on a GPU the wall clock.
"""

from __future__ import annotations

import torch

from tests.gpu.document import rates_of
from tests.gpu.rates import ON_CPU, Rates, Size
from tests.training.studies import DEVICE


def test_a_stack_is_faster_than_a_loop() -> None:
    torch.set_num_threads(1)
    size = Size() if DEVICE == "cuda" else ON_CPU
    found = Rates(size, torch.device(DEVICE), lambda line: None).run()
    print("\n" + rates_of(found))
    for table in found["tables"]:
        largest = list(table["stacks"].values())[-1]
        assert largest["stack"] < table["indexed"], (table["widths"], table["precision"])
