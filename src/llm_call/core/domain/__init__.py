"""Frozen values, no I/O. Each module may import those before it.

The order: messages, request, response, embedding, events, profile, verdict, trace, errors, review, result, keys.
"""
