"""Rows of Parquet files, a batch at a time."""

import os
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from taggen_jax.catalog.rows import Row, check_columns

_BATCH = 1024


def parquet_rows(path: str | os.PathLike[str], wanted: set[str], required: tuple[str, ...]) -> Iterator[Row]:
    """The rows as dicts of the `wanted` columns. Strings come as bytes: Parquet does not promise UTF-8.

    Raises:
      UserError: the file lacks a required column or has a wanted one twice.
    """
    # Without pre-buffering a column is read as it is decoded: a row group may be larger than the memory.
    with pa.parquet.ParquetFile(path, pre_buffer=False, buffer_size=1024 * 1024) as file:
        names = file.schema_arrow.names
        check_columns(path, names, wanted, required)
        line = 0
        for batch in file.iter_batches(_BATCH, columns=[name for name in names if name in wanted]):
            columns = {name: _values(batch.column(name)) for name in batch.schema.names}
            for i in range(len(batch)):
                line += 1
                yield Row(line=line, values={name: values[i] for name, values in columns.items()})


def _values(column: pa.Array) -> list[Any]:
    values = column.cast(_bytes_for_strings(column.type)).to_pylist()
    if pa.types.is_map(column.type):
        return [None if pairs is None else dict(pairs) for pairs in values]
    return values


def _bytes_for_strings(kind: Any) -> Any:
    types = pa.types
    if types.is_dictionary(kind):
        return _bytes_for_strings(kind.value_type)
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return pa.large_binary()
    if types.is_map(kind):
        return pa.map_(_bytes_for_strings(kind.key_type), _bytes_for_strings(kind.item_type))
    if types.is_list(kind) or types.is_large_list(kind):
        return pa.large_list(_bytes_for_strings(kind.value_type))
    if types.is_struct(kind):
        return pa.struct([field.with_type(_bytes_for_strings(field.type)) for field in kind])
    return kind
