"""Columns of a parquet file, by pyarrow where it is installed; runs in the guarded child."""

from __future__ import annotations

from typing import Any

from cortexrnn.errors import DataError

try:
    # Before the limits of the child are set, which are for the file and not for the library.
    import pyarrow
    import pyarrow.parquet
except ImportError:
    # An optional extra; whoever asks for this reader has looked whether it is there.
    pyarrow = None


def read_parquet(path: str, max_bytes: int) -> dict[str, Any]:
    """Read the columns of numbers and text.

    Parameters
    ----------
    path : str
        The file.
    max_bytes : int
        The file must not declare more bytes than this.

    Returns
    -------
    dict
        Name to array of numbers or list of text; other columns are left out.

    Raises
    ------
    DataError
        If it is damaged or declares too much.
    """
    try:
        with pyarrow.parquet.ParquetFile(path, memory_map=False) as file:
            declared = sum(file.metadata.row_group(k).total_byte_size for k in range(file.num_row_groups))
            if max(declared, file.metadata.num_rows) > max_bytes:
                raise DataError(f"the file declares {declared} bytes, more than a file of this size may hold.")
            table = file.read(use_threads=False)
    except pyarrow.ArrowException as error:
        raise DataError(f"the parquet file is damaged ({type(error).__name__}).") from None
    found: dict[str, Any] = {}
    for name in table.column_names:
        column, kind = table.column(name), table.schema.field(name).type
        if pyarrow.types.is_integer(kind) or pyarrow.types.is_floating(kind) or pyarrow.types.is_boolean(kind):
            found[name] = column.to_numpy()
            if found[name].dtype == object:
                found[name] = [str(value) for value in column.to_pylist()]
        elif pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind):
            found[name] = ["" if value is None else value for value in column.to_pylist()]
    return found
