"""Validate a study before anything is trained: configuration, inputs, tasks, networks."""

from m3h_pipeline.check.study import check_study, checked_tasks

__all__ = ["check_study", "checked_tasks"]
