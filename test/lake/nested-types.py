"""Iceberg tables and Parquet files with nested columns as other engines see them. One argument: JSON {"segments": [paths],
"metadata", "location", "extensions": {...}}. The last line printed is one JSON object: per engine the rows, ordered by id, of
all columns but the hidden ones. Maps are objects, decimals and dates texts, bytes hex."""

import json
import os
import sys

import chdb
import duckdb
import pyarrow as pa
import pyarrow.parquet
from pyiceberg.table import StaticTable

request = json.loads(sys.argv[1])
HIDDEN = ["_source", "_partition", "_offset", "_timestamp", "_arrived"]


def by_arrow_type(value, kind):
    if value is None:
        return None
    if pa.types.is_struct(kind):
        return {field.name: by_arrow_type(value[field.name], field.type) for field in kind}
    if pa.types.is_map(kind):
        return {key: by_arrow_type(each, kind.item_type) for key, each in value}
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return [by_arrow_type(each, kind.value_type) for each in value]
    return plain(value)


def plain(value):
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).hex()
    if isinstance(value, dict):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    return format(value, "f") if hasattr(value, "is_nan") else str(value)


def of_arrow(table):
    table = table.sort_by("id")
    names = [name for name in table.column_names if name not in HIDDEN]
    columns = [[by_arrow_type(value, table.schema.field(name).type) for value in table.column(name).to_pylist()] for name in names]
    return [dict(zip(names, row)) for row in zip(*columns)]


connection = duckdb.connect()
for name in ["avro", "iceberg"]:
    connection.execute(f"LOAD '{request['extensions'][name]}'")


def of_duckdb(source):
    described = connection.execute(f"SELECT * EXCLUDE ({', '.join(HIDDEN)}) FROM {source} ORDER BY id")
    names = [column[0] for column in described.description]
    return [dict(zip(names, [plain(value) for value in row])) for row in described.fetchall()]


def of_chdb(source):
    settings = (
        "output_format_json_quote_64bit_integers = 0, output_format_json_quote_decimals = 1, output_format_decimal_trailing_zeros = 1, "
        "output_format_json_named_tuples_as_objects = 1, session_timezone = 'UTC'"
    )
    answer = str(chdb.query(f"SELECT * EXCEPT ({', '.join(HIDDEN)}) FROM {source} SETTINGS {settings}", "JSONEachRow"))
    # Sorted here: of files in descending order ClickHouse merges ascending ones wrongly.
    return sorted((json.loads(line) for line in answer.splitlines()), key=lambda row: row["id"])


result = {"segments": []}
for path in request["segments"]:
    print(path)
    result["segments"].append(
        {
            "pyarrow": of_arrow(pa.parquet.ParquetFile(path, page_checksum_verification=True).read()),
            "duckdb": of_duckdb(f"read_parquet('{path}')"),
            "chdb": of_chdb(f"file('{path}', Parquet)"),
        }
    )
if "metadata" in request:
    table = StaticTable.from_metadata(request["metadata"])
    print(table.schema())
    result["pyiceberg"] = of_arrow(table.scan().to_arrow())
    result["schema"] = {field.name: f"{field.field_id} {field.field_type}" for field in table.schema().fields}
    result["duckdb"] = of_duckdb(f"iceberg_scan('{request['metadata']}')")
    os.chdir(request["location"].removeprefix("file://"))
    result["chdb"] = of_chdb("icebergLocal('./')")
print(json.dumps(result))
