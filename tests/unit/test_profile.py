"""How claims and observations become one pool mode."""

import pytest

from proxy.engine.probe import ModeProbe, is_shared
from proxy.engine.profile import Claim, settle_pool_mode
from proxy.errors import ProxyError

CONFIGURED = Claim("session", "configuration", "upstream.kind says so")
SAID = Claim("session", "console", "its console says so in SHOW POOLS")
SEEN_SESSION = ModeProbe("session", "two connections kept a server each")
SEEN_SHARED = ModeProbe("transaction", "connections share servers")


def test_one_server_per_client_is_no_sharing():
    assert not is_shared([("A", 1), ("A", 1), ("B", 2), ("A", 1), ("B", 2)])


def test_a_client_on_two_servers_is_sharing():
    assert is_shared([("A", 1), ("A", 2)])


def test_a_server_with_two_clients_is_sharing():
    assert is_shared([("A", 1), ("B", 1)])


def test_two_clients_that_swap_servers_are_sharing():
    assert is_shared([("A", 1), ("B", 2), ("A", 2), ("B", 1)])


def test_without_a_claim_the_probe_decides():
    found = settle_pool_mode(None, SEEN_SESSION)
    assert found == Claim("session", "probe", "two connections kept a server each")


@pytest.mark.parametrize("claim", [CONFIGURED, SAID])
def test_a_claim_of_session_mode_holds_where_no_sharing_is_seen(claim):
    assert settle_pool_mode(claim, SEEN_SESSION) == claim


def test_a_configured_session_mode_that_is_seen_to_share_is_refused_with_the_remedy():
    with pytest.raises(ProxyError, match=r"connections share servers; set upstream.kind = auto"):
        settle_pool_mode(CONFIGURED, SEEN_SHARED)


def test_what_is_seen_to_share_outdoes_the_console():
    found = settle_pool_mode(SAID, SEEN_SHARED)
    assert found.pool_mode == "transaction"
    assert found.evidence == "probe"
    assert found.reason.endswith("although its console says so in SHOW POOLS")
