"""Asks the agent again and again whether it is ready while a command runs, and prints for how long at a stretch it was not, in ms.

    downtime.py COMMAND...
"""

import socket
import subprocess
import sys
import time


def is_ready():
    with socket.socket(socket.AF_UNIX) as asked:
        asked.settimeout(0.2)
        try:
            asked.connect("/var/lib/teleport/debug.sock")
            asked.sendall(b"GET /readyz HTTP/1.0\r\n\r\n")
            return b" 200 " in asked.recv(64)
        except OSError:
            return False


while not is_ready():
    time.sleep(0.05)
command = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
last, longest, ended = time.monotonic(), 0.0, None
# A reload goes on after the command that asked for it.
while ended is None or time.monotonic() < ended + 3:
    ready, now = is_ready(), time.monotonic()
    if ready:
        longest, last = max(longest, now - last), now
    if ended is None and command.poll() is not None:
        ended = now
    time.sleep(0.0005)
if command.returncode != 0:
    sys.exit(f"{' '.join(sys.argv[1:])}: ended with {command.returncode}")
print(f"{max(longest, time.monotonic() - last) * 1000:.1f}")
