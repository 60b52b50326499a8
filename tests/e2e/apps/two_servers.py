"""Starts two servers, asks each for something, and waits."""

import subprocess
import sys
import time
from urllib.request import urlopen

import bext_otel

assert bext_otel.running() is not None
port = int(sys.argv[1])
servers = [
    subprocess.Popen([sys.executable, "-m", "flask", "--app", "flask_app", "run", "--port", str(number)])
    for number in (port, port + 1)
]
for number in (port, port + 1):
    for _ in range(200):
        try:
            urlopen(f"http://127.0.0.1:{number}/items/1").read()
            break
        except OSError:
            time.sleep(0.1)
for server in servers:
    server.wait()
