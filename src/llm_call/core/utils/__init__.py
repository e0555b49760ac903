"""The documented faces of older names. Thin: the real modules stand beside this package."""
