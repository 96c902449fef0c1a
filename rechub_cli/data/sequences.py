"""One-sequence-a-line files: ``user item item ...``; read in blocks of whole lines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rechub_cli.data.cells import CellError, add_batch, cast, casts, first_bad
from rechub_cli.data.ids import IdColumn
from rechub_cli.errors import DataError

BLOCK_BYTES = 8 << 20


def read_sequences(path: Path, *, user: IdColumn, item: IdColumn, separator: str | None) -> int:
    """Read one file. separator: one character; None is any white space. Returns the events read.

    Raises DataError: the first line that is no UTF-8, holds an empty id or has no item.
    """
    line, events = 1, 0
    try:
        for block in _blocks(path):
            lines, added = _add_block(path, block, line, user=user, item=item, separator=separator)
            line, events = line + lines, events + added
    except OSError as error:
        raise DataError(
            f"{path}, after line {line - 1}: the file is truncated or corrupt ({error})"
        ) from None
    return events


def _blocks(path: Path) -> Iterator[bytes]:
    """Bytes that end with a line each (but for the last)."""
    with pa.input_stream(path) as stream:
        rest = stream.read(3).removeprefix(b"\xef\xbb\xbf")
        while data := stream.read(BLOCK_BYTES):
            cut = data.rfind(b"\n") + 1
            if cut:
                yield rest + data[:cut]
                rest = data[cut:]
            else:
                rest += data
        if rest:
            yield rest


def _add_block(
    path: Path,
    block: bytes,
    line: int,
    *,
    user: IdColumn,
    item: IdColumn,
    separator: str | None,
) -> tuple[int, int]:
    """How many lines a block has, and how many events."""
    lines = _lines(block)
    texts = cast(lines, pa.string())
    if texts is None:
        bad_line = first_bad(lines, lambda part: casts(part, pa.string()))
        good = b"".join(lines.slice(0, bad_line).to_pylist())
        _add_block(path, good, line, user=user, item=item, separator=separator)
        raise DataError(
            f"{path}, line {line + bad_line}: bytes that are not UTF-8: "
            f"{lines[bad_line].as_py().strip()[:60]!r}; convert the file, e.g. iconv -f LATIN1 "
            "-t UTF-8"
        )
    texts = _trim(texts, separator)
    rows = np.flatnonzero(pc.not_equal(texts, "").to_numpy(zero_copy_only=False))
    if len(rows) == 0:
        return len(texts), 0
    fields = _split(texts.take(pa.array(rows)), separator)
    lengths = pc.list_value_length(fields).to_numpy() - 1
    flat = fields.flatten()
    heads = fields.offsets.to_numpy()[:-1]
    is_item = np.ones(len(flat), dtype=bool)
    is_item[heads] = False
    owners = np.repeat(heads, lengths)
    batch = pa.RecordBatch.from_arrays(
        [flat.take(pa.array(owners)), flat.filter(pa.array(is_item))], names=["user", "item"]
    )
    starts = np.cumsum(lengths)
    short = int((lengths < 1).argmax()) if (lengths < 1).any() else None
    try:
        add_batch({"user": user, "item": item}, batch)
    except CellError as bad:
        at = int(np.searchsorted(starts, bad.row, side="right"))
        if short is None or at < short:
            where = f"{path}, line {line + rows[at]}, the {bad.column}"
            raise DataError(f"{where}: {bad}") from None
    if short is not None:
        raise DataError(
            f"{path}, line {line + rows[short]}: {texts[rows[short]].as_py()[:60]!r} is a user "
            "without items; a line is 'user item item ...' (data.separator sets what is between)"
        )
    return len(texts), len(owners)


def _lines(block: bytes) -> pa.Array:
    """The lines of a block, as binary, each with its line end."""
    data = np.frombuffer(block, dtype=np.uint8)
    ends = np.flatnonzero(data == ord("\n"))
    if not block.endswith(b"\n"):
        ends = np.append(ends, len(block))
    starts = np.concatenate([[0], ends[:-1] + 1]) if len(ends) else ends
    offsets = np.append(starts, len(block)).astype(np.int32)
    return pa.BinaryArray.from_buffers(
        pa.binary(), len(ends), [None, pa.py_buffer(offsets), pa.py_buffer(block)]
    )


def _trim(texts: pa.Array, separator: str | None) -> pa.Array:
    if separator is None:
        return pc.utf8_trim_whitespace(texts)
    return pc.utf8_rtrim(texts, "\r\n")


def _split(texts: pa.Array, separator: str | None) -> pa.ListArray:
    if separator is None:
        return pc.utf8_split_whitespace(texts)
    fields = pc.split_pattern(texts, separator)
    return pa.ListArray.from_arrays(fields.offsets, pc.utf8_trim_whitespace(fields.values))
