"""`llm-call alerts test`: whether the receivers of alerts that the settings name can be reached."""

import asyncio

import typer

from llm_call.cli.output import PROVIDER, run
from llm_call.core.alerts.dispatch import Alerts, Outcome
from llm_call.core.api import default_settings
from llm_call.core.config.alerting import build_alerts
from llm_call.core.domain.alert import Alert, Level
from llm_call.core.domain.errors import ConfigError
from llm_call.core.policy.alerting import rank


def try_receivers(level: Level | None) -> None:
    """Send a test alert to every receiver that takes `level`, or of its own least level, and print what came of it.

    Raises:
        ConfigError: There is no receiver.
        Exit: One has not taken it.
    """
    alerts = build_alerts(default_settings())
    if not alerts.subscriptions:
        raise ConfigError("there is no receiver of alerts", hint="docs/alerts.md says how to set one up.")
    if not run(_tried_out(alerts, level)):
        raise typer.Exit(PROVIDER)


async def _tried_out(alerts: Alerts, level: Level | None) -> bool:
    try:
        return all(await asyncio.gather(*(_told(alerts, name, level) for name in alerts.subscriptions)))
    finally:
        await alerts.close()


async def _told(alerts: Alerts, name: str, level: Level | None) -> bool:
    least = alerts.subscriptions[name].rule.level
    if level is not None and rank(level) < rank(least):
        typer.echo(f"{name}: not tried, it takes no alert below {least}")
        return True
    alert = Alert(level=level or least, kind="test", message="This is a test: llm-call can reach you.")
    outcome = await alerts.try_out(alert, name)
    typer.echo(_line(outcome))
    return outcome.problem is None


def _line(outcome: Outcome) -> str:
    came = f"failed: {outcome.problem}" if outcome.problem else "delivered"
    return f"{outcome.receiver}: {came} ({outcome.seconds:.2f} s)"
