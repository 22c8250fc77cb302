"""Opens one Iceberg table with three engines. Arguments: metadata location, table location, options as JSON
({"s3": {...}} or {}). The last line printed is one JSON object: what each engine sees. Whole numbers are texts."""

import json
import os
import sys

import chdb
import duckdb
from pyiceberg.expressions import EqualTo, GreaterThanOrEqual
from pyiceberg.table import StaticTable

metadata, location, options = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
s3 = options.get("s3")
result = {}

properties = {}
if s3:
    properties = {
        "s3.endpoint": s3["endpoint"],
        "s3.access-key-id": s3["accessKeyId"],
        "s3.secret-access-key": s3["secretAccessKey"],
        "s3.region": s3["region"],
    }
table = StaticTable.from_metadata(metadata, properties)
rows = table.scan().to_arrow()
python_rows = rows.sort_by("id").to_pylist()
result["pyiceberg"] = {
    "rows": str(rows.num_rows),
    "ids": str(sum(row["id"] for row in python_rows)),
    "price": str(sum(row["price"] for row in python_rows if row["price"] is not None)),
    "snapshot": str(table.current_snapshot().snapshot_id),
    "snapshots": str(len(table.metadata.snapshots)),
    "files": str(len(list(table.scan().plan_files()))),
    "hour_files": str(
        len(list(table.scan(row_filter=GreaterThanOrEqual("ts", "1970-01-01T00:00:00")).plan_files()))
    ),
    "id_files": str(len(list(table.scan(row_filter=EqualTo("id", 7)).plan_files()))),
    "first": {key: str(value) for key, value in python_rows[0].items()},
}

connection = duckdb.connect()
for name in ["avro", "iceberg", "httpfs"]:
    connection.execute(f"LOAD '{options['extensions'][name]}'")
if s3:
    host = s3["endpoint"].removeprefix("http://")
    connection.execute(
        f"CREATE SECRET (TYPE s3, KEY_ID '{s3['accessKeyId']}', SECRET '{s3['secretAccessKey']}', "
        f"REGION '{s3['region']}', ENDPOINT '{host}', URL_STYLE 'path', USE_SSL false)"
    )
count, ids, price = connection.execute(
    f"SELECT count(*), sum(id), sum(price) FROM iceberg_scan('{metadata}')"
).fetchone()
result["duckdb"] = {"rows": str(count), "ids": str(ids), "price": str(price)}

if s3:
    url = s3["endpoint"] + "/" + location.removeprefix("s3://") + "/"
    source = f"icebergS3('{url}', '{s3['accessKeyId']}', '{s3['secretAccessKey']}')"
else:
    # ClickHouse reads local files under its own working folder only.
    os.chdir(location.removeprefix("file://"))
    source = "icebergLocal('./')"
answer = chdb.query(f"SELECT toString(count()), toString(sum(id)), toString(sum(price)) FROM {source}", "JSONCompact")
result["chdb"] = dict(zip(["rows", "ids", "price"], json.loads(str(answer))["data"][0]))
print(json.dumps(result))
