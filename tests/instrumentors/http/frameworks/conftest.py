"""Which Pythons the frameworks are tried on: those that their own releases name."""

from __future__ import annotations

import sys

# Several of them, and what they stand on, do not run on the newest Pythons yet.
collect_ignore_glob = ["test_*.py"] if sys.version_info >= (3, 14) else []
