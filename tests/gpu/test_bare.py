"""From arrays to fits on a machine that has only what ``make gpu`` asks for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from m3h_pipeline import config
from m3h_pipeline.config.fields import bare
from tests.conftest import ROOT

#: What the project depends on and a bare machine does not have.
ABSENT = [
    *("anndata", "duckdb", "hypothesis", "matplotlib", "networkx", "numba", "PIL", "psutil", "pyarrow"),
    *("pydantic", "pydantic_core", "pygments", "pytest", "sksurv", "snakemake", "umap", "yaml"),
]
BLOCKED = f"""
import sys
from importlib.machinery import PathFinder
class Bare(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.split(".")[0] in {ABSENT} else super().find_spec(name, path, target)
sys.meta_path[sys.meta_path.index(PathFinder)] = Bare
"""
#: Two fits of every class, one modality a transcriptome; what they are, how they do, what a kept model says.
TRAINS = """
import json
import numpy as np
from m3h_pipeline import config
from m3h_pipeline.training.fits import run_fits, training_code
from m3h_pipeline.training.fitted import FittedModel, model_bytes
from tests.training.studies import settings, spec, study

data = study()
chosen = settings(early_stopping={"patience": 2}, gradient_clip=1, task_weights={"stay": 2, "anemia": 0.5})
chosen.modalities["beta"] = config.Modality(
    sources=["beta"], encoder="transcriptome", hidden=[8], transcriptome={"layers": 1, "heads": 2, "width": 8}
)
tasks = ("anemia", "organ", "phenotype", "stay")
results = run_fits([spec(*tasks), spec(*tasks, fold=-1)], data, chosen, keep_models=True)
model = FittedModel(results[0].parameters, results[0].metadata)
predicted = model.predict({name: x[data.scored_rows(0)] for name, x in data.features.items()})
for task in ("anemia", "organ", "stay"):
    np.testing.assert_allclose(predicted[task], results[0].predictions[task], rtol=1e-4, atol=1e-5)
print(json.dumps([
    training_code(),
    [[r.key, r.status, r.epochs, r.values, r.metadata] for r in results],
    [model_bytes(r).hex() for r in results],
    [chosen.model.model_dump(), chosen.compute.model_dump(), config.Modality(sources=["a"]).model_dump()],
]))
"""


def run(code: str) -> Any:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_bare_machine_trains_the_same_fits() -> None:
    """Keys, scores and the bytes of models are those of a full installation."""
    here, there = run(TRAINS), run(BLOCKED + TRAINS)
    assert here == there
    assert [status for _, status, *_ in here[1]] == ["ok", "ok"]


def test_what_is_blocked_is_absent() -> None:
    """The test above could not fail if the blocked packages could be loaded after all."""
    found = run(
        BLOCKED + "import importlib, json\nfound = []\n"
        f"for name in {ABSENT}:\n"
        "    try:\n        importlib.import_module(name)\n        found.append(name)\n"
        "    except ModuleNotFoundError:\n        pass\n"
        "print(json.dumps(found))"
    )
    assert found == []


class Inner(bare.BaseModel):
    """A section within another."""

    rate: float = 1.0


class Outer(bare.BaseModel):
    """A section."""

    name: str
    inner: Inner | None = None
    sizes: list[int] = bare.Field(default=[3], min_length=1)

    @bare.model_validator(mode="after")
    def _checks(self) -> Outer:
        if self.name == "wrong":
            raise ValueError("a wrong name")
        return self


def test_the_stand_in_keeps_names_and_values() -> None:
    made = Outer(name="one", inner={"rate": 2})
    assert made.inner == Inner(rate=2.0)
    assert made.model_dump() == {"name": "one", "inner": {"rate": 2.0}, "sizes": [3]}
    assert made.model_dump(exclude={"inner": {"rate"}}) == {"name": "one", "inner": {}, "sizes": [3]}
    assert Outer.model_validate_json(made.model_dump_json()) == made
    assert made.model_copy(update={"name": "two"}).name == "two"
    made.sizes.append(4)
    assert Outer(name="x").sizes == [3]
    for wrong in ({"name": "wrong"}, {}, {"name": "x", "size": 3}):
        with pytest.raises(ValueError, match=r"wrong|needs `name`|no `size`"):
            Outer(**wrong)
    with pytest.raises(AttributeError, match="does not change"):
        made.name = "other"


def test_every_name_of_the_configuration_is_found_when_it_is_asked_for() -> None:
    for name in config.__all__:
        assert getattr(config, name).__module__.startswith(f"{config.__name__}.")
    with pytest.raises(AttributeError, match="no attribute 'Modle'"):
        _ = config.Modle  # type: ignore[attr-defined]
