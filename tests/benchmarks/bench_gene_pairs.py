"""Which measure finds the pairs of genes that an outcome depends on.

    python -m tests.benchmarks.bench_gene_pairs

Expression of 40 independent genes; the log odds of the outcome are a sum of products of six known pairs (and
of three single genes, which interact with nothing). Five seeds of cohort and model. Prints the AUROC of the
ranking of all 780 pairs by each measure, and in how many shuffled outcomes any pair passes FDR 0.05.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np
import torch
from sklearn.metrics import roc_auc_score

from m3h_pipeline.config import Compute, Modality, Model, Training
from m3h_pipeline.config.model import Transcriptome
from m3h_pipeline.gene_pairs.attention import compare, read_attention
from m3h_pipeline.gene_pairs.function import effects, output_of
from m3h_pipeline.training.data import StudyData
from m3h_pipeline.training.fits import run_fits
from m3h_pipeline.training.fitted import FittedModel
from m3h_pipeline.training.spec import FitSpec, TrainingSettings

GENES, SAMPLES, TEST = 40, 3000, 600
PAIRS = [(0, 1), (2, 3), (4, 5), (6, 7), (8, 9), (10, 11)]
ABOVE = np.triu_indices(GENES, 1)
TRUTH = np.array([(int(a), int(b)) in PAIRS for a, b in zip(*ABOVE, strict=True)])
ENCODINGS: dict[str, tuple[str, dict[str, Any]]] = {
    "untied": ("standard", {"value": "untied", "strength": 1.0}),
    "projection": ("standard", {"value": "projection"}),
}


def cohort(seed: int) -> StudyData:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(SAMPLES, GENES)).astype(np.float32)
    logit = sum(1.5 * x[:, i] * x[:, j] for i, j in PAIRS) + x[:, 20:23].sum(1)
    y = (rng.random(SAMPLES) < 1 / (1 + np.exp(-logit))).astype(np.float32)
    train = np.arange(SAMPLES) < SAMPLES - TEST
    fold = np.where(train, np.arange(SAMPLES) % 5, -1)
    task = {"problem_class": "binary", "metric": "auroc"}
    names = {"expression": [f"g{i:02d}" for i in range(GENES)]}
    return StudyData({"expression": x}, {"outcome": y}, {"outcome": task}, train, fold, names)


def fitted(data: StudyData, scaling: str, options: dict[str, Any], seed: int) -> tuple[FittedModel, float]:
    small = {"layers": 1, "heads": 4, "width": 32, "feed_forward": 64, **options}
    modality = Modality(
        sources=["expression"],
        encoder="transcriptome",
        scaling=scaling,
        transcriptome=Transcriptome(**small),
    )
    settings = TrainingSettings(
        Model(encoder=[64], shared=[64], task=[64], projection=32),
        Training(epochs=int(sys.argv[1]) if len(sys.argv) > 1 else 60),
        Compute(),
        {"expression": modality},
        seed,
    )
    (result,) = run_fits([FitSpec(("outcome",), -1, 0, 64, 3e-4)], data, settings, keep_models=True)
    assert result.parameters is not None
    return FittedModel(result.parameters, result.metadata), result.values["outcome"]


def measures(data: StudyData, model: FittedModel, shuffles: int = 100) -> tuple[dict[str, np.ndarray], int]:
    """Measure -> value of every pair; shuffled outcomes for which any pair was called."""
    rows = np.flatnonzero(~data.train)
    x = model.standardise({"expression": data.features["expression"][rows]})
    encoder = model.network.encoders["expression"]
    attention = read_attention(encoder, x)  # type: ignore[arg-type]
    group = data.labels["outcome"][rows] == 1
    difference = compare(attention.pairs, group, 200, 0)
    rng = np.random.default_rng(0)
    false = sum(
        bool(compare(attention.pairs, rng.permutation(group), 199, i).called(0.05).any())
        for i in range(shuffles)
    )
    model.network.double()
    exact = x.double()[:200]
    found = effects(output_of(model, "outcome"), exact, slice(0, GENES), exact.std(0))
    found_by = {
        "raw attention": attention.pairs.mean(0),
        "differential attention": np.abs(difference.statistic),
        "mixed differences, |mean|": np.abs(found.signed[0][ABOVE]),
        "mixed differences, mean of |.|": found.magnitude[0][ABOVE],
    }
    return found_by, false


def main() -> None:
    torch.set_num_threads(1)
    for name, (scaling, options) in ENCODINGS.items():
        rows: dict[str, list[float]] = {}
        scores, shuffled, start = [], [], time.perf_counter()
        for seed in range(5):
            data = cohort(seed)
            model, score = fitted(data, scaling, options, seed)
            scores.append(score)
            values, false = measures(data, model)
            shuffled.append(false)
            for measure, value in values.items():
                rows.setdefault(measure, []).append(float(roc_auc_score(TRUTH, value)))
        print(f"{name}: AUROC on the test part {np.mean(scores):.3f}, {time.perf_counter() - start:.0f} s")
        for measure, found in rows.items():
            print(
                f"  {measure:<32} {np.mean(found):.3f}  ({', '.join(f'{v:.3f}' for v in found)})", flush=True
            )
        print(f"  shuffled outcomes with a pair called: {shuffled} of 100 each", flush=True)


if __name__ == "__main__":
    main()
