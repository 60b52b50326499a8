"""Joins the service in each Python process that starts, as a launcher does."""

import counter  # noqa: F401
