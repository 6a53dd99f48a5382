"""Columns of the data contracts."""

from __future__ import annotations

import pyarrow as pa


def required(kind: pa.DataType, *names: str) -> list[pa.Field]:
    """Columns of one type without nulls."""
    return [pa.field(name, kind, nullable=False) for name in names]


def optional(kind: pa.DataType, *names: str) -> list[pa.Field]:
    """Columns of one type that may hold nulls."""
    return [pa.field(name, kind) for name in names]


def schema(*groups: list[pa.Field]) -> pa.Schema:
    """A schema of groups of columns."""
    return pa.schema([field for group in groups for field in group])
