"""A script that logs for itself, and forks a server, which is asked once."""

import logging
import os
import signal
import socket
import sys
import time
import urllib.request

import uvicorn
from starlette_app import app

logging.basicConfig(level="INFO", format="own %(message)s", stream=sys.stdout)
logging.info("before")
listening = socket.create_server(("127.0.0.1", 0))
pid = os.fork()
if not pid:
    server = uvicorn.Server(uvicorn.Config(app))
    server.run(sockets=[listening])
    os._exit(0)
url = f"http://127.0.0.1:{listening.getsockname()[1]}/items/tea"
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
print(opener.open(url, timeout=30).status)
time.sleep(0.2)  # the server writes its line when the answer is out
os.kill(pid, signal.SIGTERM)
os.waitpid(pid, 0)
logging.info("after")
