"""What page and metrics cost a daemon that only waits: memory, time of a page, and nothing while nobody asks."""

import json
import subprocess
import sys

import pytest

SCRIPT = """
import http.client, json, os, sys, time
from sidecar.report.web.server import serve
from sidecar.values import Listen
from tests.support import statuses

status = statuses.large()
server = serve(lambda: status, Listen("127.0.0.1", 0), in_container=True)

def ask(path):
    connection = http.client.HTTPConnection(*server.listen, timeout=20)
    begun = time.perf_counter()
    connection.request("GET", path, headers={"Accept-Encoding": "gzip"})
    assert connection.getresponse().read()
    took = time.perf_counter() - begun
    connection.close()
    return took

pages = [ask("/") for _ in range(30)]
for _ in range(35):
    ask("/metrics"), ask("/healthz")
lines = open("/proc/self/status").read().splitlines()
memory = {line.split(":")[0]: int(line.split()[1]) / 1024 for line in lines if line.startswith(("VmRSS", "VmHWM"))}
before, since = time.process_time(), time.monotonic()
time.sleep(2)
idle = (time.process_time() - before) / (time.monotonic() - since)
print(json.dumps({"page": min(pages), "idle": idle, "modules": sorted(sys.modules), **memory}))
"""

HEAVY = {"boto3", "botocore", "docker", "requests", "pymysql", "apprise", "rich", "tenacity", "jsonschema"}


@pytest.mark.slow
def test_what_the_page_costs() -> None:
    """Two targets with 3,000 backups between them, 1,000 runs, 100 requests."""
    ended = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=100, check=False)
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    assert not HEAVY & set(found["modules"])
    # The daemon as a whole has 90 MiB.
    assert found["VmHWM"] < 60
    assert found["page"] < 0.2
    assert found["idle"] < 0.005
