"""Starts a program and writes what it used: `python -I -S launch.py FILE PROGRAM...`

Between fork and exec a program counts as large as whoever starts it, and that stays in its peak; so this does, which is small.
"""

import os
import sys
import time

began = time.perf_counter()
child = os.fork()
if child == 0:
    os.execv(sys.argv[2], sys.argv[2:])
_, status, used = os.wait4(child, 0)
wall = time.perf_counter() - began
with open(sys.argv[1], "w") as file:
    print(wall, used.ru_utime + used.ru_stime, used.ru_maxrss, file=file)
sys.exit(os.waitstatus_to_exitcode(status))
