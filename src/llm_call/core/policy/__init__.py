"""Pure state machines: what has happened goes in, with the time and a random number; a decision comes out."""
