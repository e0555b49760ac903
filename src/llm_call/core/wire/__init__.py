"""Pure translation: one codec a dialect, bytes in and values out."""
