"""One file or table as two engines see it. Arguments: "segment" or "table", path or metadata location, options as JSON.
The last line printed is one JSON object: per engine the types of the columns and their values, ordered by id. Values are
texts that say everything: instants as microseconds, bytes as hex, floats by their shortest digits."""

import datetime
import json
import sys

import duckdb
import pyarrow as pa
import pyarrow.parquet
from pyiceberg.io.pyarrow import pyarrow_to_schema
from pyiceberg.table import StaticTable

kind, place, options = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
EPOCH = datetime.datetime(1970, 1, 1)


def text(value):
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, datetime.datetime):
        return str((value.replace(tzinfo=None) - EPOCH) // datetime.timedelta(microseconds=1))
    if isinstance(value, datetime.time):
        return value.isoformat("microseconds")
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).hex()
    if hasattr(value, "is_nan"):
        return format(value, "f")
    return str(value)


if kind == "segment":
    arrow = pa.parquet.ParquetFile(place).read()
    schema = pyarrow_to_schema(arrow.schema)
    source = f"read_parquet('{place}')"
else:
    table = StaticTable.from_metadata(place)
    schema = table.schema()
    arrow = table.scan().to_arrow()
    source = f"iceberg_scan('{place}')"

arrow = arrow.sort_by("id")


def values(column):
    # Python's own datetime knows years 1 to 9999 only, in every zone that it looks at on the way.
    exact = column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column
    return [text(value) for value in exact.to_pylist()]


result = {
    "pyiceberg": {
        "types": {field.name: f"{field.field_id} {field.field_type}{' required' if field.required else ''}" for field in schema.fields},
        "values": {name: values(arrow.column(name)) for name in arrow.column_names},
    }
}

connection = duckdb.connect()
for name in ["avro", "iceberg"]:
    connection.execute(f"LOAD '{options['extensions'][name]}'")
connection.execute("SET TimeZone = 'UTC'")
described = connection.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()
types = {name: type_name for name, type_name, *_ in described}
# Python's own datetime needs another package for zones: microseconds say the same.
expressions = [
    f'epoch_us("{name}") AS "{name}"' if type_name == "TIMESTAMP WITH TIME ZONE" else f'"{name}"'
    for name, type_name in types.items()
]
rows = connection.execute(f"SELECT {', '.join(expressions)} FROM {source} ORDER BY id").fetchall()
result["duckdb"] = {
    "types": types,
    "values": {name: [text(row[index]) for row in rows] for index, name in enumerate(types)},
}
print(json.dumps(result))
