"""Values of single texts, by method and way of removal, in; a Parquet table out, and back again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet

from safr.evaluation.faithfulness import MetricValues
from safr.storage import write_parquet

ResultTable = dict[tuple[str, str], MetricValues]
"""Values by method and way of removal; the second is empty where no words are removed."""

_SCHEMA = pyarrow.schema(
    [("text", "int64"), ("method", "string"), ("removal", "string"), ("metric", "string"), ("value", "float64")]
)


def merge_tables(tables: Sequence[ResultTable]) -> ResultTable:
    """One table of the metrics of several, a later one's before an earlier one's."""
    whole: ResultTable = {}
    for table in tables:
        for place, values in table.items():
            whole[place] = whole.get(place, {}) | values
    return whole


def write_results(path: Path, table: ResultTable, texts: Sequence[int], key: str = "") -> None:
    """Write values as Parquet, a row each: text, method, removal, metric, value. What a text has none of is left out.

    Args:
        path: The file, written whole or not at all.
        table: The values.
        texts: Number of each text in its split.
        key: What the values depend on; `read_results` asks for it.
    """
    parts = [_rows(place, metric, values, texts) for place, each in table.items() for metric, values in each.items()]
    write_parquet(path, pyarrow.concat_tables([_SCHEMA.empty_table(), *parts]).replace_schema_metadata({"key": key}))


def read_results(path: Path, texts: Sequence[int], key: str | None = None) -> ResultTable | None:
    """What `write_results` wrote of some texts; None where no such file can be read, or it has another key or texts."""
    if not path.is_file():
        return None
    try:
        rows = pyarrow.parquet.read_table(path)
    except (pyarrow.ArrowException, OSError):
        return None
    if key is not None and (rows.schema.metadata or {}).get(b"key") != key.encode():
        return None
    place = {number: row for row, number in enumerate(texts)}
    if not place.keys() >= set(rows["text"].to_pylist()):
        return None
    table: ResultTable = {}
    for (method, removal, metric), own in rows.to_pandas().groupby(["method", "removal", "metric"], sort=False):
        values = np.full(len(texts), np.nan)
        values[[place[number] for number in own["text"]]] = own["value"]
        table.setdefault((method, removal), {})[metric] = values
    return table


def equal_results(one: ResultTable, other: ResultTable) -> bool:
    """Whether two tables hold the same; a metric that no text has a value of counts as absent."""
    first, second = ({place: _present(values) for place, values in table.items()} for table in (one, other))
    return first.keys() == second.keys() and all(
        first[place].keys() == values.keys()
        and all(np.array_equal(first[place][metric], value, equal_nan=True) for metric, value in values.items())
        for place, values in second.items()
    )


def _present(values: MetricValues) -> MetricValues:
    return {metric: each for metric, each in values.items() if not np.isnan(each).all()}


def _rows(place: tuple[str, str], metric: str, values: np.ndarray, texts: Sequence[int]) -> pyarrow.Table:
    there = np.flatnonzero(~np.isnan(values))
    names = {"method": place[0], "removal": place[1], "metric": metric}
    columns = {name: pyarrow.repeat(value, len(there)) for name, value in names.items()}
    made = {"text": np.asarray(texts, dtype=np.int64)[there], **columns, "value": values[there]}
    return pyarrow.table(made, schema=_SCHEMA)
