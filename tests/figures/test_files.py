"""The files of a figure: the same bytes every time, whole or not at all, and nobody's secrets."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from PIL import Image

from m3h_pipeline import contracts
from m3h_pipeline.config import Figures
from m3h_pipeline.digest import Digests
from m3h_pipeline.errors import ConfigError, ContractError, InputError
from m3h_pipeline.figures import style
from m3h_pipeline.figures.registry import FIGURES, render
from m3h_pipeline.files import write_json
from tests.figures import fakes

PROJECT = Path(__file__).parents[2]
DIGESTS = """
import hashlib, json, sys
from pathlib import Path
from m3h_pipeline.config import Figures
from m3h_pipeline.figures.registry import FIGURES, render
root, out = Path(sys.argv[1]), Path(sys.argv[2])
for name in reversed(FIGURES):
    render(name, root, Figures(), out)
print(json.dumps({p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in out.iterdir()}))
"""


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fakes.write_study(
        tmp_path_factory.mktemp("study"), fakes.description(8) | fakes.of_class(1, "survival")
    )


@pytest.fixture(scope="module")
def rendered(study: Path) -> Path:
    out = study / "figures"
    for name in FIGURES:
        render(name, study, Figures(), out)
    return out


def _digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_every_figure_has_its_files(rendered: Path) -> None:
    expected = {f"{name}.{suffix}" for name in FIGURES for suffix in ("svg", "png", "csv")}
    assert {path.name for path in rendered.iterdir()} == expected


def test_another_process_writes_the_same_bytes(study: Path, rendered: Path, tmp_path: Path) -> None:
    """In another order, with another hash seed, another configuration of matplotlib, and a source date."""
    (tmp_path / "matplotlibrc").write_text(
        "font.size: 20\naxes.grid: True\nsvg.fonttype: path\nfigure.dpi: 33\n"
    )
    environment = os.environ | {
        "PYTHONHASHSEED": "12345",
        "MATPLOTLIBRC": str(tmp_path / "matplotlibrc"),
        "SOURCE_DATE_EPOCH": "86400",
        "PYTHONPATH": str(PROJECT),
        "TZ": "Asia/Seoul",
    }
    done = subprocess.run(
        [sys.executable, "-c", DIGESTS, str(study), str(tmp_path / "again")],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == _digests(rendered)


@pytest.mark.parametrize("name", ["roc", "agreement"])
def test_a_second_render_replaces_equal_bytes(name: str, study: Path, rendered: Path, tmp_path: Path) -> None:
    for _ in range(2):
        render(name, study, Figures(), tmp_path)
    assert _digests(tmp_path) == {k: v for k, v in _digests(rendered).items() if k.startswith(f"{name}.")}


@pytest.mark.parametrize("name", FIGURES)
def test_svg_is_well_formed_with_real_text(name: str, rendered: Path) -> None:
    root = ET.parse(rendered / f"{name}.svg").getroot()
    spaces = {"svg": "http://www.w3.org/2000/svg"}
    assert root.findtext("svg:title", namespaces=spaces) == FIGURES[name].title
    texts = ["".join(node.itertext()) for node in root.iterfind(".//svg:text", spaces)]
    assert len(texts) > 5
    families = set(re.findall(r"font-family: ([^;\"]+)", (rendered / f"{name}.svg").read_text()))
    assert len(families) <= 1 or all("DejaVu Sans" in family for family in families)
    assert "<dc:date>" not in (rendered / f"{name}.svg").read_text()


@pytest.mark.parametrize("name", FIGURES)
def test_png_carries_no_date_or_program(name: str, rendered: Path) -> None:
    with Image.open(rendered / f"{name}.png") as image:
        assert image.info.keys() <= {"dpi", "Title"}
        assert image.info["dpi"][0] == pytest.approx(style.DPI, abs=0.1)


def test_fonts_are_the_bundled_ones() -> None:
    import matplotlib as mpl
    from matplotlib.font_manager import FontProperties, findfont

    with style.applied():
        for weight in ("normal", "bold"):
            found = Path(findfont(FontProperties(weight=weight, size=style.BASE)))
            assert Path(mpl.get_data_path()) in found.parents


def test_the_style_ends_with_its_block() -> None:
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    with style.applied():
        assert mpl.rcParams["svg.fonttype"] == "none"
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize("formats", [["svg"], ["png"], ["png", "svg", "png"]])
def test_formats_are_the_configured_ones(formats: list[str], study: Path, tmp_path: Path) -> None:
    render("roc", study, Figures.model_validate({"formats": formats}), tmp_path)
    assert {path.suffix[1:] for path in tmp_path.iterdir()} == {*formats, "csv"}


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    ("name", "columns"),
    [
        ("improvement", ["n_samples", "n_patients"]),
        ("calibration", ["n"]),
    ],
)
def test_small_counts_are_hidden(name: str, columns: list[str], tmp_path: Path) -> None:
    tasks = fakes.description(8)
    tables = fakes.tables(tasks)
    evaluation = tables["evaluation/evaluation.parquet"]
    rows = [row | {"n_patients": 7} for row in evaluation.to_pylist()]
    rows[0]["n_samples"] = 9
    small = {
        "evaluation/evaluation.parquet": pa.Table.from_pylist(rows, evaluation.schema),
        "evaluation/calibration.parquet": _with_small_groups(tables["evaluation/calibration.parquet"]),
    }
    fakes.write_study(tmp_path, tasks, small, only=FIGURES[name].inputs)
    render(name, tmp_path, Figures(), tmp_path / "figures")
    written = _rows(tmp_path / f"figures/{name}.csv")
    assert written
    for column in columns:
        values = [row[column] for row in written]
        assert "<11" in values
        assert not {str(n) for n in range(1, 10)} & set(values)
    if name == "calibration":
        hidden = [row for row in written if row["n"] == "<11"]
        assert {row[c] for row in hidden for c in ("predicted", "observed", "low", "high")} == {""}
        shown = [row for row in written if row["n"] != "<11"]
        assert all(row["observed"] for row in shown)


def _with_small_groups(table: pa.Table) -> pa.Table:
    frame = table.to_pandas()
    frame.loc[frame["quantile"] == 3, "n"] = 6
    return pa.Table.from_pandas(frame, contracts.CALIBRATION, preserve_index=False)


def test_no_small_count_shows_in_the_drawing(tmp_path: Path) -> None:
    """Cells with 1 and with 9 samples are not there."""
    pictures = []
    for n in (1, 9):
        tasks = fakes.of_class(1, "regression") | fakes.of_class(1, "clustering")
        fakes.write_study(
            tmp_path,
            tasks,
            {
                "evaluation/agreement.parquet": _cells(contracts.AGREEMENT, n),
                "evaluation/phenotypes.parquet": _cells(contracts.PHENOTYPES, n),
            },
            only=["evaluation/evaluation.parquet", "evaluation/phenotype_scores.parquet"],
        )
        for name in ("agreement", "phenotypes"):
            render(name, tmp_path, Figures(formats=["svg"]), tmp_path / f"{n}")
        pictures.append(_digests(tmp_path / f"{n}"))
    assert pictures[0] == pictures[1]
    for name in ("agreement", "phenotypes"):
        assert [row["n"] for row in _rows(tmp_path / f"9/{name}.csv")] == ["40", "40"]


def _cells(schema: pa.Schema, few: int) -> pa.Table:
    cells = ((0.0, few), (1.0, 40))
    if "x" in schema.names:
        same = {
            "task": "clustering_00",
            "control": "",
            "projection": "t-SNE",
            "y": 1.0,
            "cluster": 0,
            "silhouette": 0.2,
        }
        rows = [{**same, "model": m, "x": x, "n": n} for m in ("single", "multi") for x, n in cells]
    else:
        rows = [
            {
                "task": "regression_00",
                "control": "",
                "model": m,
                "observed_low": at,
                "observed_high": at + 1.0,
                "predicted_low": at,
                "predicted_high": at + 1.0,
                "n": n,
            }
            for m in ("single", "multi")
            for at, n in cells
        ]
    return pa.Table.from_pylist(rows, schema=schema)


def test_csv_has_no_column_of_persons(rendered: Path) -> None:
    for path in rendered.glob("*.csv"):
        header = path.read_text().splitlines()[0].split(",")
        assert not {"sample_id", "patient_id", "stay_id", "subject_id", "hadm_id", "fit_key"} & set(header)
        assert len(_rows(path)) > 3


def test_an_unknown_figure_names_the_nearest(study: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no figure `heatmap`"):
        render("heatmap", study, Figures(), tmp_path)
    with pytest.raises(ConfigError) as caught:
        render("improvment", study, Figures(), tmp_path)
    assert "did you mean `improvement`?" in str(caught.value)


@pytest.mark.parametrize("name", FIGURES)
def test_a_missing_input_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        render(name, tmp_path, Figures(), tmp_path / "figures")
    assert str(caught.value.where).endswith(FIGURES[name].inputs[-1])
    assert not (tmp_path / "figures").exists()


@pytest.mark.parametrize("content", [{}, {"tasks": [1]}, {"tasks": {"a": 3}}])
def test_a_wrong_task_list_is_refused(content: dict[str, Any], study: Path, tmp_path: Path) -> None:
    for name in FIGURES["tim"].inputs:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes((study / name).read_bytes())
    write_json(content, tmp_path / "labels/tasks.json")
    with pytest.raises(ContractError, match="does not describe tasks"):
        render("tim", tmp_path, Figures(), tmp_path / "figures")
    assert not (tmp_path / "figures").exists()


def test_a_failed_write_leaves_nothing(study: Path, tmp_path: Path) -> None:
    (tmp_path / "figures").write_text("a file where the folder should be")
    with pytest.raises(InputError, match="cannot write"):
        render("roc", study, Figures(), tmp_path / "figures")
    assert [path.name for path in tmp_path.iterdir()] == ["figures"]


def test_a_failed_drawing_leaves_nothing(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from matplotlib.figure import Figure

    done: list[str] = []
    real = Figure.savefig

    def fail_at_png(self: Figure, *args: object, **options: object) -> None:
        done.append(str(options["format"]))
        if options["format"] == "svg":
            raise OSError(28, "No space left on device")
        real(self, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Figure, "savefig", fail_at_png)
    with pytest.raises(OSError, match="No space"):
        render("roc", study, Figures(), tmp_path)
    assert done == ["png", "svg"]
    assert list(tmp_path.iterdir()) == []


def test_listing_figures_loads_no_heavy_library() -> None:
    """The workflow imports the registry at every start."""
    code = (
        "import sys, m3h_pipeline.figures.registry as r; assert len(r.FIGURES) == 11;"
        "print([m for m in ('matplotlib', 'pandas', 'numpy', 'pyarrow', 'pydantic') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PROJECT
    )
    assert done.stdout.strip() == "[]"


def test_every_figure_names_a_module_and_existing_inputs() -> None:
    for name, spec in FIGURES.items():
        path = PROJECT / (spec.module.replace(".", "/") + ".py")
        assert path.is_file(), name
        assert set(spec.inputs) <= {*fakes.SCHEMAS, "labels/tasks.json"}


def test_editing_one_figure_touches_no_other() -> None:
    """Each module's code reaches the shared modules, never another figure's."""
    digests = Digests(PROJECT / "m3h_pipeline")
    modules = {spec.module for spec in FIGURES.values()}
    for spec in FIGURES.values():
        used, imported = digests.reached([spec.module])
        assert ({one.module for one in used} | imported) & modules == {spec.module}
