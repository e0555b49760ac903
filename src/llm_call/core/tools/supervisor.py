"""Runs one program and sees to it that nothing of it outlives us. Run as a script; it imports nothing of ours.

    supervisor.py PARENT NAMES COMMAND [ARGUMENT ...]

The rule: when the program ends, when we are told to end, or when PARENT (a process id) is no longer our parent, all of
the program's process group ends: asked first, and killed a second later. The program gets the variables that NAMES
lists, with commas between, and no others.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress

_EVERY = 0.5  # seconds between two looks at who our parent is
_GRACE = 1.0  # seconds to end by itself


def main() -> None:
    """Run the program to its end."""
    parent, names, *command = sys.argv[1:]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    threading.Thread(target=_watch, args=(int(parent),), daemon=True).start()
    environment = {name: os.environ[name] for name in names.split(",") if name in os.environ}
    try:
        child = subprocess.Popen(command, env=environment, process_group=0)  # noqa: S603  (the user has named it)
    except (OSError, ValueError) as error:
        sys.exit(f"{command[0]} cannot be started: {getattr(error, 'strerror', error)}")
    try:
        sys.exit(f"{command[0]} ended with code {child.wait()}")
    finally:
        _end(child)


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_EVERY)
    os.kill(os.getpid(), signal.SIGTERM)


def _end(child: "subprocess.Popen[bytes]") -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            child.wait(_GRACE)
        os.killpg(child.pid, signal.SIGKILL)


if __name__ == "__main__":
    main()
