"""A program that writes data to its standard output, and logs in some ways."""

import logging
import logging.config
import sys
import warnings

import structlog

print("id,name")
logging.warning("row 2 has no name")
logging.config.dictConfig(
    {
        "version": 1,
        "disable_existing_loggers": False,
        "handlers": {"out": {"class": "logging.StreamHandler", "stream": "ext://sys.stdout"}},
        "loggers": {"job": {"handlers": ["out"], "level": "INFO"}},
    }
)
logging.getLogger("job").info("half way")
logging.getLogger("httpx").info("HTTP Request: GET /")
structlog.configure(processors=[structlog.processors.JSONRenderer()])
structlog.get_logger().info("sold", count=1)
warnings.warn("old ways", stacklevel=1)
print("1,a", file=sys.stdout)
sys.stdout.flush()
sys.stdout.close()
logging.error("after the end of the data")
raise RuntimeError("out of coffee")
