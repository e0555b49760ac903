"""Providers as data: a provider is a row."""
