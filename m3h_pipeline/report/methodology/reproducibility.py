"""What the study was made with, how to make it again, and how to cite it."""

from __future__ import annotations

from collections.abc import Iterator

from m3h_pipeline.report.blocks import Block, heading, points, table, words
from m3h_pipeline.report.gather import Gathered
from m3h_pipeline.report.wording import listed

#: The software and the papers whose methods it implements (``CITATION.cff``).
CITATIONS = (
    "m3h_pipeline, version {version}. The m3h_pipeline developers.",
    "Bertsimas D, Ma Y. M3H: Multimodal Multitask Machine Learning for Healthcare. arXiv:2404.18975 (2024).",
    (
        "Koo B, Sung I, Lee S, Kim S. Transcriptome Transformer: improving patient survival prediction via "
        "multitask learning of transcriptomic and clinical features. Briefings in Bioinformatics 26(6), "
        "bbaf628 (2025)."
    ),
)


def reproducibility(gathered: Gathered) -> Iterator[Block]:
    """The sections on how it was made."""
    made, study = gathered.provenance, gathered.study
    yield heading("Made with, and how to make it again")
    seeds = made.get("seeds", {})
    replicates = ", ".join(f"{name} {n}" for name, n in seeds.get("replicates", {}).items())
    yield words(
        f"Seed of the study {seeds.get('study', study.seed)}, of the split "
        f"{seeds.get('split', study.split.seed)}; replicates: {replicates}. The whole configuration, and "
        "the digest of every file that came out, stand in provenance.json beside this report."
    )
    yield points(
        [
            f"Run it again: m3h run config/{study.study}.yaml --cores 4",
            f"Check it against its record, with some fits trained anew: m3h verify results/{study.study}",
            f"Make this report again: m3h report results/{study.study}",
        ]
    )
    devices = [
        [listed([str(value) for value in one.get("device", {}).values()]), f"{one.get('fits', 0):,}"]
        for one in made.get("training", [])
    ]
    if devices:
        yield table("Fits were trained on", ["Device", "Fits"], devices)
    inputs = [
        [name, f"{entry['bytes']:,}", str(entry["sha256"])] for name, entry in made.get("inputs", {}).items()
    ]
    if inputs:
        yield table("Input files", ["File", "Bytes", "SHA-256"], inputs, folded=True)
    for title, key, name in (
        ("Versions", "versions", "Package"),
        ("Code of the stages", "code", "Stage"),
        ("Definitions of the outcomes", "definitions", "Outcome"),
    ):
        rows = [[str(one), str(value)] for one, value in made.get(key, {}).items()]
        if rows:
            yield table(title, [name, "Version" if key == "versions" else "Digest"], rows, folded=True)
    yield heading("Citation")
    version = made.get("versions", {}).get("m3h-pipeline", "")
    yield points([text.format(version=version) for text in CITATIONS])
