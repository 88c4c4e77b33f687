"""A strict reader of delimited text: every row as wide as the header, every fault with its row number."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from cortexrnn.errors import DataError, OptionError

_DELIMITERS = (",", "\t", ";")
_CHUNK_ROWS = 4096
_LOOK_AHEAD = 100_000
_MAX_COLUMNS = 1000


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class TextTable:
    """The columns of a delimited file.

    Attributes
    ----------
    columns : dict of str to list of str
        Cells as written.
    rows : ndarray of int64, shape (n_rows,)
        Number of every row, counted from the first line of the file.
    where : str
        The file, for messages.
    """

    columns: Mapping[str, list[str]]
    rows: np.ndarray
    where: str

    def numbers(self, name: str) -> np.ndarray:
        """Give a column as float64, shape (n_rows,); empty cells are NaN.

        Raises
        ------
        DataError
            If a cell is no number; says which and in which row.
        """
        cells = self.columns[name]
        try:
            # Python's float() takes "1_000"; no table means that.
            if "_" in "".join(cells):
                raise ValueError
            return np.fromiter((float(cell or "nan") for cell in cells), dtype=float, count=len(cells))
        except ValueError:
            # Some cell is no number, or only blanks; look at them one by one.
            at = next((k for k, cell in enumerate(cells) if cell.strip() and not _is_number(cell)), None)
            if at is None:
                return np.array([float(cell.strip() or "nan") for cell in cells])
            raise DataError(
                f"row {self.rows[at]}, column {name!r}: {cells[at][:40]!r} is not a number.", where=self.where
            ) from None

    def labels(self, name: str) -> tuple[np.ndarray, list[Any]]:
        """Give a column of labels as codes and the distinct labels: sorted whole numbers, or text as met.

        Returns
        -------
        codes : ndarray of int64, shape (n_rows,)
            Position of each row's label.
        labels : list of int or str
            The distinct labels.

        Raises
        ------
        DataError
            If a cell is empty.
        """
        cells = self.columns[name]
        raw: dict[str, int] = {}
        index = np.fromiter(
            (raw.setdefault(cell, len(raw)) for cell in cells), dtype=np.int64, count=len(cells)
        )
        stripped = [cell.strip() for cell in raw]
        if "" in stripped:
            at = int(np.flatnonzero(index == stripped.index(""))[0])
            raise DataError(f"row {self.rows[at]}, column {name!r}: the cell is empty.", where=self.where)
        texts = list(dict.fromkeys(stripped))
        if len(texts) < len(raw):
            index = np.array([texts.index(cell) for cell in stripped], dtype=np.int64)[index]
        whole = [_as_whole(text) for text in texts]
        if any(number is None for number in whole) or len(set(whole)) < len(whole):
            return index, texts
        order = np.argsort(np.array(whole, dtype=np.int64), kind="stable")
        rank = np.empty_like(order)
        rank[order] = np.arange(order.size)
        return rank[index], [whole[k] for k in order]


def read_table(content: bytes, *, where: str, select: Mapping[str, Any] | None = None) -> TextTable:
    """Read delimited text with a header; comma, tab or semicolon, whichever the header has most of.

    Parameters
    ----------
    content : bytes
        The file's bytes, UTF-8.
    where : str
        The file, for messages.
    select : mapping, optional
        Only rows whose columns have these values are kept.

    Returns
    -------
    TextTable

    Raises
    ------
    DataError
        If the text is not UTF-8, has no header or no rows, or a row has another number of cells.
    OptionError
        If `select` names no column or no row has its value.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"the file is no UTF-8 text (byte {error.start}).", where=where) from None
    first_line = next((line for line in text[:_LOOK_AHEAD].splitlines() if line.strip()), "")
    delimiter = max(_DELIMITERS, key=first_line.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        header = _read_header(reader, where)
        wanted = [(header.index(name), str(value)) for name, value in _known(select or {}, header, where)]
        columns, rows = _read_rows(reader, header, wanted, where)
    except csv.Error as error:
        raise DataError(f"row {reader.line_num}: {error}.", where=where) from None
    if not rows.size:
        if wanted:
            raise OptionError(f"no row has {dict(select or {})}.", where=where)
        raise DataError("the table has a header and no rows.", where=where)
    return TextTable(columns=columns, rows=rows, where=where)


def _read_header(reader: Any, where: str) -> list[str]:
    """Return the names of the columns from the first line with content."""
    header = next((cells for cells in reader if any(cell.strip() for cell in cells)), None)
    if header is None:
        raise DataError("the file is empty.", where=where)
    names = [name.strip() for name in header]
    if len(names) > _MAX_COLUMNS:
        raise DataError(f"the header has {len(names)} columns; at most {_MAX_COLUMNS} are read.", where=where)
    if len(set(names)) < len(names) or "" in names:
        raise DataError(f"the header {names[:12]} has an empty or a repeated name.", where=where)
    return names


def _known(select: Mapping[str, Any], header: list[str], where: str) -> list[tuple[str, Any]]:
    """Return the items of `select` after checking that the columns exist."""
    for name in select:
        if name not in header:
            raise OptionError(
                f"there is no column {name!r} to select by.",
                where=where,
                hint=f"The columns are {', '.join(header)}.",
            )
    return list(select.items())


def _read_rows(
    reader: Any, header: list[str], wanted: list[tuple[int, str]], where: str
) -> tuple[dict[str, list[str]], np.ndarray]:
    """Return the wanted rows as columns, with their numbers (line numbers, if no cell has several lines)."""
    columns: dict[str, list[str]] = {name: [] for name in header}
    numbers = [np.empty(0, dtype=np.int64)]
    first = reader.line_num + 1
    # Chunks keep the work on single rows inside C; a row is only looked at where a chunk is irregular.
    while chunk := list(itertools.islice(reader, _CHUNK_ROWS)):
        kept = np.arange(first, first + len(chunk))
        first += len(chunk)
        if set(map(len, chunk)) != {len(header)}:
            is_blank = [not any(cell.strip() for cell in cells) for cells in chunk]
            for number, cells, blank in zip(kept, chunk, is_blank, strict=True):
                if not blank and len(cells) != len(header):
                    raise DataError(
                        f"row {number} has {len(cells)} cells; the header has {len(header)}.", where=where
                    )
            chunk = [cells for cells, blank in zip(chunk, is_blank, strict=True) if not blank]
            kept = kept[~np.array(is_blank)]
        for k, value in wanted:
            is_wanted = [cells[k].strip() == value for cells in chunk]
            chunk = list(itertools.compress(chunk, is_wanted))
            kept = kept[np.array(is_wanted, dtype=bool)]
        for name, cells in zip(header, zip(*chunk, strict=True), strict=False):
            columns[name].extend(cells)
        numbers.append(kept)
    return columns, np.concatenate(numbers)


def _is_number(cell: str) -> bool:
    """Tell whether a cell is a number without underscores."""
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell


def _as_whole(text: str) -> int | None:
    """Return a whole number of at most 18 digits written plainly ("7", "-3", "7.0"), or None."""
    body = text.removeprefix("-").removesuffix(".0")
    if not (body.isascii() and body.isdigit()) or len(body) > 18:
        return None
    return int(text.removesuffix(".0"))
