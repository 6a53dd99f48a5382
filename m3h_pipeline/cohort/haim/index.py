"""The first pass over HAIM-MIMIC-MM: where each record stands, and which image of which stay it is."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from m3h_pipeline.cohort.haim.stays import Stay
from m3h_pipeline.errors import InputError
from m3h_pipeline.progress import Progress
from m3h_pipeline.tables.identifiers import normal_id
from m3h_pipeline.tables.parsing import Malformed, decode, is_text, split_record
from m3h_pipeline.tables.records import Records, index_records

#: Columns that say what a record is.
IDENTITY = ("haim_id", "img_id")
_TIME = "img_charttime"
#: Bytes of a record that hold the identifiers, as the published file orders its columns.
_HEAD = 192


@dataclass
class Index:
    """The records of the file, and of which image each is; ``sample[r]`` is empty for a malformed record."""

    records: Records
    haim: list[str] = field(default_factory=list)
    sample: list[str] = field(default_factory=list)
    image: list[tuple[str, str]] = field(default_factory=list)

    def by_sample(self) -> list[int]:
        """Numbers of the well-formed records, by sample and, of one sample, as in the file."""
        known = (r for r, name in enumerate(self.sample) if name)
        return sorted(known, key=lambda r: (self.sample[r], r))


#: Why a whole line can be of no patient's.
NO_KEY = "its `haim_id` has no key"


class Quarantine:
    """Malformed lines and lines without a key, by number and reason, up to a limit."""

    def __init__(self, path: str, limit: int) -> None:
        self.path, self.limit = path, limit
        self.lines: list[tuple[int, str]] = []

    def add(self, line: int, reason: str) -> None:
        """Set a line aside.

        Raises:
            InputError: there are more than the limit.
        """
        self.lines.append((line, reason))
        if len(self.lines) > self.limit:
            shown = "; ".join(f"line {n}: {why}" for n, why in sorted(self.lines)[:3])
            keyless = self.without_key > self.limit // 2
            raise InputError(
                f"more than {self.limit} lines are malformed or without a key ({shown})",
                where=self.path,
                hint=("take both files from the same release" if keyless else "repair the file")
                + ", or raise `source.max_malformed` if these lines may be left out",
            )

    @property
    def without_key(self) -> int:
        """How many of the lines are whole and of no known patient."""
        return sum(reason == NO_KEY for _, reason in self.lines)


def index_samples(
    plain: Path,
    path: str,
    names: Sequence[str],
    stays: Mapping[str, Stay] | None,
    quarantine: Quarantine,
    progress: Progress,
) -> Index:
    """Find every record and which sample it is of; malformed ones are set aside.

    Args:
        plain: the table, unpacked.
        path: the table as the configuration names it, for messages.
        names: its columns.
        stays: ``haim_id`` -> stay; a record of another one is set aside: it has no patient to split by;
            None: every ``haim_id`` will do.
        quarantine: takes the malformed records and those without a key.
        progress: advanced by megabytes.

    Raises:
        InputError: there is no record, or too many are set aside.
    """
    at = [names.index(name) for name in (*IDENTITY, _TIME) if name in names]
    last = max(at)
    haim: list[str] = []
    sample: list[str] = []
    image: list[tuple[str, str]] = []

    def whole(record: bytes) -> list[str]:
        fields = split_record(decode(record))
        if len(fields) != len(names):
            raise Malformed(f"{len(fields)} fields instead of {len(names)}")
        if [field.strip() for field in fields] == list(names):
            raise Malformed("the header again")
        for i in at:
            if not is_text(fields[i]):
                raise Malformed(f"bytes that are not UTF-8 in the column `{names[i]}`")
        values = [_identifier(fields[i]) for i in at]
        if not (values[0] and values[1]):
            raise Malformed("no `haim_id` or no `img_id`")
        if stays is not None and values[0] not in stays:
            raise Malformed(NO_KEY)
        return values

    def visit(buffer: bytearray, start: int, stop: int, line: int) -> None:
        head = decode(buffer[start : min(stop, start + _HEAD)])
        fields = head.split(",", last + 1) if '"' not in head else []
        values = [_identifier(fields[i]) for i in at] if len(fields) > last + 1 else ["", ""]
        known = bool(values[0]) if stays is None else values[0] in stays
        if not (known and values[1] and all(map(is_text, values))):
            # Something is wrong with the line or with its key; only a whole line speaks against the keys.
            try:
                values = whole(bytes(buffer[start:stop]))
            except Malformed as reason:
                quarantine.add(line, str(reason))
                values = ["", ""]
        haim.append(values[0])
        sample.append(_sample_id(values[0], values[1]) if values[0] else "")
        image.append((values[1], values[2] if len(values) > 2 else ""))

    records = index_records(plain, visit, advance=lambda n: progress.advance(n / 1e6))
    if not len(records):
        raise InputError("there is no row after the header", where=path, hint="is this the whole file?")
    return Index(records, haim, sample, image)


#: Records of a stay follow one another, with the same number.
_identifier = functools.lru_cache(maxsize=4096)(normal_id)


def _sample_id(haim: str, image: str) -> str:
    """The pair as one name whose alphabetical order is the numerical order.

    Examples:
        >>> _sample_id("31", "2")
        '00000031-0002'
    """
    return f"{haim.zfill(8) if haim.isdigit() else haim}-{image.zfill(4) if image.isdigit() else image}"
