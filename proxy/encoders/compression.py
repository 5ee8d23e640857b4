"""Compressed answers, in pieces that a client can read as they come."""

import sys
import zlib
from typing import Protocol

from proxy.encoders.negotiation import Coding

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_LEVEL = 1  # a stream's time is worth more than its last bytes
_GZIP_FORMAT = 31


class Compressor(Protocol):
    """Compresses one body."""

    def compress(self, data: bytes) -> bytes:
        """Compress `data` so that all of it can be read from what has come so far."""

    def finish(self) -> bytes:
        """End the body; without this end a reader knows that something is missing."""


def open_compressor(coding: Coding | None) -> Compressor:
    """Make the compressor for one body."""
    if coding is None:
        return _Identity()
    return _Zstd() if coding == "zstd" else _Gzip()


class _Identity:
    def compress(self, data: bytes) -> bytes:
        return data

    def finish(self) -> bytes:
        return b""


class _Zstd:
    def __init__(self) -> None:
        self._frame = zstd.ZstdCompressor(level=_LEVEL)

    def compress(self, data: bytes) -> bytes:
        return self._frame.compress(data, zstd.ZstdCompressor.FLUSH_BLOCK)

    def finish(self) -> bytes:
        return self._frame.flush()


class _Gzip:
    def __init__(self) -> None:
        self._member = zlib.compressobj(_LEVEL, wbits=_GZIP_FORMAT)

    def compress(self, data: bytes) -> bytes:
        return self._member.compress(data) + self._member.flush(zlib.Z_SYNC_FLUSH)

    def finish(self) -> bytes:
        return self._member.flush()
