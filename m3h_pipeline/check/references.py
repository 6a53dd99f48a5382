"""References that a study brings, looked at before anything is trained."""

from __future__ import annotations

from typing import TextIO

from m3h_pipeline.config import Modality, Study
from m3h_pipeline.layout import Layout


def try_references(study: Study, layout: Layout, screen: TextIO) -> None:
    """Read the clinical sources and every column of predictions, and say how many rows lack a prediction.

    Args:
        study: its configuration.
        layout: where its cohort and labels are; sources that are not there yet are not looked at.
        screen: where it is printed.

    Raises:
        ConfigError: no clinical feature varies, or a column is not what the configuration says of it
            (``references.given.read_given``).
    """
    from m3h_pipeline.references.clinical import clinical_reference
    from m3h_pipeline.references.columns import read_columns
    from m3h_pipeline.training.data import load_study_data

    cohort, sources = layout.cohort, study.evaluation.clinical
    if sources and all(cohort.features(source).is_file() for source in sources):
        few = {"clinical": Modality(sources=sources)}
        data = load_study_data(cohort.folder, layout.labels.folder, layout.split, (), {})
        clinical_reference(read_columns(cohort.folder, few, data))
    if study.evaluation.given:
        _try_given(study, layout, screen)


def _try_given(study: Study, layout: Layout, screen: TextIO) -> None:
    from m3h_pipeline.files import read_features, read_labels
    from m3h_pipeline.references.given import read_given
    from m3h_pipeline.tasks.assessed import read_tasks

    features = {
        modality: [
            feature
            for source in spec.sources
            if (path := layout.cohort.features(source)).is_file()
            for feature in read_features(path)[1]
        ]
        for modality, spec in study.modalities.items()
    }
    for task in read_tasks(layout.labels.tasks):
        _, description = read_labels(layout.labels.labels_of(task))
        for name, columns in study.evaluation.given.items():
            if task in columns:
                where = f"evaluation.given.{name}.{task}"
                found = read_given(columns[task], where, description, layout.cohort.folder, features)
                screen.write(f"{name} of {task}: {found.described}\n")
