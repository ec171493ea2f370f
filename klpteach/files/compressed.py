"""Modules as distributions ship them, compressed; the kernel (or kmod) unpacks them before it looks at them."""

from __future__ import annotations

import importlib
import lzma
import zlib
from typing import Any

from ..errors import ModuleFormatError

MAX_BYTES = 64 << 20  # unpacked, and of memory; the largest module of a distribution has about 20 MB
PIECE = 512  # of zstd, fed to a decompressor that takes no limit: one piece unpacks to 16 MiB at most
DAMAGED = (lzma.LZMAError, zlib.error, EOFError, MemoryError)


def unpack(data: bytes, filename: str) -> bytes:
    """The bytes of a .ko, .ko.xz, .ko.gz or .ko.zst, at most MAX_BYTES. Errors: ModuleFormatError."""
    unpacker: Any
    damage: tuple[type[Exception], ...] = DAMAGED
    if data[:6] == b"\xfd7zXZ\0":
        unpacker = lzma.LZMADecompressor(memlimit=128 << 20)
    elif data[:2] == b"\x1f\x8b":
        unpacker = zlib.decompressobj(31)
    elif data[:4] == b"\x28\xb5\x2f\xfd":
        unpacker, error = _zstd(filename)
        damage += (error,)
    else:
        return data
    try:
        plain: bytes = unpacker.decompress(data, MAX_BYTES + 1)
        if len(plain) <= MAX_BYTES and not unpacker.eof:
            raise EOFError("it ends too early")
    except damage as reason:
        damaged = f"its compression is damaged ({reason}). The kernel would refuse with EINVAL."
        raise ModuleFormatError(f"{filename}: {damaged} Is the download complete?") from None
    if len(plain) > MAX_BYTES:
        raise ModuleFormatError(f"{filename}: unpacks to more than {MAX_BYTES >> 20} MiB. Try: strip -g")
    return plain


def _zstd(filename: str) -> tuple[Any, type[Exception]]:
    """A decompressor and its error: Python's own (3.14), else that of the wheel. Errors: ModuleFormatError without both."""
    for package in ("compression.zstd", "zstandard"):
        try:
            zstd = importlib.import_module(package)
        except ImportError:
            continue
        if package == "zstandard":
            return _InPieces(zstd.ZstdDecompressor().decompressobj()), zstd.ZstdError
        return zstd.ZstdDecompressor(), zstd.ZstdError
    extra = "Python unpacks that since 3.14, older ones with a package"
    raise ModuleFormatError(
        f"{filename}: compressed with zstd; {extra}. Try: pip install zstandard (the extra zst), or zstd -d {filename}"
    )


class _InPieces:
    """The wheel's decompressor takes no limit of what comes out: so little goes in at a time."""

    def __init__(self, unpacker: Any) -> None:
        self.unpacker = unpacker

    @property
    def eof(self) -> bool:
        return bool(self.unpacker.eof)

    def decompress(self, data: bytes, max_length: int) -> bytes:
        plain = bytearray()
        for at in range(0, len(data), PIECE):
            plain += self.unpacker.decompress(data[at : at + PIECE])
            if self.eof or len(plain) >= max_length:
                break
        return bytes(plain)
