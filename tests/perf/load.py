"""Runs many passes, several at a time, each of a host of its own as far as configuration and state go, and prints what became of them.

    load.py PASSES AT_A_TIME

One line: runs that ended with another status than 0, their CPU time in seconds (children included), and the wall time.
"""

import os
import sys
import time
from pathlib import Path

passes, at_a_time = int(sys.argv[1]), int(sys.argv[2])
hosts = []
for number in range(at_a_time):
    config, state = Path(f"/run/load/{number}/config"), Path(f"/run/load/{number}/state")
    config.mkdir(parents=True)
    (config / "endpoint").write_text("releases.example.com/current\n")
    (config / "installer").write_text("nop\n")
    (config / "lock").write_text("no\n")
    (config / "schedule").write_text("1795399200 9999999999\n")
    hosts.append(["/usr/sbin/teleport-upgrade", "run", "--config-dir", str(config), "--state-dir", str(state)])


def start(words):
    return os.posix_spawn(words[0], words, os.environ, file_actions=[(os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0)])


began = time.monotonic()
started, failed, cpu, running = 0, 0, 0.0, {}
idle = list(range(at_a_time))
while started < passes or running:
    while started < passes and idle:
        host = idle.pop()
        running[start(hosts[host])] = host
        started += 1
    child, status, used = os.wait3(0)
    idle.append(running.pop(child))
    failed += status != 0
    cpu += used.ru_utime + used.ru_stime
print(f"{failed} {cpu:.3f} {time.monotonic() - began:.3f}")
