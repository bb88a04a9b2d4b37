"""Runs commands in turn, again and again, and prints what each costs, as tab separated lines.

    measure.py ROUNDS COMMAND...      each COMMAND is one argument, split at spaces; ROUNDS may be "once", with no round before

A line a command: median and least CPU time of it and all its children, median and least wall time, all in milliseconds.
The commands take turns, so that whatever else the machine does meets all of them.
"""

import os
import sys
import time


def median(values):
    ordered = sorted(values)
    return ordered[len(ordered) // 2]


def run(words):
    began = time.monotonic()
    child = os.posix_spawnp(words[0], words, os.environ, file_actions=[(os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0)])
    _, status, used = os.wait4(child, 0)
    if status != 0:
        sys.exit(f"{' '.join(words)}: ended with {status}")
    return (used.ru_utime + used.ru_stime) * 1000, (time.monotonic() - began) * 1000


rounds, commands = 1 if sys.argv[1] == "once" else int(sys.argv[1]), [command.split() for command in sys.argv[2:]]
if sys.argv[1] != "once":
    # Only fills the caches.
    for command in commands:
        run(command)
measured = [[run(command) for command in commands] for _ in range(rounds)]
for results in zip(*measured):
    cpu, wall = zip(*results)
    print("\t".join(f"{value:.3f}" for value in (median(cpu), min(cpu), median(wall), min(wall))))
