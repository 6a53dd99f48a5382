"""docs/first_study.md, followed to the letter: an environment of its own, the wheel, an empty folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from m3h_pipeline.shipped import INSIDE
from tests.conftest import ROOT
from tests.package.building import built_wheel

PAGE = (ROOT / "docs/first_study.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", PAGE, flags=re.DOTALL | re.MULTILINE)
#: Fewer draws, epochs and figures than the page's study has by default: the way is the same.
SHORT = [
    "--config",
    "training={epochs: 2, learning_rates: [0.003]}",
    "tim={replicates: 1, draws: 20}",
    "evaluation={replicates: 1, draws: 20, baselines: [linear]}",
    "figures={formats: [svg]}",
]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Variables of an activated environment that holds the wheel, and sees the packages installed here.

    The project's folder is not on its path: the dependencies come by a `.pth` file, which runs no other.
    """
    folder = tmp_path_factory.mktemp("fresh")
    venv.create(folder / "m3h", with_pip=False, symlinks=True)
    wheel = built_wheel(folder)
    site = next((folder / "m3h/lib").glob("python*/site-packages"))
    (site / "installed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "--python", str(folder / "m3h/bin/python"), "install", "--quiet"),
            *("--no-deps", "--no-index", "--no-compile", "--ignore-installed", str(wheel)),
        ],
        check=True,
    )
    # Snakemake starts itself by the interpreter, jobs start `m3h` by the path.
    kept = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    path = os.pathsep.join([str(folder / "m3h/bin"), "/usr/bin", "/bin"])
    return {**kept, "PATH": path, "OMP_NUM_THREADS": "1"}


def _followed(language: str, text: str, folder: Path, environment: dict[str, str]) -> str:
    """What a block says when it is run."""
    output = ""
    for line in [text] if language == "python" else text.splitlines():
        words = ["python", "-c", line] if language == "python" else line.split()
        short = SHORT if words[:2] == ["m3h", "run"] else []
        done = subprocess.run(
            [*words, *short],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout[-4000:]}"
        output += done.stdout
    return output


@pytest.mark.study
def test_the_page_leads_from_an_empty_folder_to_results(tmp_path: Path, environment: dict[str, str]) -> None:
    asked = "from m3h_pipeline.shipped import root; print(root())"
    assert _followed("python", asked, tmp_path, environment).strip().endswith(f"m3h_pipeline/{INSIDE}")
    assert [language for language, _ in BLOCKS][:2] == ["python", "bash"]
    said = "".join(_followed(language, text, tmp_path, environment) for language, text in BLOCKS)
    assert "3 of 3 tasks can be evaluated" in said
    results = tmp_path / "results/my_study"
    rows = pq.read_table(results / "evaluation/evaluation.parquet").to_pylist()
    assert {row["task"] for row in rows} == {"died", "sepsis", "los_days"}
    assert (results / "figures/tim.svg").stat().st_size > 1000
    assert (results / "provenance.json").exists()
    predicted = pd.read_csv(tmp_path / "predictions.csv")
    assert len(predicted) > 0
    assert "900 samples in predictions.csv" in said
