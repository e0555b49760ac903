"""The library. It knows no application."""
