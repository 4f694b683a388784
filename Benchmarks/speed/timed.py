"""Runs a command and writes its wall time, processor time and peak resident memory: timed.py FIGURES.json COMMAND…

A process of its own because it has to be small: Linux counts the resident set of the process that started a command
as the command's peak until it has more.
"""

import json
import os
import sys
import time


def main():
    started = time.perf_counter()
    try:
        process = os.posix_spawnp(sys.argv[2], sys.argv[2:], os.environ)
    except OSError as error:
        sys.exit(f"{sys.argv[2]}: {error.strerror}")
    _, status, usage = os.wait4(process, 0)
    seconds = time.perf_counter() - started
    unit = 1 if sys.platform == "darwin" else 1024
    with open(sys.argv[1], "w") as file:
        json.dump({"seconds": seconds, "peak": usage.ru_maxrss * unit, "cpu": usage.ru_utime + usage.ru_stime}, file)
    sys.exit(abs(os.waitstatus_to_exitcode(status)))


main()
