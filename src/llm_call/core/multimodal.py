"""Images from files to `Media`: told by their bytes, refused when they are none, confined to a folder where one is given.

The bytes are handed on as they are. Only the header is read, never the pixels, so a huge picture costs no memory. What
a file's name says does not count here; `utils.multimodal_utils` has the lenient face that the documents describe.
"""

import os
from pathlib import Path

from llm_call.core.domain.errors import ConfigError, UnsupportedError
from llm_call.core.domain.messages import Media

IMAGE_TYPES = ("image/png", "image/jpeg", "image/gif", "image/webp")
"""What every provider with eyes takes."""

MAX_BYTES = 20 * 1024 * 1024
"""The largest file that is read: 20 MiB, the cap that the product's documents set."""

# The brands of ISO base media files (ISO/IEC 14496-12, the `ftyp` box) that hold one picture.
_BRANDS = {
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"mif1"), "image/heic"),
    **dict.fromkeys((b"avif", b"avis"), "image/avif"),
}
_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"BM", "image/bmp"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
    (b"%PDF-", "application/pdf"),
)
# JPEG markers that start a frame and so carry its size: SOF0 to SOF15 without DHT (C4), JPG (C8) and DAC (CC).
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_BARE = frozenset({0x01, *range(0xD0, 0xD8)})  # markers without a length: TEM and RST0 to RST7


def sniff(data: bytes) -> str | None:
    """The media type that the first bytes of `data` tell; `None` when they tell none that is known.

    Known are PNG, JPEG, GIF, WebP, BMP, TIFF, HEIC, AVIF and PDF.
    """
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    if data[4:8] == b"ftyp":
        return _BRANDS.get(data[8:12])
    return next((media_type for start, media_type in _SIGNATURES if data.startswith(start)), None)


def load_image(path: str | os.PathLike[str], *, root: str | os.PathLike[str] | None = None) -> Media:
    """The image in the file at `path`, its type told by its bytes.

    With `root`, `path` is taken from there and must stay there: no `..`, no symbolic link out of it.

    Raises:
        ConfigError: The file is missing, unreadable, empty, too large, or outside `root`.
        UnsupportedError: It is no PNG, JPEG, GIF or WebP image, or its header is cut off.
    """
    file = Path(path) if root is None else _confined(Path(path), Path(root))
    data = _read(file)
    media_type = sniff(data)
    if media_type not in IMAGE_TYPES:
        raise UnsupportedError(f"{file.name} is {media_type or 'no known image'}", hint="Use PNG, JPEG, GIF or WebP.")
    width, height = dimensions(data)
    if not width or not height:
        raise UnsupportedError(f"{file.name} has an image header that is cut off or wrong", hint="Save it anew.")
    return Media(media_type=media_type, data=data, name=file.name)


def dimensions(data: bytes) -> tuple[int, int]:
    """Width and height in pixels, from the header of a PNG, JPEG, GIF or WebP image; zeros where it does not say."""
    match sniff(data):
        case "image/png" if data[12:16] == b"IHDR" and len(data) >= 24:  # noqa: PLR2004 - where the height ends
            return int.from_bytes(data[16:20]), int.from_bytes(data[20:24])
        case "image/gif":
            return _little(data, 6, 2), _little(data, 8, 2)
        case "image/jpeg":
            return _jpeg_dimensions(data)
        case "image/webp":
            return _webp_dimensions(data)
        case _:
            return 0, 0


def _confined(path: Path, root: Path) -> Path:
    folder = Path(os.path.realpath(root))
    named = ".." not in path.parts and "\0" not in str(path)
    file = Path(os.path.realpath(folder / path)) if named else path
    if not named or not file.is_relative_to(folder):
        raise ConfigError(f"{path} is outside the folder that images are read from", hint="Move the image there.")
    return file


def _read(file: Path) -> bytes:
    if not file.is_file():
        raise ConfigError(f"there is no image file {str(file)!r}", hint="Check the path.")
    try:
        with file.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"the image cannot be read: {error}", hint="Check its permissions.") from None
    if not data:
        raise ConfigError(f"the image is an empty file: {file}", hint="Check the path.")
    if len(data) > MAX_BYTES:
        raise ConfigError(f"the image is larger than {MAX_BYTES >> 20} MiB: {file}", hint="Make it smaller.")
    return data


def _little(data: bytes, start: int, size: int) -> int:
    """The little-endian number there; zero when `data` ends before it does."""
    field = data[start : start + size]
    return int.from_bytes(field, "little") if len(field) == size else 0


def _jpeg_dimensions(data: bytes) -> tuple[int, int]:
    """From the first frame header (ITU-T T.81, B.2.2): marker, length, precision, height, width."""
    position = 2
    while position + 9 <= len(data) and data[position] == 0xFF:  # noqa: PLR2004 - every marker begins so
        marker = data[position + 1]
        if marker in _JPEG_FRAMES:
            return int.from_bytes(data[position + 7 : position + 9]), int.from_bytes(data[position + 5 : position + 7])
        if marker == 0xFF:  # noqa: PLR2004 - a fill byte
            position += 1
        elif marker in _JPEG_BARE:
            position += 2
        else:
            position += 2 + int.from_bytes(data[position + 2 : position + 4])
    return 0, 0


def _webp_dimensions(data: bytes) -> tuple[int, int]:
    """From the first chunk (RFC 9649): lossy `VP8 `, lossless `VP8L`, or `VP8X` with a canvas."""
    match data[12:16]:
        case b"VP8 " if data[23:26] == b"\x9d\x01\x2a":
            return _little(data, 26, 2) & 0x3FFF, _little(data, 28, 2) & 0x3FFF
        case b"VP8L" if data[20:21] == b"\x2f" and len(data) >= 25:  # noqa: PLR2004 - where the sizes end
            bits = _little(data, 21, 4)
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case b"VP8X" if len(data) >= 30:  # noqa: PLR2004 - where the canvas ends
            return _little(data, 24, 3) + 1, _little(data, 27, 3) + 1
        case _:
            return 0, 0
