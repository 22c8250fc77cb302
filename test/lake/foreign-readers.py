"""Iceberg tables opened by pyiceberg, DuckDB and ClickHouse. One argument: JSON {"tables": [{"name", "metadata", "location"}],
"filters": [[name, column, text or null]], "extensions": {...}, "s3": {...} or absent}. The last line printed is one JSON
object: per table and engine [rows, sum of ids, sum of amounts, rows for each filter], all as texts."""

import decimal
import json
import os
import sys

import chdb
import duckdb
from pyiceberg.expressions import EqualTo, IsNull
from pyiceberg.table import StaticTable

request = json.loads(sys.argv[1])
s3 = request.get("s3")
properties = {}
connection = duckdb.connect()
for name in ["avro", "iceberg", "httpfs"]:
    connection.execute(f"LOAD '{request['extensions'][name]}'")
if s3:
    properties = {
        "s3.endpoint": s3["endpoint"],
        "s3.access-key-id": s3["accessKeyId"],
        "s3.secret-access-key": s3["secretAccessKey"],
        "s3.region": s3["region"],
    }
    connection.execute(
        f"CREATE SECRET (TYPE s3, KEY_ID '{s3['accessKeyId']}', SECRET '{s3['secretAccessKey']}', "
        f"REGION '{s3['region']}', ENDPOINT '{s3['endpoint'].removeprefix('http://')}', URL_STYLE 'path', USE_SSL false)"
    )


def amount_text(value):
    return format(decimal.Decimal(str(value)).quantize(decimal.Decimal("0.01")), "f")


def where(column, value):
    return f"{column} IS NULL" if value is None else "{} = '{}'".format(column, value.replace("'", "''"))


def by_pyiceberg(table):
    opened = StaticTable.from_metadata(table["metadata"], properties)
    rows = opened.scan().to_arrow()
    amounts = [value for value in rows.column("amount").to_pylist() if value is not None]
    counts = [
        opened.scan(row_filter=IsNull(column) if value is None else EqualTo(column, value)).to_arrow().num_rows
        for _, column, value in request["filters"]
    ]
    return [str(rows.num_rows), str(sum(rows.column("id").to_pylist())), amount_text(sum(amounts)), *map(str, counts)]


def by_duckdb(table):
    source = f"iceberg_scan('{table['metadata']}')"
    rows, ids, amount = connection.execute(f"SELECT count(*), sum(id), sum(amount) FROM {source}").fetchone()
    counts = [
        connection.execute(f"SELECT count(*) FROM {source} WHERE {where(column, value)}").fetchone()[0]
        for _, column, value in request["filters"]
    ]
    return [str(rows), str(ids), amount_text(amount), *map(str, counts)]


def by_chdb(table):
    if s3:
        url = s3["endpoint"] + "/" + table["location"].removeprefix("s3://") + "/"
        source = f"icebergS3('{url}', '{s3['accessKeyId']}', '{s3['secretAccessKey']}')"
    else:
        # ClickHouse reads local files under its own working folder only.
        os.chdir(table["location"].removeprefix("file://"))
        source = "icebergLocal('./')"
    filters = [f"toString(countIf({where(f'toString({column})', value)}))" for _, column, value in request["filters"]]
    columns = ", ".join(["toString(count())", "toString(sum(id))", "toString(sum(amount))", *filters])
    try:
        row = json.loads(str(chdb.query(f"SELECT {columns} FROM {source}", "JSONCompact")))["data"][0]
    except RuntimeError as error:
        if "Cannot parse uuid" in str(error):
            return ["Cannot parse uuid"]
        raise
    return [row[0], row[1], amount_text(row[2]), *row[3:]]


result = {}
for table in request["tables"]:
    print(table["name"])
    opened = StaticTable.from_metadata(table["metadata"], properties)
    result[table["name"]] = {
        "pyiceberg": by_pyiceberg(table),
        "duckdb": by_duckdb(table),
        "chdb": by_chdb(table),
        "partitions": str(len({repr(task.file.partition) for task in opened.scan().plan_files()})),
        "snapshot": str(opened.current_snapshot().snapshot_id),
        "parent": str(opened.current_snapshot().parent_snapshot_id),
        "operations": sorted({snapshot.summary.operation.value for snapshot in opened.metadata.snapshots}),
        "sort": [f"{field.source_id} {field.direction.name} {field.null_order.name}" for field in opened.sort_order().fields],
    }
print(json.dumps(result))
