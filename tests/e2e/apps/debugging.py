"""A script at level debug, with a log file of its own, that exports while it runs."""

import logging

from opentelemetry import _logs

logging.basicConfig(filename="own.log", level=logging.DEBUG, format="%(name)s %(message)s")
logging.getLogger("job").debug("job begins")
_logs.get_logger_provider().force_flush()  # type: ignore[attr-defined]  # the API's own provider has none
logging.getLogger("job").debug("job ends")
