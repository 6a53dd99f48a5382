"""The transcriptome transformer against an ordinary nn.Module of the same model, in its literal form.

A training step (forward, backward, fused Adam) at the published widths (8 layers, 4 heads, 64, 256), in
turns; medians, and what an epoch of 560 patients takes by them. Memory is the peak of a process of its own
that does one of the two, above one that does nothing. Batches get smaller as genes grow, so that the literal
form, which keeps matrices of genes x genes, fits the machine.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch

from m3h_pipeline.config.model import Transcriptome
from m3h_pipeline.model.keys import Draws
from m3h_pipeline.model.transcriptome import Transcriptome as Encoder
from tests.model.plain_transcriptome import PlainTranscriptome

OPTIONS = Transcriptome(dropout=0.0)
HIDDEN = (128,)
ROUNDS = 3
#: Patients of an epoch: the training part of TCGA-BRCA.
PATIENTS = 560
#: Genes -> rows of a minibatch.
SIZES = {200: 16, 1000: 4, 2000: 2}


def step(form: str, genes: int, batch: int) -> Callable[[], None]:
    """A training step of one of the two forms, or nothing."""
    x = torch.rand(1, batch, genes)
    if form == "nothing":
        return lambda: None
    network: torch.nn.Module
    if form == "literal":
        # The attention weights are not asked for, only what is learned from.
        network = plain = PlainTranscriptome(genes, HIDDEN, OPTIONS)
        forward = partial(plain.encode, x[0])
    else:
        network = Encoder([f"g{i}" for i in range(genes)], HIDDEN, OPTIONS, Draws([(0,)]))
        forward = partial(network, x)
    adam = torch.optim.Adam(network.parameters(), 1e-4, fused=True)

    def run() -> None:
        adam.zero_grad()
        torch.autograd.backward(forward().square().sum())
        adam.step()

    return run


def peak(form: str, genes: int, batch: int) -> float:
    """Peak memory, in MB, of this process after two steps."""
    torch.set_num_threads(1)
    run = step(form, genes, batch)
    run()
    run()
    line = next(s for s in Path("/proc/self/status").read_text().splitlines() if s.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def alone(form: str, genes: int, batch: int) -> float:
    """The same in a new process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(peak, form, genes, batch).result()


@pytest.mark.parametrize(("genes", "batch"), SIZES.items())
def test_time_and_memory_of_a_step(genes: int, batch: int) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        forms = {form: step(form, genes, batch) for form in ("literal", "collapsed")}
        seconds: dict[str, list[float]] = {form: [] for form in forms}
        for run in forms.values():
            run()
        for _ in range(ROUNDS):
            for form, run in forms.items():
                started = time.perf_counter()
                run()
                seconds[form].append(time.perf_counter() - started)
    finally:
        torch.set_num_threads(threads)
    base = alone("nothing", genes, batch)
    memory = {form: alone(form, genes, batch) - base for form in forms}
    each = {form: statistics.median(found) / batch * 1000 for form, found in seconds.items()}
    sys.stdout.write(
        f"\n{genes} genes, batch {batch}: literal {each['literal']:.0f} ms and"
        f" {memory['literal'] / batch:.0f} MB per sample, collapsed {each['collapsed']:.0f} ms and"
        f" {memory['collapsed'] / batch:.0f} MB: {each['literal'] / each['collapsed']:.2f}x as fast,"
        f" {memory['literal'] / memory['collapsed']:.1f}x less memory; an epoch of {PATIENTS} patients"
        f" {each['literal'] * PATIENTS / 1000:.0f} s and {each['collapsed'] * PATIENTS / 1000:.0f} s\n"
    )
