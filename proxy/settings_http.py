"""The sections `http` and `ops`: the two listeners."""

from pydantic import Field

from proxy.settings_form import Port, SocketPath
from proxy.settings_section import Section


class HttpSettings(Section):
    """The listener of the query API."""

    host: str = Field("127.0.0.1", min_length=1, description="Address of the query API.")
    port: Port = Field(7432, description="Port of the query API; 0 takes a free one.")
    unix_socket: SocketPath | None = Field(
        None,
        description="Unix socket that serves the query API instead of host and port.",
        examples=["/run/pgsidecar/http.sock"],
    )
    allowed_hosts: tuple[str, ...] = Field(
        (),
        description="Names under which the service is reached, beside localhost and every IP "
        "address; another Host is refused, since a stranger's page could have its name lead here. "
        "* takes every name.",
        examples=[["pgsidecar.default.svc"]],
    )
    cors_origins: tuple[str, ...] = Field(
        (),
        description="Origins whose pages may send requests and read the answers.",
        examples=[["https://app.example.com"]],
    )
    express: bool = Field(True, description="Answer plain queries past the HTTP framework.")
    connections: int = Field(
        2000,
        ge=1,
        le=100_000,
        description="Connections of clients that may be open; one more is told 503 and closed.",
    )
    body_timeout_s: float = Field(
        10.0, gt=0, le=600, description="Longest time that a client may take to send its body."
    )
    drain_timeout_s: float = Field(
        20.0,
        ge=0,
        le=3600,
        description="Time that running requests get to finish when the service stops.",
    )


class OpsSettings(Section):
    """The listener for probes and statistics."""

    host: str = Field("127.0.0.1", min_length=1, description="Address of probes and statistics.")
    port: Port = Field(7433, description="Port of probes and statistics; 0 takes a free one.")
