"""DBOS, as far as it is needed here: workflows that are started once by their name, their steps, and who carries them out.

DBOS is one for the process, and so is what stands here. Its workflows run in an event loop of its own thread. It is
told to say only warnings, and nothing of it leaves the process but for the database.

A process that carries workflows out holds a lock as long as it lives. A workflow whose process has let go of its lock
is anybody's to take over; DBOS sees to it that one does.
"""

import asyncio
import logging
import threading
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any, TypeVar

import msgspec

from llm_call.core.domain.errors import ConfigError, LLMCallError
from llm_call.core.durable.liveness import Liveness, liveness_of
from llm_call.core.durable.records import Came, Case, Link, Move, StoredError, chain, written

T = TypeVar("T")
_FORMAT = "1"  # of the steps: what another version has begun is left to it
_NAME = "llm-call"
_POLL = 0.2  # seconds between two looks at a workflow that another process carries out
Workflow = Callable[[str, str], Awaitable[Came]]
"""Carries out the workflow of an id with its input."""

_open = threading.Lock()


def check_installed() -> None:
    """See that DBOS can be used.

    Raises:
        ConfigError: It is not installed.
    """
    if find_spec("dbos") is None:
        raise ConfigError(
            "durable calls and reviews need DBOS, which is not installed", hint='pip install "llm-call[durable]"'
        )


class Backend:
    """The store at `url`, opened by `open`. `workflows` says how each kind is carried out."""

    def __init__(self, url: str, workflows: Mapping[str, Workflow]) -> None:
        self.url = url
        self.run = uuid.uuid4().hex
        self._kinds = workflows
        self._workflows: dict[str, Any] = {}
        self._dbos: Any = None
        self._liveness: Liveness | None = None
        self._opening = threading.Lock()
        self._running: set[str] = set()
        self._idle = threading.Condition()

    async def open(self) -> None:
        """Open it, if it is not open.

        Raises:
            ConfigError: It cannot be opened, or the process has another one open.
        """
        if self._dbos is None:
            await _outside(self._launch)

    async def close(self, patience: float) -> None:
        """Let what runs here end, for `patience` seconds; what is left then is for others to take over."""
        if self._dbos is not None:
            await _outside(self._destroy, patience)

    async def start(self, kind: str, identity: str, body: str) -> None:
        """Begin the workflow `identity`, unless there is one."""
        from dbos import SetWorkflowID  # noqa: PLC0415  (an optional extra)

        def begin() -> None:
            with SetWorkflowID(identity):
                self._dbos.start_workflow(self._workflows[kind], body)

        await _outside(begin)

    async def step(self, name: str, work: Callable[[], Awaitable[str]]) -> str:
        """A step of the workflow that this runs in: what it came to before, or what `work` gives."""
        done: str = await self._dbos.run_step_async({"name": name}, work)
        return done

    async def case(self, identity: str) -> Case:
        """The chain of workflows that `identity` opens.

        Raises:
            ConfigError: There is none.
        """
        found = await _outside(self._links, identity)
        if not found:
            raise ConfigError(f"there is no call or review {identity!r}", hint="`llm-call review list` lists them.")
        return chain(identity, found)

    async def cases(self) -> tuple[Case, ...]:
        """Every chain, the newest last."""
        links = await _outside(self._links, None)
        names = dict.fromkeys(link.id.partition(".")[0] for link in sorted(links, key=lambda link: link.at))
        return tuple(chain(name, [each for each in links if each.id.partition(".")[0] == name]) for name in names)

    async def settled(self, identity: str, *, seconds: float | None) -> Case:
        """The chain when nothing of it is under way any more, or as it is after `seconds`."""
        waited = 0.0
        while True:
            case = await self.case(identity)
            if case.running is None or (seconds is not None and waited >= seconds):
                return case
            await self.take_over(case.running.executor)
            await asyncio.sleep(_POLL)
            waited += _POLL

    async def take_over(self, executor: str) -> bool:
        """Carry on what `executor` has begun, if it has ended."""
        if executor == self.run or self._liveness is None:
            return False
        if not await _outside(self._liveness.is_dead, executor):
            return False
        await _outside(self._dbos._recover_pending_workflows, [executor])  # noqa: SLF001  (what its own admin server calls)
        return True

    async def take_over_all(self) -> None:
        """Carry on what processes that have ended had begun."""
        links = await _outside(self._pending)
        for executor in dict.fromkeys(link.executor for link in links):
            await self.take_over(executor)

    def _launch(self) -> None:
        with self._opening:
            if self._dbos is None:
                self._dbos = self._launched()

    def _launched(self) -> Any:
        check_installed()
        silent = logging.getLogger("dbos")
        if not silent.handlers:
            silent.addHandler(logging.NullHandler())  # without one, it would give itself one that prints
        from dbos import DBOS, _dbos  # noqa: PLC0415  (an optional extra, and a second to import)

        in_use = _dbos._dbos_global_instance is not None  # noqa: SLF001  (it says it nowhere else)
        if in_use or not _open.acquire(blocking=False):
            raise ConfigError(
                "this process has another durable store open, or uses DBOS itself",
                hint="Close the other client first; one process has one store.",
            )
        try:
            self._liveness = liveness_of(self.url)
            self._liveness.hold(self.run)
            DBOS(config=self._config())
            for kind, work in self._kinds.items():
                self._workflows[kind] = DBOS.workflow(name=kind, max_recovery_attempts=None)(self._carried(kind, work))
            DBOS.launch()
        except Exception as error:
            DBOS.destroy(destroy_registry=True)
            self._release()
            hint = "Is the file yours, or the server up?"
            raise ConfigError(f"the store for durable calls cannot be opened: {_told(error)}", hint=hint) from error
        return DBOS

    def _config(self) -> Any:
        return {
            "name": _NAME,
            "system_database_url": self.url,
            "executor_id": self.run,
            "application_version": _FORMAT,
            "serializer": _serializer(),
            "log_level": "ERROR",
            "enable_otlp": False,
            "scheduler_polling_interval_sec": 3600.0,
            "use_listen_notify": False,
            "notification_listener_polling_interval_sec": 0.1,  # it listens for what is not used here, and is waited for
        }

    def _carried(self, kind: str, work: Workflow) -> Callable[[str], Awaitable[str]]:
        async def carried(body: str) -> str:
            identity = str(self._dbos.workflow_id)
            with self._idle:
                self._running.add(identity)
            try:
                return written(await work(identity, body))
            finally:
                with self._idle:
                    self._running.discard(identity)
                    self._idle.notify_all()

        carried.__qualname__ = carried.__name__ = kind
        return carried

    def _destroy(self, patience: float) -> None:
        with self._idle:
            self._idle.wait_for(lambda: not self._running, patience)
        self._dbos.destroy(destroy_registry=True)
        self._dbos = None
        self._release()

    def _release(self) -> None:
        if self._liveness is not None:
            self._liveness.release()
            self._liveness = None
        if _open.locked():
            _open.release()

    def _links(self, identity: str | None) -> list[Link]:
        if identity is None:
            return [_link(each) for each in self._dbos.list_workflows(name=list(self._kinds))]
        first = self._dbos.list_workflows(workflow_ids=[identity], name=list(self._kinds))
        return [_link(each) for each in (*first, *self._dbos.list_workflows(workflow_id_prefix=f"{identity}."))]

    def _pending(self) -> Sequence[Link]:
        return [_link(each) for each in self._dbos.list_workflows(status="PENDING", load_output=False)]


async def _outside(function: Callable[..., T], *arguments: Any) -> T:
    """What `function` returns, in a thread. Not as a part of the workflow that this runs in: it is recorded by nobody."""
    return await asyncio.get_running_loop().run_in_executor(None, function, *arguments)


def _link(status: Any) -> Link:
    [body] = status.input["args"]
    came = None if status.output is None else msgspec.json.decode(status.output, type=Came)
    if came is None and status.status in {"ERROR", "CANCELLED"}:
        failure = LLMCallError(f"{status.workflow_id} was ended from outside, or failed: {status.error}")
        came = Came(what="ended", error=StoredError.of(failure))
    return Link(
        id=status.workflow_id,
        at=status.created_at / 1000,
        executor=status.executor_id or "",
        move=msgspec.json.decode(body, type=Move) if "." in status.workflow_id else None,
        came=came,
    )


def _serializer() -> Any:
    """JSON in the place of pickles: what stands in a database must not be able to run."""
    from dbos import Serializer  # noqa: PLC0415  (an optional extra)

    class Plain(Serializer):  # type: ignore[misc,unused-ignore]
        def serialize(self, data: Any) -> str:
            if isinstance(data, BaseException):
                data = {"error": f"{type(data).__name__}: {data}"}
            return msgspec.json.encode(data).decode()

        def deserialize(self, serialized_data: str) -> Any:
            return msgspec.json.decode(serialized_data)

        def name(self) -> str:
            return "llm_call"

    return Plain()


def _told(error: Exception) -> str:
    """The first line of `error`, without what a URL may hold."""
    first = str(error).partition("\n")[0]
    return f"{type(error).__name__}: {first}" if "@" not in first else type(error).__name__
