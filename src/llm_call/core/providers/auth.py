"""How a key is sent: the one place where a credential becomes a header."""

import re
from typing import Literal

from llm_call.core.domain.errors import ConfigError

Auth = Literal["bearer", "x-api-key", "x-goog-api-key", "api-key"]

_NO_KEY = re.compile(r"[^\x21-\x7e]")


def credential_headers(auth: Auth, key: str | None) -> dict[str, str]:
    """The headers that carry `key`; none without one.

    Raises:
        ConfigError: It holds characters that no key holds. The message does not show it.
    """
    if key is None:
        return {}
    if not key or _NO_KEY.search(key):
        raise ConfigError("the key is empty or holds characters that no key holds", hint="Set it again, in one line.")
    return {"authorization": f"Bearer {key}"} if auth == "bearer" else {auth: key}
