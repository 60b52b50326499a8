"""A launcher: keeps a few figures in a cache, starts a server by subprocess, and waits for it, as mlflow does."""

import subprocess
import sys

from cachetools import TTLCache

settings = TTLCache(maxsize=10, ttl=60)
settings["port"] = sys.argv[1]
assert settings.get("workers") is None
sys.exit(
    subprocess.call(
        [sys.executable, "-m", "gunicorn", "-w", "2", "-b", f"127.0.0.1:{settings['port']}", "flask_app:app"]
    )
)
