"""Alerts reach people: to the log, a function, a webhook, an e-mail. Who hears of what is `policy.alerting`'s to say."""
