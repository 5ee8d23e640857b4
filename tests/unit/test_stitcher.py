"""Which of the twins stitches rows."""

import subprocess
import sys

from proxy.encoders.stitcher import IMPLEMENTATION

WITHOUT_EXTENSION = """
import sys
sys.modules["proxy.encoders._rows"] = None
from proxy.encoders.stitcher import IMPLEMENTATION, Stitcher
print(IMPLEMENTATION, Stitcher.__module__)
"""


def test_the_compiled_one_serves_where_it_was_built():
    assert IMPLEMENTATION == "compiled"


def test_the_twin_serves_where_it_could_not_be_built():
    run = subprocess.run(
        [sys.executable, "-c", WITHOUT_EXTENSION], capture_output=True, text=True, check=True
    )
    assert run.stdout.split() == ["python", "proxy.encoders.rows"]
