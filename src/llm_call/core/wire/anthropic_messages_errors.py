"""Failures in the Messages dialect: what `http_errors` says of them, and what only this dialect's headers say.

Rule: the body is one of the forms that `http_errors` reads, and so are the headers but for the name of one: `request-id`.
"""

from collections.abc import Mapping
from typing import Any

from llm_call.core.domain.errors import APIError
from llm_call.core.wire.http_errors import decode_http_error, decode_stream_error


def decode_error(status: int, headers: Mapping[str, str], body: bytes) -> APIError:
    """The error that a failed response carries. Header names are in lower case; any body is fine."""
    error = decode_http_error(status, headers, body)
    error.request_id = headers.get("request-id") or error.request_id
    return error


def decode_event_error(payload: Any) -> APIError:
    """The error that an event inside a stream carries: it names its request itself."""
    error = decode_stream_error(payload)
    identity = payload.get("request_id") if isinstance(payload, Mapping) else None
    error.request_id = identity if isinstance(identity, str) else None
    return error
