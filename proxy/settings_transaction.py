"""The section `transactions`: how long they may stay open across requests."""

from pydantic import Field

from proxy.settings_section import Section


class TransactionSettings(Section):
    """Transactions that stay open across requests; a request can only lower these."""

    idle_s: float = Field(
        10.0,
        gt=0,
        le=3600,
        description="Longest time without a request, after which a transaction is rolled back.",
    )
    timeout_s: float = Field(
        60.0,
        gt=0,
        le=86_400,
        description="Longest life of a transaction, after which it is rolled back.",
    )
