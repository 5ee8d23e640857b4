"""The compiled row encoder where it could be built, else its twin in Python."""

from typing import Literal

Implementation = Literal["compiled", "python"]

try:
    from proxy.encoders._rows import Stitcher, scan_rows
except ImportError:  # no compiler when it was installed
    from proxy.encoders.rows import Stitcher, scan_rows  # type: ignore[assignment]  # its twin

    IMPLEMENTATION: Implementation = "python"
else:
    IMPLEMENTATION = "compiled"

__all__ = ["IMPLEMENTATION", "Implementation", "Stitcher", "scan_rows"]
