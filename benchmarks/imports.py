"""Start-up: CPU of whole processes, beside a Python that does nothing.

Compiled bytecode is used, whatever PYTHONDONTWRITEBYTECODE says here. The file of the user is not read.
"""

import sys

from harness import Row, child_cpu, upstream

ASK = 'import llm_call; llm_call.ask_sync("hi", model="openai/gpt-4o-mini", api_base={url!r}, api_key="x").unwrap()'


def measure() -> list[Row]:
    """All figures of this file."""
    with upstream() as url:
        taken = child_cpu(
            {
                "python that does nothing": [sys.executable, "-c", "pass"],
                "import llm_call": [sys.executable, "-c", "import llm_call"],
                "llm-call --help": [sys.executable, "-m", "llm_call", "--help"],
                "the client and its HTTP transport": [sys.executable, "-c", "import llm_call.core.transport.http"],
                "process start to the first answer of ask_sync": [sys.executable, "-c", ASK.format(url=url)],
            }
        )
    floor = taken.pop("python that does nothing")
    return [
        Row(what, seconds * 1e3, "ms", floor * 1e3, "python that does nothing", f"{(seconds - floor) * 1e3:+.0f} ms")
        for what, seconds in taken.items()
    ]
