"""The Python API: studies, models on data frames, task interaction and figures."""
