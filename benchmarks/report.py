"""Telling the person who waits."""

import sys


def say(sentence: str) -> None:
    """Print a line where results don't go."""
    print(sentence, file=sys.stderr, flush=True)
