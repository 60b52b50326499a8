"""What never leaves the process: secrets, in every signal, in settings, and in what exceptions say."""

from __future__ import annotations

from bext_otel.redaction.details import SECRET, redact_details, redact_settings
from bext_otel.redaction.names import is_secret, is_secret_field, is_secret_parameter, parameter_pattern
from bext_otel.redaction.policy import redact_attributes, redact_body, redact_value, use_policy
from bext_otel.redaction.texts import describe, redact_form, redact_message, redact_text, shortened_text
from bext_otel.redaction.urls import REDACTED, redact_query, redact_url, redact_urls

__all__ = [
    "REDACTED",
    "SECRET",
    "describe",
    "is_secret",
    "is_secret_field",
    "is_secret_parameter",
    "parameter_pattern",
    "redact_attributes",
    "redact_body",
    "redact_details",
    "redact_form",
    "redact_message",
    "redact_query",
    "redact_settings",
    "redact_text",
    "redact_url",
    "redact_urls",
    "redact_value",
    "shortened_text",
    "use_policy",
]
