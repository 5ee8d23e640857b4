from collections.abc import Sequence

from proxy.encoders.kind import Cell

def scan_rows(data: bytes, start: int, max_rows: int, max_bytes: int) -> tuple[int, int, int]: ...

class Stitcher:
    def __init__(
        self,
        prefixes: Sequence[bytes],
        cells: Sequence[Cell],
        closing: bytes,
        null: bytes,
        is_csv: bool,
    ) -> None: ...
    def stitch(self, messages: bytes) -> bytes: ...
