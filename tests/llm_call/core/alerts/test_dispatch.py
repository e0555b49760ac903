"""Alerts on their way: threads and servers are real, the cooldown's time is not."""

import asyncio
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from llm_call.core.alerts.dispatch import MOST_WAITING, Alerts, Subscription
from llm_call.core.alerts.receivers import LOGGER, CallbackReceiver, LogReceiver, Receiver
from llm_call.core.alerts.webhook import Webhook
from llm_call.core.domain.alert import Alert, Level
from llm_call.core.policy.alerting import Delivery, Rule
from llm_call.core.transport.masking import Secrets
from llm_call.testing.clock import FakeClock
from llm_call.testing.servers import FaultServer, hang, respond

EVERYTHING = Rule(level="info", cooldown=0, burst=1000)


class Recorder:
    """A receiver that keeps what it gets, fails where a message says so, and waits where `gate` is given."""

    def __init__(self, gate: threading.Event | None = None) -> None:
        self.got: list[Delivery] = []
        self.closed = 0
        self.began = threading.Event()
        self._gate = gate

    @property
    def messages(self) -> list[str]:
        return [each.alert.message for each in self.got]

    async def deliver(self, delivery: Delivery) -> None:
        self.began.set()
        if self._gate is not None:
            await asyncio.to_thread(self._gate.wait, 10)
        if "fail" in delivery.alert.message:
            raise RuntimeError("the receiver is broken")
        self.got.append(delivery)

    async def close(self) -> None:
        self.closed += 1


def alert(message: str = "m", level: Level = "error", subject: str = "s") -> Alert:
    return Alert(level=level, kind="k", subject=subject, message=message)


def one(receiver: Receiver, rule: Rule = EVERYTHING) -> Alerts:
    return Alerts([Subscription(name="one", receiver=receiver, rule=rule)])


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    for each in threading.enumerate():
        if each.name.startswith("llm_call-alert"):
            each.join(10)
            assert not each.is_alive()


def test_each_receiver_hears_of_what_its_rule_says_in_order() -> None:
    grave, all_of_it = Recorder(), Recorder()
    alerts = Alerts(
        [
            Subscription(name="grave", receiver=grave, rule=Rule(level="critical", cooldown=0)),
            Subscription(name="all", receiver=all_of_it, rule=EVERYTHING),
        ]
    )
    for level in ("info", "critical", "warning"):
        alerts.send(alert(level, level))
    asyncio.run(alerts.close())
    assert grave.messages == ["critical"]
    assert all_of_it.messages == ["info", "critical", "warning"]


def test_it_is_sent_from_where_no_event_loop_runs_and_from_where_one_runs() -> None:
    receiver = Recorder()
    alerts = one(receiver)

    async def inside() -> None:
        alerts.send(alert("inside"))
        assert await alerts.drain()

    alerts.send(alert("outside"))
    asyncio.run(inside())
    asyncio.run(alerts.close())
    assert receiver.messages == ["outside", "inside"]


def test_what_was_sent_outlives_the_event_loop_that_sent_it() -> None:
    gate = threading.Event()
    receiver = Recorder(gate)
    alerts = one(receiver)

    async def inside() -> None:
        alerts.send(alert())

    asyncio.run(inside())
    gate.set()
    asyncio.run(alerts.close(10))
    assert receiver.messages == ["m"]


def test_alerts_get_the_time_of_their_sending_unless_they_have_one() -> None:
    receiver = Recorder()
    alerts = one(receiver)
    alerts.send(alert())
    alerts.send(Alert(level="info", kind="k", message="m", at=7.0))
    asyncio.run(alerts.close())
    first, second = (each.alert.at for each in receiver.got)
    assert first is not None
    assert first > 1e9
    assert second == 7.0


def test_the_cooldown_passes_on_the_clock() -> None:
    clock, receiver = FakeClock(), Recorder()
    alerts = Alerts([Subscription(name="one", receiver=receiver)], now=clock.now)
    for pause in (0, 100, 100, 100):
        clock.advance(pause)
        alerts.send(alert())
    asyncio.run(alerts.close())
    assert [each.repeats for each in receiver.got] == [0, 2]


def test_no_secret_is_told() -> None:
    receiver = Recorder()
    subscription = Subscription(name="one", receiver=receiver, rule=EVERYTHING)
    alerts = Alerts([subscription], secrets=Secrets(["hunter2hunter2"]))
    alerts.send(
        Alert(
            level="error",
            kind="k",
            message="the key hunter2hunter2 is wrong",
            subject="hunter2hunter2",
            facts={"code": "sk-abcdefghijklmnop0123", "status": 401},
        )
    )
    asyncio.run(alerts.close())
    told = receiver.got[0].alert
    assert (told.message, told.subject) == ("the key <hidden> is wrong", "<hidden>")
    assert told.facts == {"code": "<hidden>", "status": 401}


def test_a_receiver_that_hangs_holds_up_neither_sender_nor_others_and_drops_the_oldest_with_a_count() -> None:
    gate = threading.Event()
    slow, quick = Recorder(gate), Recorder()
    alerts = Alerts(
        [
            Subscription(name="slow", receiver=slow, rule=EVERYTHING),
            Subscription(name="quick", receiver=quick, rule=EVERYTHING),
        ]
    )
    alerts.send(alert("0"))
    assert slow.began.wait(10)
    for number in range(1, MOST_WAITING + 6):
        alerts.send(alert(str(number)))
    assert quick.began.wait(10)
    gate.set()
    asyncio.run(alerts.drain(10))
    alerts.send(alert("last"))
    asyncio.run(alerts.close(10))
    assert slow.messages == ["0", *map(str, range(6, MOST_WAITING + 6)), "last"]
    for receiver in (slow, quick):  # the quick one may be behind too: nothing waits for it either
        assert sum(each.count for each in receiver.got) == MOST_WAITING + 7


def test_drain_says_whether_all_was_delivered_and_close_tells_the_log_what_was_not(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with FaultServer([hang()]) as server:
        alerts = one(Webhook(server.url))
        alerts.send(alert())
        alerts.send(alert())
        assert server.saw_request()
        assert asyncio.run(alerts.drain(0.01)) is False
        asyncio.run(alerts.close(0.01))
        assert server.saw_client_leave()
    assert caplog.messages == ["one: alerts that were not delivered in time: 2"]


def test_a_delivery_that_takes_too_long_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    with FaultServer([hang(), respond()]) as server:
        subscription = Subscription(name="one", receiver=Webhook(server.url), rule=EVERYTHING)
        alerts = Alerts([subscription], patience=0.05)
        alerts.send(alert())
        assert asyncio.run(alerts.drain(10))
        assert server.saw_client_leave()
        asyncio.run(alerts.close())
    assert "it took longer than 0.05 s" in caplog.messages[0]


def test_a_receiver_that_fails_is_told_to_the_log_once_in_a_cooldown_with_the_alert(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock, receiver = FakeClock(), Recorder()
    alerts = Alerts([Subscription(name="one", receiver=receiver, rule=EVERYTHING)], now=clock.now)
    for message in ("fail 1", "fail 2", "fail 3"):
        alerts.send(alert(message))
    assert asyncio.run(alerts.drain())
    clock.advance(300)
    alerts.send(alert("fail 4"))
    asyncio.run(alerts.drain())
    alerts.send(alert("good"))
    asyncio.run(alerts.close())
    first, second = caplog.messages
    why = "error: receiver_failed one: RuntimeError: the receiver is broken. It was to be told: error: k s"
    assert first == f"{why}: fail 1"
    assert second == f"{why}: fail 4 (3 other alerts were held back) (and 2 more since the last one)"
    assert [(each.alert.message, each.others) for each in receiver.got] == [("good", 4)]


def test_no_secret_of_a_failure_reaches_the_log(caplog: pytest.LogCaptureFixture) -> None:
    def fail(_: Alert) -> None:
        raise RuntimeError("I know hunter2hunter2")

    subscription = Subscription(name="one", receiver=CallbackReceiver(fail), rule=EVERYTHING)
    alerts = Alerts([subscription], secrets=Secrets(["hunter2hunter2"]))
    alerts.send(alert("hunter2hunter2"))
    asyncio.run(alerts.close())
    assert "I know <hidden>. It was to be told: error: k s: <hidden>" in caplog.messages[0]


def test_after_close_it_can_be_sent_to_again() -> None:
    receiver = Recorder()
    alerts = one(receiver)
    for message in ("before", "after"):
        alerts.send(alert(message))
        asyncio.run(alerts.close())
    assert receiver.messages == ["before", "after"]
    assert receiver.closed == 2


def test_without_receivers_nothing_is_started() -> None:
    alerts = Alerts()
    alerts.send(alert())
    assert asyncio.run(alerts.drain())
    asyncio.run(alerts.close())


def test_trying_a_receiver_out_tells_what_came_of_it_whatever_its_rule_says() -> None:
    receiver = Recorder()
    alerts = one(receiver, Rule(level="critical", kinds=("never",)))
    good, bad = (asyncio.run(alerts.try_out(alert(text, "info"), "one")) for text in ("fine", "fail"))
    assert (good.problem, bad.problem) == (None, "RuntimeError: the receiver is broken")
    assert receiver.messages == ["fine"]


def test_the_log_gets_the_level_the_line_and_the_alert(caplog: pytest.LogCaptureFixture) -> None:
    alerts = one(LogReceiver())
    with caplog.at_level(logging.INFO, LOGGER):
        for level in ("info", "warning", "error", "critical"):
            alerts.send(Alert(level=level, kind="k", message=level, facts={"n": 1}))
        asyncio.run(alerts.close())
    assert [(each.levelname, each.message) for each in caplog.records] == [
        ("INFO", "info: k: info"),
        ("WARNING", "warning: k: warning"),
        ("ERROR", "error: k: error"),
        ("CRITICAL", "critical: k: critical"),
    ]
    assert caplog.records[0].alert["facts"] == {"n": 1}  # type: ignore[attr-defined]  # what `extra` adds


def test_functions_are_called_with_the_alert_and_awaited_where_they_are_asynchronous() -> None:
    got: list[tuple[str, str]] = []

    def plain(told: Alert) -> None:
        got.append((told.message, threading.current_thread().name))

    async def waiting(told: Alert) -> None:
        await asyncio.sleep(0)
        got.append((told.message, threading.current_thread().name))

    for function in (plain, waiting):
        alerts = one(CallbackReceiver(function))
        alerts.send(alert(function.__name__))
        asyncio.run(alerts.close())
    assert got == [("plain", "llm_call-alert"), ("waiting", "llm_call-alerts")]


PROGRAM = """
import sys
from llm_call.core.alerts import dispatch
from llm_call.core.alerts.dispatch import Alerts, Subscription
from llm_call.core.alerts.webhook import Webhook
from llm_call.core.domain.alert import Alert

dispatch.EXIT_SECONDS = float(sys.argv[2])
alerts = Alerts([Subscription(name="one", receiver=Webhook(sys.argv[1]))])
alerts.send(Alert(level="critical", kind="k", message="last words"))
raise SystemExit(7)
"""


def ended(url: str, seconds: float) -> tuple[int, str]:
    """The exit code and standard error of a program that sends an alert and ends."""
    words = [sys.executable, "-c", PROGRAM, url, str(seconds)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_program_that_ends_at_once_has_its_alerts_delivered(host: str) -> None:
    with FaultServer([respond()]) as server:
        assert ended(server.url.replace("127.0.0.1", host), 10) == (7, "")
        assert b"last words" in server.requests[0].body


def test_a_program_ends_within_its_bound_when_a_receiver_hangs() -> None:
    with FaultServer([hang()]) as server:
        assert ended(server.url, 0.1) == (7, "one: alerts that were not delivered in time: 1\n")
