"""Pure: from a text to a verdict. `base` is what a validator is, `extraction` finds the JSON value in a text.

Importing this package registers every validator.
"""

from . import string_validators as string_validators
from .base import Answer, Context, Validator, build, register, registered
from .extraction import Extraction, extract
from .json_validators import JSONExtractionValidator

__all__ = [
    "Answer",
    "Context",
    "Extraction",
    "JSONExtractionValidator",
    "Validator",
    "build",
    "extract",
    "register",
    "registered",
]
