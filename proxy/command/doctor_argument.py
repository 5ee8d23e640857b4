"""The arguments of `pgsidecar doctor` beside the settings."""

from argparse import ArgumentParser, ArgumentTypeError

MAX_REPLICAS = 100_000


def add_doctor_arguments(parser: ArgumentParser) -> None:
    """Give the command its arguments."""
    parser.usage = (
        f"{parser.prog} [--json] [--replicas N] [--config FILE] [--SECTION.NAME VALUE ...]"
    )
    parser.add_argument("--json", action="store_true", help="Print one JSON object.")
    parser.add_argument(
        "--replicas",
        type=_read_replicas,
        default=1,
        metavar="N",
        help="Services like this one that share the upstream (default 1).",
    )


def _read_replicas(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MAX_REPLICAS:
        raise ArgumentTypeError(f"is a number from 1 to {MAX_REPLICAS}")
    return int(text)
