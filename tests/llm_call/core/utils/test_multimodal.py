import base64
from pathlib import Path
from typing import Any

import pytest

from llm_call.core.utils.multimodal_utils import encode_image

BYTES = {
    "image/png": b"\x89PNG\r\n\x1a\n",
    "image/jpeg": b"\xff\xd8\xff\xe0",
    "image/gif": b"GIF89a",
    "image/webp": b"RIFF\0\0\0\0WEBP",
}
SUFFIXES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".webp": "image/webp",
}


def encoded(media_type: str, data: bytes) -> dict[str, Any]:
    return {
        "type": "image_url",
        "image_url": {"url": f"data:{media_type};base64,{base64.b64encode(data).decode()}"},
    }


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_image_encoding(suffix: str, tmp_path: Path) -> None:
    media_type = SUFFIXES[suffix]
    for name in (f"image{suffix}", f"IMAGE{suffix.upper()}"):
        file = tmp_path / name
        file.write_bytes(BYTES[media_type])
        assert encode_image(file) == encode_image(str(file)) == encoded(media_type, BYTES[media_type])


def test_image_encoding_of_the_documents_own_example(tmp_path: Path) -> None:
    file = tmp_path / "test.png"
    file.write_text("test\n")
    with pytest.warns(UserWarning, match=r"test\.png") as caught:
        result = encode_image(str(file))
    assert result["type"] == "image_url"
    assert result["image_url"]["url"].startswith("data:image/png;base64,")
    assert result == encoded("image/png", b"test\n")
    assert caught[0].filename == __file__


def test_image_encoding_lets_the_bytes_win_over_the_suffix(tmp_path: Path) -> None:
    file = tmp_path / "really_a_jpeg.png"
    file.write_bytes(BYTES["image/jpeg"])
    assert encode_image(file) == encoded("image/jpeg", BYTES["image/jpeg"])


def test_image_encoding_of_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"missing\.png"):
        encode_image(tmp_path / "missing.png")


@pytest.mark.parametrize(
    ("name", "data", "why"),
    [
        ("image.bmp", b"BM", "suffix"),
        ("image", BYTES["image/png"], "suffix"),
        ("empty.png", b"", "empty"),
        ("document.png", b"%PDF-1.7", "application/pdf"),
        ("photo.jpg", b"\0\0\0\x18ftypheic", "image/heic"),
    ],
)
def test_image_encoding_refuses_what_is_no_image(name: str, data: bytes, why: str, tmp_path: Path) -> None:
    file = tmp_path / name
    file.write_bytes(data)
    with pytest.raises(ValueError, match=why):
        encode_image(file)


def test_image_encoding_refuses_a_folder(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(ValueError, match="regular file"):
        encode_image(tmp_path / "folder.png")


def test_image_encoding_refuses_more_than_20_mib(tmp_path: Path) -> None:
    file = tmp_path / "large.png"
    file.write_bytes(BYTES["image/png"])
    with file.open("r+b") as stream:
        stream.truncate(20 * 1024 * 1024 + 1)
    with pytest.raises(ValueError, match="20 MiB"):
        encode_image(file)
