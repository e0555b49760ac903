import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_call.core.domain.errors import ConfigError, UnsupportedError
from llm_call.core.multimodal import MAX_BYTES, dimensions, load_image, sniff

WIDTH, HEIGHT = 300, 515  # no byte of either is zero: a number that is cut off is another number


def png() -> bytes:
    header = b"IHDR" + struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))


def jpeg() -> bytes:
    application = b"\xff\xe0" + struct.pack(">H", 16) + b"JFIF\0" + bytes(9)
    huffman = b"\xff\xc4" + struct.pack(">H", 12) + bytes(range(1, 11))
    frame = b"\xff\xff\xc2" + struct.pack(">HBHH", 17, 8, HEIGHT, WIDTH) + bytes(10)
    return b"\xff\xd8" + application + b"\xff\xd0" + huffman + frame


def webp(kind: bytes, body: bytes) -> bytes:
    chunk = kind + struct.pack("<I", len(body)) + body
    return b"RIFF" + struct.pack("<I", len(chunk) + 4) + b"WEBP" + chunk


IMAGES = {
    "png": ("image/png", png()),
    "jpeg": ("image/jpeg", jpeg()),
    "gif87": ("image/gif", b"GIF87a" + struct.pack("<HH", WIDTH, HEIGHT)),
    "gif89": ("image/gif", b"GIF89a" + struct.pack("<HH", WIDTH, HEIGHT)),
    "webp lossy": ("image/webp", webp(b"VP8 ", b"\0\0\0\x9d\x01\x2a" + struct.pack("<HH", WIDTH, HEIGHT))),
    "webp lossless": ("image/webp", webp(b"VP8L", b"\x2f" + struct.pack("<I", WIDTH - 1 | HEIGHT - 1 << 14))),
    "webp extended": (
        "image/webp",
        webp(b"VP8X", bytes(4) + (WIDTH - 1).to_bytes(3, "little") + (HEIGHT - 1).to_bytes(3, "little")),
    ),
}
OTHERS = {
    "image/bmp": b"BM\x36\0\0\0",
    "image/tiff": b"II*\0\x08\0\0\0",
    "image/heic": b"\0\0\0\x18ftypheic",
    "image/avif": b"\0\0\0\x1cftypavif",
    "application/pdf": b"%PDF-1.7\n",
}


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_is_told_by_its_bytes_and_measured_by_its_header(name: str, tmp_path: Path) -> None:
    media_type, data = IMAGES[name]
    assert sniff(data) == media_type
    assert dimensions(data) == (WIDTH, HEIGHT)
    file = tmp_path / "picture.txt"
    file.write_bytes(data)
    media = load_image(str(file))
    assert (media.media_type, media.data, media.name) == (media_type, data, "picture.txt")


@pytest.mark.parametrize("name", IMAGES)
def test_a_header_that_is_cut_off_anywhere_is_refused(name: str, tmp_path: Path) -> None:
    _, data = IMAGES[name]
    needed = next(length for length in range(len(data) + 1) if dimensions(data[:length]) == (WIDTH, HEIGHT))
    file = tmp_path / "cut.png"
    for length in range(1, needed):
        file.write_bytes(data[:length])
        with pytest.raises(UnsupportedError, match=r"cut\.png"):
            load_image(file)


@pytest.mark.parametrize("media_type", OTHERS)
def test_other_known_types_are_recognised_and_refused_by_name(media_type: str, tmp_path: Path) -> None:
    assert sniff(OTHERS[media_type]) == media_type
    file = tmp_path / "image.png"
    file.write_bytes(OTHERS[media_type])
    with pytest.raises(UnsupportedError, match=media_type):
        load_image(file)


def test_big_endian_tiff_is_recognised_and_a_film_is_not_an_image() -> None:
    assert sniff(b"MM\0*\0\0\0\x08") == "image/tiff"
    assert sniff(b"\0\0\0\x18ftypisom") is None


@given(st.sampled_from([b"", *(data[:20] for _, data in IMAGES.values())]), st.binary(max_size=64))
def test_any_bytes_are_answered_without_an_error(head: bytes, tail: bytes) -> None:
    assert isinstance(sniff(head + tail), str | None)
    assert min(dimensions(head + tail)) >= 0


def test_what_is_no_readable_file_is_a_config_error(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    for name in ("missing.png", "", "empty.png", "loop.png", "nul\0.png"):
        for root in (None, tmp_path):
            with pytest.raises(ConfigError) as caught:
                load_image(f"{tmp_path}/{name}" if root is None else name, root=root)
            assert caught.value.hint


def test_a_file_over_the_cap_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "large.png"
    file.write_bytes(png())
    with file.open("r+b") as stream:
        stream.truncate(MAX_BYTES)
    assert load_image(file).data is not None
    with file.open("r+b") as stream:
        stream.truncate(MAX_BYTES + 1)
    with pytest.raises(ConfigError, match="20 MiB"):
        load_image(file)


def test_a_root_confines_paths_and_links(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "inner").mkdir(parents=True)
    for file in (tmp_path / "outside.png", root / "inner" / "image.png"):
        file.write_bytes(png())
    (root / "inside.png").symlink_to(root / "inner" / "image.png")
    (root / "escape.png").symlink_to(tmp_path / "outside.png")
    (root / "away").symlink_to(tmp_path)
    for path in ("inner/image.png", "inside.png", str(root / "inner" / "image.png")):
        assert load_image(path, root=root).media_type == "image/png"
    for path in (
        "../outside.png",
        "inner/../inner/image.png",
        "escape.png",
        "away/outside.png",
        str(tmp_path / "outside.png"),
    ):
        with pytest.raises(ConfigError, match="outside the folder"):
            load_image(path, root=root)
