"""AWS's Signature Version 4, with the credentials of the environment, the profile, the login or the machine.

The library `botocore` finds the credentials, keeps them fresh and signs. It reads the environment and AWS's own files
itself, on first use.
"""

import asyncio
import threading
from functools import cached_property
from hashlib import sha256

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import BotoCoreError
from botocore.session import Session
from msgspec.structs import replace

from llm_call.core.domain.errors import MissingCredentialError
from llm_call.core.transport.base import Endpoint
from llm_call.core.wire.base import WireRequest

_HINT = "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or log in with the aws command."


class AwsSigner:
    """A `Signer` for one service in one region. It works in a thread: credentials may have to be fetched."""

    def __init__(self, *, service: str, region: str) -> None:
        self._service = service
        self._region = region
        self._lock = threading.Lock()

    async def __call__(self, endpoint: Endpoint, request: WireRequest) -> Endpoint:
        """`endpoint` with the headers of the signature.

        Raises:
            MissingCredentialError: There are no credentials, or they cannot be refreshed.
        """
        try:
            return await asyncio.to_thread(self._signed, endpoint, request)
        except BotoCoreError as error:
            raise MissingCredentialError(f"no AWS credentials: {type(error).__name__}", hint=_HINT) from error

    def _signed(self, endpoint: Endpoint, request: WireRequest) -> Endpoint:
        with self._lock:
            credentials = self._session.get_credentials()
        if credentials is None:
            raise MissingCredentialError("no AWS credentials", hint=_HINT)
        signed = AWSRequest(
            method="POST",
            url=endpoint.base_url + request.path,
            headers={
                "content-type": request.headers.get("content-type", "application/json"),
                # What stands for the body in the signature.
                "x-amz-content-sha256": sha256(request.body).hexdigest(),
            },
        )
        SigV4Auth(credentials.get_frozen_credentials(), self._service, self._region).add_auth(signed)
        headers = {name.lower(): value for name, value in signed.headers.items()}
        return replace(endpoint, headers={**endpoint.headers, **headers})

    @cached_property
    def _session(self) -> Session:
        return Session()
