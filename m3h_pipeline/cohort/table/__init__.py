"""Cohorts from any table: files joined on an id, columns chosen by name or pattern, expression prepared."""
