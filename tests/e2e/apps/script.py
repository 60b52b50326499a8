"""A plain script: logs, asks somebody, and ends with an exit code of its own."""

import logging
import os
import sys

import httpx

logging.getLogger("job").warning("job begins", extra={"step": 1})
print("plain output")
if "DOWNSTREAM" in os.environ:
    print(httpx.get(os.environ["DOWNSTREAM"], timeout=20).status_code)
sys.exit(3)
