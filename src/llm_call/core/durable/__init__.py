"""Calls and reviews that outlast the process that made them, on DBOS: SQLite, or PostgreSQL where machines share them."""
