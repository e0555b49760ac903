"""What outlasts a process: conversations and responses, in SQLite files that belong to their user alone."""
