"""What a request wants its stream to look like, from its query string and its Accept header."""

from collections.abc import Mapping
from importlib.util import find_spec
from typing import get_args

from proxy.encoders.csv_rows import is_null_text
from proxy.encoders.negotiation import FORMATS, FormatName, choose_format
from proxy.encoders.row_encoder import RowShape
from proxy.encoders.stream_format import StreamWish
from proxy.errors import InvalidRequest, NotAcceptable
from proxy.query.params import did_you_mean

STREAM_OPTIONS = ("format", "envelope", "null", "header")
_HAS_ARROW = find_spec("nanoarrow") is not None
_BELONGS = {"envelope": "ndjson", "null": "csv", "header": "csv"}
_SWITCH = {"true": True, "false": False}


def to_wish(options: Mapping[str, str], accept: str | None, shape: RowShape) -> StreamWish:
    """Check the options of a stream.

    Raises:
        InvalidRequest: an option has another value, or belongs to another format.
        NotAcceptable: we have none of the formats that `accept` lists.
    """
    name = _read_format(options.get("format"), accept)
    for option, owner in _BELONGS.items():
        if option in options and name != owner:
            raise InvalidRequest(f"{option} is for format={owner}, not for {name}")
    if options.get("envelope", "bare") != "bare":
        raise InvalidRequest("envelope must be bare, or left out")
    header = options.get("header", "true")
    if header not in _SWITCH:
        raise InvalidRequest("header must be true or false")
    null = options.get("null", "")
    if not is_null_text(null):
        raise InvalidRequest("null must be printable, without quotes and commas")
    return StreamWish(name, shape, "envelope" in options, null.encode(), _SWITCH[header])


def _read_format(wanted: str | None, accept: str | None) -> FormatName:
    names: tuple[FormatName, ...] = get_args(FormatName)
    if wanted is not None and wanted not in names:
        raise InvalidRequest(
            f"format must be one of {', '.join(names)}{did_you_mean(wanted, names)}"
        )
    name = next((name for name in names if name == wanted), None) or choose_format(accept)
    if name is None:
        raise NotAcceptable(f"Accept has none of {', '.join(FORMATS)}")
    if name == "arrow" and not _HAS_ARROW:
        raise NotAcceptable("Arrow needs the service's extra: pip install 'pgsidecar[arrow]'")
    return name
