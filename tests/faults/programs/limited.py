"""Runs a program whose files may not become larger than so many bytes, and passes on what it writes: a file
could not hold that either."""

import os
import resource
import signal
import sys

limit = int(sys.argv[1])
read, write = os.pipe()
child = os.fork()
if child == 0:
    os.dup2(write, 1)
    os.dup2(write, 2)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    os.execv(sys.argv[2], sys.argv[2:])
os.close(write)
signal.signal(signal.SIGTERM, lambda number, _: os.kill(child, number))
with os.fdopen(read, "rb") as output:
    for line in output:
        sys.stdout.buffer.write(line)
        sys.stdout.flush()
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
