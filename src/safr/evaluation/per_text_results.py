"""Tables of metric values for single texts, by method and way of removal, and their Parquet files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow

from safr.errors import InputError
from safr.evaluation.faithfulness import MetricValues
from safr.storage import read_parquet, write_parquet

ResultTable = dict[tuple[str, str], MetricValues]
"""Values by method and way of removal; the way of removal is empty where no words are removed."""

RESULT_SCHEMA = pyarrow.schema(
    [("text", "int64"), ("method", "string"), ("removal", "string"), ("metric", "string"), ("value", "float64")]
)
"""Names and types of the columns of `benchmark.parquet`, one row per value."""

_COLUMNS = {"text": "integer", "method": "text", "removal": "text", "metric": "text", "value": "number"}


def merge_tables(tables: Sequence[ResultTable]) -> ResultTable:
    """One table with the metrics of all; where two tables hold the same metric, the later one counts."""
    merged: ResultTable = {}
    for table in tables:
        for key, values in table.items():
            merged[key] = merged.get(key, {}) | values
    return merged


def write_results(path: Path, table: ResultTable, texts: Sequence[int], key: str = "") -> None:
    """Write values to a Parquet file with the columns text, method, removal, metric and value.

    A value that a text does not have (NaN) gets no row.

    Args:
        path: The file, which is written completely or not at all.
        table: The values.
        texts: Numbers of the texts in their split.
        key: What the values depend on; `read_results` can check it.
    """
    parts = [
        _make_rows(method, removal, metric, values, texts)
        for (method, removal), values_by_metric in table.items()
        for metric, values in values_by_metric.items()
    ]
    write_parquet(
        path, pyarrow.concat_tables([RESULT_SCHEMA.empty_table(), *parts]).replace_schema_metadata({"key": key})
    )


def read_results(path: Path, texts: Sequence[int], key: str | None = None) -> ResultTable | None:
    """The table that `write_results` wrote; None where the file can't be read, has another key, or holds other texts.

    A value that the file does not hold is NaN.
    """
    if not path.is_file():
        return None
    try:
        rows = read_parquet(path, _COLUMNS)
    except InputError:
        return None
    if key is not None and (rows.schema.metadata or {}).get(b"key") != key.encode():
        return None
    positions = {text: position for position, text in enumerate(texts)}
    if not positions.keys() >= set(rows["text"].to_pylist()):
        return None
    table: ResultTable = {}
    for (method, removal, metric), group in rows.to_pandas().groupby(["method", "removal", "metric"], sort=False):
        values = np.full(len(texts), np.nan)
        values[[positions[text] for text in group["text"]]] = group["value"]
        table.setdefault((method, removal), {})[metric] = values
    return table


def equal_results(one: ResultTable, other: ResultTable) -> bool:
    """Whether two tables hold the same values; a metric without a value for any text counts as absent."""
    first, second = ({key: _drop_empty_metrics(values) for key, values in table.items()} for table in (one, other))
    return first.keys() == second.keys() and all(
        first[key].keys() == values.keys()
        and all(np.array_equal(first[key][metric], value, equal_nan=True) for metric, value in values.items())
        for key, values in second.items()
    )


def _drop_empty_metrics(values_by_metric: MetricValues) -> MetricValues:
    return {metric: values for metric, values in values_by_metric.items() if not np.isnan(values).all()}


def _make_rows(method: str, removal: str, metric: str, values: np.ndarray, texts: Sequence[int]) -> pyarrow.Table:
    indices = np.flatnonzero(~np.isnan(values))
    names = {"method": method, "removal": removal, "metric": metric}
    name_columns = {name: pyarrow.repeat(value, len(indices)) for name, value in names.items()}
    columns = {"text": np.asarray(texts, dtype=np.int64)[indices], **name_columns, "value": values[indices]}
    return pyarrow.table(columns, schema=RESULT_SCHEMA)
