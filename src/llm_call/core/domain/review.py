"""What a person is asked, and what they may answer."""

from datetime import datetime
from typing import Any, Literal

from msgspec import Struct

Action = Literal["approve", "edit", "reject", "retry", "escalate", "abort"]
Reason = Literal["rejected", "failed"]


class Pending(Struct, frozen=True, kw_only=True):
    """A call that waits for a person. It can be serialised: `id` is all that is needed to go on, from any process.

    `expires` is when the policy decides without them, in UTC.
    """

    id: str
    reason: Reason
    expires: datetime | None = None


class Decision(Struct, frozen=True, kw_only=True):
    """What a person decides.

    - `approve`: the answer stands as it is, whatever the validators say. Its form is not theirs to waive: what does not
      fit the schema cannot be approved.
    - `edit`: `value`, a text or JSON, takes the answer's place, if the same schema and validators accept it.
    - `reject`: no, for good. The call has a result whose `ok` is false, like that of any rejected answer.
    - `retry`: ask again with `changes`: keys of `llm_config`, and `feedback`, which the model is told.
    - `escalate`: somebody else has to decide, at the next level.
    - `abort`: the call itself ends. It has no result: who waits for it gets a `CallAbortedError`.

    `reason` is why, and `by` who decided.
    """

    action: Action
    value: Any = None
    reason: str = ""
    changes: dict[str, Any] = {}
    by: str = ""
