"""The same as shared_log_flock.c, as a server in Python does it: lock, write, flush, unlock."""

import fcntl
import json
import sys
import time

path, seconds, start = sys.argv[1], float(sys.argv[2]), float(sys.argv[3]) / 1000
file = open(path, "a", encoding="utf-8")
while time.time() < start:
    time.sleep(0.0002)
begin = end = time.monotonic()
lines = 0
text = "x" * 49
while end - begin < seconds:
    fcntl.flock(file, fcntl.LOCK_EX)
    file.write(json.dumps({
        "seq": lines, "time": "2026-11-21T00:38:36.123Z", "server": "A",
        "type": "msg", "from": "Dana", "text": text}) + "\n")
    file.flush()
    fcntl.flock(file, fcntl.LOCK_UN)
    lines += 1
    end = time.monotonic()
print("wrote", lines, end - begin, file=sys.stderr)
