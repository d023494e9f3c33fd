"""Dumps a database in a process of its own and prints the most memory that took, in MiB: `python -m … URL CONNECTIONS`.

What is measured is the high-water mark of the process's resident memory since it began (VmHWM): interpreter, modules
and buffers; the server is another process. Not ru_maxrss: that of a child begins with its parent's.
"""

import re
import sys
from pathlib import Path

from sidecar.database import server, snapshot
from sidecar.database.dump import Dump
from sidecar.database.url import parse

url = parse(sys.argv[1])
with snapshot.take(lambda: server.connect(url), int(sys.argv[2])) as taken:
    dump = Dump(taken, tool_version="peak")
    size = sum(len(chunk) for chunk in dump.chunks())
    rows = sum(table.rows for table in dump.description().tables)
peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
assert peak is not None
print(int(peak[1]) // 1024, rows, size)
