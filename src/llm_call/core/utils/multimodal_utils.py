"""The documented face of `core.multimodal`: an image file as the content part that chat messages carry.

Lenient where the documents are: a file whose bytes are no known image passes by its suffix, with a warning. The request
path is strict; see `core.multimodal.load_image`.
"""

import base64
import os
import warnings
from pathlib import Path
from typing import Any

from llm_call.core.multimodal import IMAGE_TYPES, MAX_BYTES, sniff

_SUFFIXES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".webp": "image/webp",
}


def encode_image(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The image at `path` as `{"type": "image_url", "image_url": {"url": "data:image/png;base64,..."}}`.

    The media type is what the bytes tell. Bytes of no known type trust the suffix, with a `UserWarning`.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The suffix is none of png, jpg, jpeg, gif, webp (in any case), or the file is a folder, empty, larger
            than 20 MiB, or by its bytes of a type that is not one of these.
    """
    file = Path(path)
    if not file.exists():
        raise FileNotFoundError(f"no such image: {file}")
    suffix = file.suffix.lower()
    if suffix not in _SUFFIXES:
        raise ValueError(f"{file} is no image by its suffix: use one of {', '.join(_SUFFIXES)}")
    data = _read(file)
    url = f"data:{_media_type(data, suffix, file)};base64,{base64.b64encode(data).decode()}"
    return {"type": "image_url", "image_url": {"url": url}}


def _read(file: Path) -> bytes:
    if not file.is_file():
        raise ValueError(f"{file} is no regular file")
    with file.open("rb") as stream:
        data = stream.read(MAX_BYTES + 1)
    if not data:
        raise ValueError(f"{file} is empty")
    if len(data) > MAX_BYTES:
        raise ValueError(f"{file} is larger than {MAX_BYTES >> 20} MiB")
    return data


def _media_type(data: bytes, suffix: str, file: Path) -> str:
    told = sniff(data)
    if told is None:
        warnings.warn(f"the bytes of {file} are no known image: its suffix is trusted", stacklevel=3)
        return _SUFFIXES[suffix]
    if told not in IMAGE_TYPES:
        raise ValueError(f"{file} is {told} by its bytes: save it as PNG, JPEG, GIF or WebP")
    return told
