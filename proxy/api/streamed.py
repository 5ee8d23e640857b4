"""A response whose body comes in pieces, and can be broken off."""

import asyncio

from aiohttp import web

from proxy.encoders.compression import open_compressor
from proxy.encoders.negotiation import choose_coding
from proxy.errors import RequestTimeout

PART_BYTES = 64 * 1024


class StreamedResponse(web.StreamResponse):
    """Sends pieces under a stall limit, compressed as the client asks for."""

    def __init__(self, request: web.Request, content_type: str, stall_s: float) -> None:
        coding = choose_coding(request.headers.get("Accept-Encoding"))
        headers = {
            "Content-Type": content_type,
            "Cache-Control": "no-store",
            "Vary": "Accept, Accept-Encoding",
            **({"Content-Encoding": coding} if coding else {}),
        }
        super().__init__(headers=headers)
        self._transport = request.transport
        self._compressor = open_compressor(coding)
        self._stall_s = stall_s
        self._is_broken = False
        self.sent_bytes = 0

    async def send(self, piece: bytes) -> None:
        """Send one piece; returns when the client's socket has room for more.

        Raises:
            RequestTimeout: the client has taken nothing for `stall_s`; the connection is cut.
            ConnectionError: the client has gone.
        """
        if piece:
            await self._send(self._compressor.compress(piece))

    async def finish(self) -> None:
        """End the body: what has been sent is everything."""
        await self._send(self._compressor.finish())

    async def end_with(self, last_words: bytes) -> None:
        """Say why it ends where the format can; else, and where nobody listens, break it off."""
        try:
            if last_words:
                await self.send(last_words)
                await self.finish()
                return
        except (RequestTimeout, ConnectionError):
            pass
        self.break_off()

    def break_off(self) -> None:
        """Close the connection behind what has been sent, so that nobody takes it for complete."""
        self._is_broken = True
        self.force_close()

    async def write_eof(self, data: bytes = b"") -> None:
        """End the chunked body, unless it was broken off: then the end must be missing."""
        if not self._is_broken:
            await super().write_eof(data)

    async def _send(self, data: bytes) -> None:
        """Send in small parts, so that a reader who takes little isn't one who takes nothing."""
        for start in range(0, len(data), PART_BYTES):
            part = data[start : start + PART_BYTES]
            try:
                async with asyncio.timeout(self._stall_s):
                    await self.write(part)
            except TimeoutError as cause:
                if self._transport is not None:
                    self._transport.abort()
                detail = f"the reader took nothing for {self._stall_s} s (limits.stream_stall_s)"
                raise RequestTimeout(detail, phase="stream") from cause
            self.sent_bytes += len(part)
