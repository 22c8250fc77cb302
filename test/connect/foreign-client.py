"""Drives the REST API with kafka-connect-py as its README does: argv: URL, user:password, topic. Prints what it got as JSON."""

import json
import subprocess
import sys
import time
from pathlib import Path

from kafka_connect import KafkaConnect

url, auth, topic = sys.argv[1:4]
client = KafkaConnect(url=url, auth=auth)
found = {}


def until(name, wanted):
    for _ in range(300):
        status = client.get_connector_status(name)
        states = [status["connector"]["state"], *[task["state"] for task in status["tasks"]]]
        if states == wanted:
            return status
        time.sleep(0.1)
    raise SystemExit(f"{name} is not {wanted}: {status}")


def kc(*args):
    """The command line that comes with it."""
    command = [str(Path(sys.executable).parent / "kc"), "--url", url, "--auth", auth, *args]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


found["cluster"] = sorted(client.get_cluster_info())
found["before"] = client.list_connectors()
found["plugins"] = [plugin["class"] for plugin in client.list_connector_plugins()]
config = {
    "name": "my-connector",
    "config": {"connector.class": "Millrace", "tasks.max": "1", "topics": topic, "millrace.table": "by_client"},
}
validated = client.validate_connector_config("Millrace", {"name": "my-connector", **config["config"]})
found["validated"] = [validated["name"], validated["error_count"]]
found["created"] = client.create_connector(config)
until("my-connector", ["RUNNING", "RUNNING"])
found["listed"] = client.list_connectors(expand="status")["my-connector"]["status"]["connector"]["state"]
found["running"] = client.list_connectors(state="running", pattern="my-.*")
found["config"] = client.get_connector_config("my-connector")
found["tasks"] = [task["id"] for task in client.list_connector_tasks("my-connector")]
found["task"] = client.get_connector_task_status("my-connector", 0)["state"]
client.pause_connector("my-connector")
until("my-connector", ["PAUSED", "PAUSED"])
client.resume_connector("my-connector")
until("my-connector", ["RUNNING", "RUNNING"])
client.restart_connector("my-connector", include_tasks=True)
until("my-connector", ["RUNNING", "RUNNING"])
client.restart_connector_task("my-connector", 0)
until("my-connector", ["RUNNING", "RUNNING"])
client.stop_connector("my-connector")
until("my-connector", ["STOPPED"])
client.resume_connector("my-connector")
until("my-connector", ["RUNNING", "RUNNING"])
found["updated"] = client.update_connector("my-connector", {**config["config"], "tasks.max": "2"})["config"]["tasks.max"]
found["topics"] = list(client.list_connector_topics("my-connector"))
client.reset_connector_topics("my-connector")

found["kc list"] = kc("list")
found["kc status"] = kc("status", "my-connector")["name"]
found["kc update"] = kc("update", "my-connector", "-d", json.dumps(config["config"]))["config"]["tasks.max"]
try:
    client.create_connector({"name": "bad", "config": {"connector.class": "Millrace"}})
except Exception as error:  # what the client makes of an error body
    found["refused"] = str(error)
until("my-connector", ["RUNNING", "RUNNING"])
print(json.dumps(found))
