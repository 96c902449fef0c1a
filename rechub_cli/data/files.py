"""Which files an input path means, and how each is to be read."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rechub_cli.errors import ConfigError, DataError

FORMATS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".inter": "tsv",
    ".item": "tsv",
    ".user": "tsv",
    ".parquet": "parquet",
    ".pq": "parquet",
}
COMPRESSED = (".gz", ".bz2", ".zst")
SEPARATORS = {"csv": ",", "tsv": "\t"}


@dataclass(frozen=True)
class TextFormat:
    """How a text file is laid out.

    separator: one character. column_names: None where the first line names the columns.
    """

    separator: str
    column_names: tuple[str, ...] | None = None


def text_format(
    kind: str, *, separator: str | None, column_names: Sequence[str] | None = None
) -> TextFormat:
    """The layout of ``csv`` or ``tsv``. separator: in place of the format's own."""
    names = None if column_names is None else tuple(column_names)
    if names == ():
        raise ConfigError("data.header=false needs data.column_names, e.g. [user_id, item_id]")
    return TextFormat(separator or SEPARATORS[kind], names)


def find_files(path: str | Path, *, key: str) -> list[Path]:
    """The files of a path, a folder or a glob, sorted by name; hidden ones are left out.

    key: the setting that gave the path, for messages.
    """
    given = Path(path).expanduser()
    if given.is_file():
        files = [given]
    elif given.is_dir():
        files = sorted(f for f in given.iterdir() if f.is_file() and f.name[0] not in "._")
        if not files:
            raise DataError(
                f"{key}={path}: the folder holds no files; give a folder with CSV, TSV or Parquet "
                "files, or a glob such as 'folder/**/*.parquet' for files in its subfolders"
            )
    else:
        matches = (Path(name) for name in glob.glob(str(given), recursive=True))
        files = sorted(f for f in matches if f.is_file())
    if not files:
        raise DataError(f"{key}={path}: no such file or folder, and no match as a glob")
    for file in files:
        if file.stat().st_size == 0:
            raise DataError(f"{file}: the file is empty (0 bytes); remove it or write it again")
    return files


def format_of(files: list[Path], *, wanted: str, key: str, fallback: str | None = None) -> str:
    """``wanted``, or for ``auto`` the one format that all file names end in.

    fallback: the format of a file whose name tells none; None refuses it.
    Returns csv, tsv, parquet or sequences. Raises DataError: an unknown ending, several formats.
    """
    if wanted != "auto":
        return wanted
    by_format: dict[str, Path] = {}
    for file in files:
        by_format.setdefault(_by_name(file, key=key, fallback=fallback), file)
    if len(by_format) > 1:
        found = ", ".join(f"{file.name} ({name})" for name, file in sorted(by_format.items()))
        raise DataError(
            f"{key}: files of several formats: {found}; give a glob that matches one of them, "
            "such as 'folder/*.csv'"
        )
    return next(iter(by_format))


def _by_name(file: Path, *, key: str, fallback: str | None) -> str:
    suffixes = [suffix.lower() for suffix in file.suffixes]
    if suffixes and suffixes[-1] in COMPRESSED:
        suffixes.pop()
    found = FORMATS.get(suffixes[-1], fallback) if suffixes else fallback
    if found is None:
        raise DataError(
            f"{key}: {file.name} does not tell its format; known endings: {', '.join(FORMATS)} "
            "(also .gz). Set data.format=csv, tsv, parquet or sequences, or give a glob that "
            "leaves the file out"
        )
    return found
