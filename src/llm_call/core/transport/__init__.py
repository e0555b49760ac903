"""Effects: the ways a request travels. Each is a `Transport`."""
