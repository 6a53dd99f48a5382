"""References that are columns of the cohort, looked at before anything is trained."""

from __future__ import annotations

from typing import TextIO

from m3h_pipeline.config import Study
from m3h_pipeline.layout import Layout


def try_given(study: Study, layout: Layout, screen: TextIO) -> None:
    """Read every column of predictions of a learned task, and say how many rows are without one.

    Args:
        study: its configuration.
        layout: where its cohort and labels are; sources that are not there yet are not looked at.
        screen: where it is printed.

    Raises:
        ConfigError: a column is not what the configuration says of it (``references.given.read_given``).
    """
    from m3h_pipeline.files import read_features, read_labels
    from m3h_pipeline.references.given import read_given
    from m3h_pipeline.tasks.assessed import read_tasks

    given = study.evaluation.given
    if not given:
        return
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
        for name, columns in given.items():
            if task in columns:
                where = f"evaluation.given.{name}.{task}"
                found = read_given(columns[task], where, description, layout.cohort.folder, features)
                screen.write(f"{name} of {task}: {found.described}\n")
