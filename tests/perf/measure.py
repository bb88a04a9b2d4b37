"""Runs commands in turn, again and again, and prints what each costs, as tab separated lines.

    measure.py ROUNDS COMMAND...      each COMMAND is one argument, split at spaces; ROUNDS may be "once", with no round before
    measure.py note FILE COMMAND      runs a command of several arguments, and adds a line to FILE: its CPU time, and its words

A line a command: median and least CPU time of it and all its children, median and least wall time, all in milliseconds.
The commands take turns, so that whatever else the machine does meets all of them.
"""

import os
import sys
import time


def median(values):
    ordered = sorted(values)
    return ordered[len(ordered) // 2]


def spawn(words, file_actions=()):
    _, status, used = os.wait4(os.posix_spawnp(words[0], words, os.environ, file_actions=file_actions), 0)
    return status, (used.ru_utime + used.ru_stime) * 1000


def run(words):
    began = time.monotonic()
    status, cpu = spawn(words, [(os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0)])
    if status != 0:
        sys.exit(f"{' '.join(words)}: ended with {status}")
    return cpu, (time.monotonic() - began) * 1000


if sys.argv[1] == "note":
    status, cpu = spawn(sys.argv[3:])
    with open(sys.argv[2], "a") as notes:
        print(f"{cpu:.3f}", *(word.replace("\n", " ") for word in sys.argv[3:]), file=notes)
    sys.exit(os.waitstatus_to_exitcode(status))
rounds, commands = 1 if sys.argv[1] == "once" else int(sys.argv[1]), [command.split() for command in sys.argv[2:]]
if sys.argv[1] != "once":
    # Only fills the caches.
    for command in commands:
        run(command)
measured = [[run(command) for command in commands] for _ in range(rounds)]
for results in zip(*measured):
    cpu, wall = zip(*results)
    print("\t".join(f"{value:.3f}" for value in (median(cpu), min(cpu), median(wall), min(wall))))
