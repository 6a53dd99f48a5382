"""On the path of the tests' Snakemake only: look at jobs every second or two.

The executor waits ten seconds longer after each look that found no success, up to three minutes, and as long
again before it ends. That is right for jobs of hours, and most of the time of a test whose jobs take seconds.
Nothing else about the executor is changed.
"""

import sys

if "snakemake" in sys.orig_argv and "--profile" in sys.orig_argv:
    from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor

    def _get(self: RemoteExecutor) -> float:
        return float(min(self.__dict__.get("_seconds", 2.0), 2.0))

    def _set(self: RemoteExecutor, value: float) -> None:
        self.__dict__["_seconds"] = value

    RemoteExecutor.next_seconds_between_status_checks = property(_get, _set)
