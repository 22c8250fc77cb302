"""ClickHouse (chdb) over a MergeTree table, one statement a line of JSON on stdin: {"id", "sql"}.

    clickhouse.py <folder> <threads> <parquet file>

Loads the file first: sorted by time, a partition a day, merged into one part each. Answers {"id", "ms", "rows"} or
{"id", "error"}; the milliseconds are from the text to the rows as JSON text, which is what a client gets.
"""
import json
import sys
import time

import chdb.session

folder, threads, parquet = sys.argv[1:4]
session = chdb.session.Session(folder)
session.query("CREATE DATABASE IF NOT EXISTS bench")
session.query("USE bench")
session.query(f"SET max_threads = {threads}")
session.query(
    """CREATE TABLE events (ts DateTime64(6, 'UTC'), id Int64, user_id Int64, country LowCardinality(String),
    device LowCardinality(String), url String, status Int32, latency Float64, amount Decimal(10, 2), ok Bool, items Int32,
    session String) ENGINE = MergeTree PARTITION BY toDate(ts) ORDER BY ts"""
)
columns = "ts, id, user_id, country, device, url, status, latency, amount, ok, items, session"
session.query(f"INSERT INTO events SELECT {columns} FROM file('{parquet}', Parquet)")
session.query("OPTIMIZE TABLE events FINAL")
print(json.dumps({"id": 0}), flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    try:
        started = time.perf_counter()
        text = str(session.query(asked["sql"], "JSONCompact"))
        ms = (time.perf_counter() - started) * 1000
        print(json.dumps({"id": asked["id"], "ms": ms, "rows": json.loads(text)["data"]}), flush=True)
    except Exception as error:
        print(json.dumps({"id": asked["id"], "error": str(error)}), flush=True)
