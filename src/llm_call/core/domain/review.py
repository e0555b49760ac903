"""What a person is asked, and what they may answer."""

from datetime import datetime
from typing import Any, Literal

from msgspec import Struct

Action = Literal["approve", "edit", "reject", "retry", "escalate", "abort"]
Reason = Literal["rejected", "failed"]


class Pending(Struct, frozen=True, kw_only=True):
    """A call that waits for a person. It can be serialised: `id` is all that is needed to go on, from any process.

    `expires` is when the policy decides without them.
    """

    id: str
    reason: Reason
    expires: datetime | None = None


class Decision(Struct, frozen=True, kw_only=True):
    """What a person decides.

    `approve` accepts the answer as it stands; `edit` puts `value` in its place; `reject` says no for good; `retry` asks
    again with `changes` (keys of `llm_config`, or `feedback` for the model); `escalate` hands it to the next level;
    `abort` ends the call. `by` is who decided.
    """

    action: Action
    value: Any = None
    reason: str = ""
    changes: dict[str, Any] = {}
    by: str = ""
