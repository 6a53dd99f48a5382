"""Networks whose predictions depend on the other samples of a batch (`attention.normalise: published`)."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

from m3h_pipeline.bundle.load import Bundle
from m3h_pipeline.bundle.making.card import model_card
from m3h_pipeline.bundle.making.export import with_company
from m3h_pipeline.bundle.predict import predict_files
from m3h_pipeline.training.fitted import read_arrays, write_arrays
from tests.bundle.studies import patients

DATA = Path(__file__).parent / "data/version_1"


def test_the_card_and_the_prediction_name_them(tmp_path: Path) -> None:
    bundle = Bundle.load(DATA)
    assert with_company(bundle.tasks, DATA) == bundle.tasks
    shutil.copytree(DATA, tmp_path / "bundle")
    for path in (tmp_path / "bundle/networks").iterdir():
        arrays, metadata = read_arrays(path)
        model = json.loads(metadata["model"])
        model["attention"]["normalise"] = "published"
        write_arrays(arrays, {**metadata, "model": json.dumps(model)}, path)
    tasks = with_company(bundle.tasks, tmp_path / "bundle")
    # One network learned two tasks; the weight of one by itself is 1, whatever it is divided by.
    together = {name for name, task in tasks.items() for one in task.candidates.values() if not one.alone}
    assert together == {"kind"}
    changed = bundle.description.model_copy(update={"tasks": tasks})
    card = model_card(changed)
    assert "- `kind`: what is said of a sample depends on the samples predicted with it" in card
    assert "- `sick`: what is said" not in card
    patients().iloc[:30].to_csv(tmp_path / "new.csv", index=False)
    said = io.StringIO()
    predict_files(Bundle(DATA, changed), [tmp_path / "new.csv"], tmp_path / "out.csv", stream=said)
    assert "kind: predictions depend on the other samples of the files" in said.getvalue()
    assert "sick: predictions" not in said.getvalue()
