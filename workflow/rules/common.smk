# What every stage needs: the validated study, where its files go, and what a rule passes to its verb.
import json

from snakemake.exceptions import WorkflowError

from m3h_pipeline.config import Study, located_source, validate
from m3h_pipeline.contracts import read_json
from m3h_pipeline.digest import code_digest
from m3h_pipeline.errors import M3HError
from m3h_pipeline.figures.registry import FIGURES
from m3h_pipeline.tasks.definitions import load_definitions, select


def explained(function, *arguments, **keywords):
    """Call a function of the package; its errors become messages instead of tracebacks."""
    try:
        return function(*arguments, **keywords)
    except M3HError as error:
        raise WorkflowError(str(error)) from None


STUDY = explained(validate, Study, config, where="the configuration")
SOURCE = located_source(STUDY)
RESULTS = Path(STUDY.results) / STUDY.study
LOGS = RESULTS / "logs"
BENCHMARKS = RESULTS / "benchmarks"
DEFINITIONS = explained(load_definitions, STUDY.tasks.definitions, STUDY.tasks.variant)
TASKS = explained(select, DEFINITIONS, STUDY.tasks.include, STUDY.tasks.exclude)
SOURCES = [name for modality in STUDY.modalities.values() for name in modality.sources]
FEATURES = [RESULTS / f"cohort/features/{name}.parquet" for name in SOURCES]
LABELS = [RESULTS / f"labels/{task}.parquet" for task in TASKS]


wildcard_constraints:
    task="[A-Za-z][A-Za-z0-9_]*",
    round=r"\d+",
    pack=r"\d+",
    stage=r"search/round_\d+|tim",


def settings(*names, **more):
    """The named sections of the study as the JSON of ``--settings``: a rule gets only what it uses."""
    study = STUDY.model_dump(mode="json") | {"source": SOURCE.model_dump(mode="json")}
    return json.dumps({name: study[name] for name in names} | more, sort_keys=True)


def packs(plan):
    """Pack ids of a plan, and the tasks each of them learns."""
    return {
        pack: sorted({task for entry in entries for task in entry["combination"]})
        for pack, entries in read_json(plan)["packs"].items()
    }
