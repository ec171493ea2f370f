"""Modules as distributions ship them, compressed; the kernel (or kmod) unpacks them before it looks at them."""

from __future__ import annotations

import lzma
import zlib
from typing import Any

from ..errors import ModuleFormatError

MAX_BYTES = 64 << 20  # unpacked, and of memory; the largest module of a distribution has about 20 MB


def unpack(data: bytes, filename: str) -> bytes:
    """The bytes of a .ko, .ko.xz or .ko.gz, at most MAX_BYTES. Errors: ModuleFormatError."""
    unpacker: Any
    try:
        if data[:6] == b"\xfd7zXZ\0":
            unpacker = lzma.LZMADecompressor(memlimit=128 << 20)
        elif data[:2] == b"\x1f\x8b":
            unpacker = zlib.decompressobj(31)
        elif data[:4] == b"\x28\xb5\x2f\xfd":
            hint = f"compressed with zstd, which klpteach does not unpack. Try: zstd -d {filename}"
            raise ModuleFormatError(f"{filename}: {hint}")
        else:
            return data
        plain: bytes = unpacker.decompress(data, MAX_BYTES + 1)
        if len(plain) <= MAX_BYTES and not unpacker.eof:
            raise EOFError("it ends too early")
    except (lzma.LZMAError, zlib.error, EOFError, MemoryError) as error:
        damaged = f"its compression is damaged ({error}). The kernel would refuse with EINVAL."
        raise ModuleFormatError(f"{filename}: {damaged} Is the download complete?") from None
    if len(plain) > MAX_BYTES:
        raise ModuleFormatError(f"{filename}: unpacks to more than {MAX_BYTES >> 20} MiB. Try: strip -g")
    return plain
