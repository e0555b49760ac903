"""Google's application default credentials: a token of the user, the service account or the machine, kept fresh.

The library `google-auth` finds them: the file that GOOGLE_APPLICATION_CREDENTIALS names, the login of `gcloud auth
application-default login`, or the machine's own identity. It reads those itself, on first use.
"""

import asyncio
import threading
from typing import Any

import google.auth
from google.auth.credentials import TokenState
from google.auth.exceptions import GoogleAuthError, TransportError
from google.auth.transport.requests import Request
from msgspec.structs import replace

from llm_call.core.domain.errors import ConnectionFailedError, LLMCallError, MissingCredentialError
from llm_call.core.transport.base import Endpoint
from llm_call.core.wire.base import WireRequest

_SCOPE = "https://www.googleapis.com/auth/cloud-platform"


class GoogleSigner:
    """A `Signer`. The token is fetched in a thread, once for all calls that wait, and again shortly before it expires.

    Shortly is what `google-auth` takes for it: 3 minutes and 45 seconds.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._credentials: Any = None

    async def __call__(self, endpoint: Endpoint, _request: WireRequest) -> Endpoint:
        """`endpoint` with the token.

        Raises:
            MissingCredentialError: There are no credentials, or they are not accepted.
            ConnectionFailedError: The place that gives tokens does not answer.
        """
        if not self._is_fresh():
            await asyncio.to_thread(self._refresh)
        headers: dict[str, str] = {}
        self._credentials.apply(headers)  # the token, and the project that is billed where the login names one
        return replace(endpoint, headers={**endpoint.headers, **headers})

    def _is_fresh(self) -> bool:
        return self._credentials is not None and self._credentials.token_state is TokenState.FRESH

    def _refresh(self) -> None:
        with self._lock:
            try:
                if self._credentials is None:
                    self._credentials, _ = google.auth.default(scopes=[_SCOPE])
                if not self._is_fresh():
                    self._credentials.refresh(Request())
            except GoogleAuthError as error:
                raise _told(error) from error


def _told(error: GoogleAuthError) -> LLMCallError:
    """Our error. What the library says may hold what the token server sent, so only its kind is told."""
    kind = type(error).__name__
    if error.retryable or isinstance(error, TransportError):
        return ConnectionFailedError(f"no token from Google: {kind}", hint="Check the network.")
    return MissingCredentialError(
        f"no token from Google: {kind}",
        hint="Run gcloud auth application-default login, or set GOOGLE_APPLICATION_CREDENTIALS.",
    )
