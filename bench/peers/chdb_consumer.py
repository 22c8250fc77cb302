"""ClickHouse (chdb) as a peer: records of a topic, batch by batch as JSON lines, into a MergeTree table sorted by time.

    chdb_consumer.py <bootstrap> <topic> <rows> <folder>

confluent-kafka reads, chdb's `INSERT ... FORMAT JSONEachRow` parses and writes. Not exactly-once. Prints one line of JSON
when all rows are in, and waits for its end, so that what it cost can be read from outside.
"""
import json
import sys
import time

import chdb.session
from confluent_kafka import Consumer

bootstrap, topic, rows_text, folder = sys.argv[1:5]
rows_wanted = int(rows_text)
ROWS_AN_INSERT = 100_000

session = chdb.session.Session(folder)
session.query("CREATE DATABASE IF NOT EXISTS bench")
session.query(
    """CREATE TABLE bench.events (ts DateTime64(3, 'UTC'), id Int64, user_id Int64, country LowCardinality(String),
    device LowCardinality(String), url String, status Int32, latency Float64, amount Decimal(10, 2), ok Bool, items Int32,
    session String) ENGINE = MergeTree PARTITION BY toDate(ts) ORDER BY ts"""
)
consumer = Consumer(
    {
        "bootstrap.servers": bootstrap,
        "group.id": f"chdb-{time.time_ns()}",
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "fetch.min.bytes": 1_000_000,
        "queued.max.messages.kbytes": 131_072,
    }
)
consumer.subscribe([topic])
rows = 0
lines = []
inserts = 0
while rows < rows_wanted:
    messages = consumer.consume(10_000, timeout=1.0)
    for message in messages:
        if message.error() is None:
            lines.append(message.value())
    if len(lines) >= ROWS_AN_INSERT or rows + len(lines) == rows_wanted:
        body = b"\n".join(lines).decode()
        session.query(
            "INSERT INTO bench.events SETTINGS date_time_input_format='best_effort' FORMAT JSONEachRow " + body
        )
        rows += len(lines)
        inserts += 1
        lines = []
answer = session.query("SELECT count(), sum(id), toString(sum(amount) * 100) FROM bench.events", "JSONCompact")
count, ids, cents = json.loads(str(answer))["data"][0]
print(json.dumps({"rows": int(count), "idSum": str(ids), "cents": str(cents), "inserts": inserts}), flush=True)
consumer.close()
while True:
    time.sleep(60)
