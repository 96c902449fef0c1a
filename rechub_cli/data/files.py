"""Finding and opening data files, whatever their format."""

from __future__ import annotations

import glob
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from rechub_cli.data.columns import Source
from rechub_cli.data.text import read_sequences, read_text
from rechub_cli.errors import ConfigError, DataError
from rechub_cli.suggest import did_you_mean

SUFFIXES = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".inter": "tsv",
    ".item": "tsv",
    ".user": "tsv",
    ".parquet": "parquet",
    ".pq": "parquet",
}
FORMATS = ("csv", "tsv", "parquet", "sequences")
AUTO = "auto"


@dataclass(frozen=True)
class TextOptions:
    """format: auto or one of FORMATS. separator: one character; None: by the format.
    header: whether the first line names the columns. column_names: where it does not."""

    format: str = AUTO
    separator: str | None = None
    header: bool = True
    column_names: tuple[str, ...] | None = None


@dataclass(frozen=True)
class FileTable:
    table: pa.Table
    source: Source


def find_files(path: str, *, key: str) -> list[Path]:
    """The data files of a file, folder or glob, by name. Raises DataError where there are none."""
    here = Path(path)
    if here.is_file():
        return [here]
    found = (
        [p for p in here.rglob("*") if p.is_file()]
        if here.is_dir()
        else [Path(p) for p in glob.glob(path, recursive=True) if Path(p).is_file()]
    )
    files = sorted(p for p in found if not p.name.startswith((".", "_")))
    if here.is_dir():
        files = [p for p in files if _suffix(p) in SUFFIXES]
    if files:
        return files
    if here.is_dir():
        raise DataError(
            f"{key}={path}: the folder holds no data file; allowed endings: {', '.join(SUFFIXES)}"
            " (each also with .gz for text)"
        )
    near = [p.name for p in here.parent.iterdir()] if here.parent.is_dir() else []
    raise DataError(
        f"{key}={path}: no such file, folder or glob.{did_you_mean(here.name, near)}"
    )


def file_format(path: Path, wanted: str) -> str:
    """csv, tsv, parquet or sequences. Raises DataError for an ending that says nothing."""
    if wanted != AUTO:
        return wanted
    suffix = _suffix(path)
    if suffix in SUFFIXES:
        return SUFFIXES[suffix]
    raise DataError(
        f"{path}: the ending {suffix!r} names no format; set data.format to one of "
        f"{', '.join(FORMATS)}"
    )


def _suffix(path: Path) -> str:
    return (path.with_suffix("") if path.suffix == ".gz" else path).suffix.lower()


def read_file(path: Path, *, kind: str, text: TextOptions, infer: bool = False) -> FileTable:
    """All columns of one file. infer: guess the types of text columns (side tables)."""
    if kind == "parquet":
        return FileTable(read_parquet(path), Source(path))
    if kind == "sequences":
        return FileTable(read_sequences(path, separator=text.separator), Source(path))
    separator = text.separator or ("\t" if kind == "tsv" else ",")
    if not text.header and not text.column_names:
        raise ConfigError(
            "data.header=false needs data.column_names, for example [user_id, item_id, timestamp]"
        )
    names = None if text.header or infer else text.column_names
    table = read_text(path, separator=separator, column_names=names, infer=infer)
    return FileTable(table, Source(path, first_line=2 if names is None else 1))


def read_parquet(path: Path) -> pa.Table:
    """A Parquet file. Raises DataError where it is cut short or no Parquet file."""
    try:
        return pq.ParquetFile(path).read()
    except (pa.ArrowInvalid, pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{path}: no readable Parquet file, or cut short: {reason}") from None
