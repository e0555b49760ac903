"""Settings become receivers of alerts."""

from llm_call.core.alerts.building import subscriptions
from llm_call.core.alerts.dispatch import Alerts
from llm_call.core.config.settings import Settings
from llm_call.core.transport.masking import Secrets


def build_alerts(settings: Settings) -> Alerts:
    """The receivers of alerts that `settings` describe. Nothing is looked up or opened before the first alert."""
    config, credentials = settings.config, settings.credentials
    found = subscriptions(config.alerts, key_of=credentials.resolve, http=config.http)
    return Alerts(found, secrets=Secrets(credentials.at_hand()))
