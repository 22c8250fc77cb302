"""DuckDB with httpfs, each question over an empty cache in a connection of its own: rows, milliseconds, CPU milliseconds."""
import json
import sys
import time

import duckdb

given = json.loads(sys.argv[1])
answers = []
for question in given["questions"]:
    connection = duckdb.connect(":memory:", config={"threads": 2, "allow_unsigned_extensions": "false"})
    connection.execute(f"LOAD '{given['extension']}'")
    connection.execute("SET enable_external_file_cache = false")
    connection.execute("SET enable_http_metadata_cache = false")
    connection.execute("SET parquet_metadata_cache = false")
    connection.execute(
        f"CREATE SECRET (TYPE s3, KEY_ID '{given['key']}', SECRET '{given['secret']}', ENDPOINT '{given['endpoint']}', URL_STYLE 'path', USE_SSL false, REGION '{given['region']}')"
    )
    files = ", ".join(f"'{file}'" for file in given["files"])
    table = f"(SELECT * EXCLUDE (_source, _partition, _offset, _timestamp, _arrived) FROM read_parquet([{files}]))"
    sql = question.replace("FROM wide", f"FROM {table}")
    started, cpu = time.perf_counter(), time.process_time()
    rows = connection.execute(f"SELECT to_json(list(q))::VARCHAR FROM ({sql}) q").fetchone()[0]
    answers.append(
        {
            "ms": (time.perf_counter() - started) * 1000,
            "cpuMs": (time.process_time() - cpu) * 1000,
            "rows": rows or "[]",
        }
    )
    connection.close()
print(json.dumps(answers))
