"""Read by `opentelemetry-instrument` and `bext-otel run` before they start the program, and by nobody else.

Of several distributions installed side by side upstream's launcher takes the one that it finds first, which
is chance. It imports this module (entry point `opentelemetry_environment_variables`) before it hands the
environment on, so here the choice can be made: unless somebody has chosen, it is this distribution.
`OTEL_PYTHON_DISTRO` and the launcher's `--distro` still decide.
"""

from __future__ import annotations

import os

from bext_otel.api_environment import hand_over

# Upstream's distribution leaves its configurator to chance as well, which would be ours.
if os.environ.setdefault("OTEL_PYTHON_DISTRO", "bext") == "distro":
    os.environ.setdefault("OTEL_PYTHON_CONFIGURATOR", "configurator")

# What the program's variables had wrong, which its own log is to tell.
hand_over()
