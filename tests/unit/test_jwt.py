"""JSON Web Tokens: which are taken, and what they say."""

import base64
import json
import time

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from proxy.auth.identity import Identity
from proxy.auth.jwt import LEEWAY_S, REMEMBERED, JwtVerifier
from proxy.errors import ProxyError, Unauthorized
from proxy.settings_auth import AuthSettings
from tests.fixtures.issuer import AUDIENCE, ISSUER, KEYS, STRANGER, describe_key, issue, write_keys

SECRET = "a secret of more than thirty-two bytes"


class Clock:
    """A clock that tests turn."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


def build(path, clock=None, **members) -> JwtVerifier:
    settings = AuthSettings(
        jwt_keys_file=path, **{"jwt_audience": AUDIENCE, "jwt_issuer": ISSUER, **members}
    )
    return JwtVerifier(settings, lambda *_: None, clock or Clock())


@pytest.fixture
async def verifier(tmp_path):
    built = build(write_keys(tmp_path / "keys.json"), jwt_role_claim="role")
    async with built.watch(60):
        yield built


def part(document) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).rstrip(b"=").decode()


def forge(header, claims, signature="") -> str:
    """A token that nobody has signed."""
    return f"{part(header)}.{part(claims)}.{signature}"


CLAIMS = {"sub": "acme", "aud": AUDIENCE, "iss": ISSUER, "exp": time.time() + 600}
PUBLIC = KEYS["RS256"].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize("algorithm", KEYS)
async def test_a_token_by_a_known_key_is_its_subjects(verifier, algorithm):
    identity = verifier.verify(issue(algorithm))
    assert (identity.client, identity.scopes, identity.role) == ("acme", None, None)
    assert json.loads(identity.claims)["aud"] == AUDIENCE


@pytest.mark.parametrize("scopes", ["query stream", ["query", "stream"]])
async def test_a_token_says_scopes_and_role(verifier, scopes):
    identity = verifier.verify(issue(scope=scopes, role="clerk", tenant="t1"))
    assert identity.scopes == {"query", "stream"}
    assert identity.role == "clerk"
    assert json.loads(identity.claims)["tenant"] == "t1"


@pytest.mark.parametrize(
    "token",
    [
        issue(aud="another"),
        issue(aud=None),
        issue(iss="https://evil.example"),
        issue(iss=None),
        issue(exp=None),
        issue(exp=int(time.time()) - 31),
        issue(nbf=int(time.time()) + 120),
        issue(sub=None),
        issue(sub=""),
        issue(sub="x" * 129),
        issue(scope=[1]),
        issue(scope={"query": True}) and issue(scope=7),
        issue(role=["clerk"]),
        issue("RS256", key=STRANGER),
        issue("RS256", headers={"kid": "ES256"}),
        issue(headers={"kid": "unknown"}),
        issue(headers={}),
        issue(headers={"kid": "ES256", "crit": ["exp"]}),
        forge({"alg": "none", "kid": "ES256"}, CLAIMS),
        forge({"alg": "None", "typ": "JWT"}, CLAIMS),
        forge({"alg": "ES256", "kid": "ES256"}, CLAIMS),
        forge({"alg": "ES256", "kid": "ES256"}, CLAIMS, "AAAA"),
        forge({"alg": "ES256", "kid": ["ES256"]}, CLAIMS),
        forge({"alg": "RS256", "jku": "https://evil.example", "kid": "RS256"}, CLAIMS, "AAAA"),
        f"{base64.urlsafe_b64encode(b'[' * 6000).decode()}.b.c",
        issue(exp=10**400),
        "a.b.c",
        "a.b",
        "..",
        "\udcff.b.c",
    ],
)
async def test_any_other_token_is_refused(verifier, token):
    with pytest.raises(Unauthorized) as caught:
        verifier.verify(token)
    assert token not in caught.value.detail
    assert "evil" not in caught.value.detail


async def test_a_public_key_is_no_secret(verifier):
    """Algorithm confusion: HS256, signed with the text of the public key."""
    header = part({"alg": "HS256", "kid": "RS256"})
    signed = f"{header}.{part(CLAIMS)}"
    algorithm = jwt.get_algorithm_by_name("HS256")
    signature = base64.urlsafe_b64encode(
        __import__("hmac").digest(PUBLIC, signed.encode(), "sha256")
    ).rstrip(b"=")
    assert algorithm is not None
    with pytest.raises(Unauthorized):
        verifier.verify(f"{signed}.{signature.decode()}")


async def test_an_altered_claim_breaks_the_signature(verifier):
    header, _, signature = issue().split(".")
    with pytest.raises(Unauthorized):
        verifier.verify(f"{header}.{part({**CLAIMS, 'sub': 'globex'})}.{signature}")


async def test_a_verified_token_expires(tmp_path):
    clock = Clock()
    verifier = build(write_keys(tmp_path / "keys.json"), clock)
    async with verifier.watch(60):
        token = issue(exp=int(clock.now) + 60)
        assert verifier.verify(token).client == "acme"
        clock.now += 59 + LEEWAY_S
        assert verifier.verify(token).client == "acme"
        clock.now += 2
        with pytest.raises(Unauthorized, match="expired"):
            verifier.verify(token)


async def test_a_key_without_an_id_serves_alone(tmp_path):
    path = tmp_path / "keys.json"
    key = describe_key("ES256")
    del key["kid"]
    path.write_text(json.dumps({"keys": [key]}))
    verifier = build(path)
    async with verifier.watch(60):
        assert verifier.verify(issue(headers={})).client == "acme"


async def test_a_key_that_is_gone_takes_its_tokens_with_it(tmp_path):
    path = write_keys(tmp_path / "keys.json")
    verifier = build(path)
    async with verifier.watch(60):
        token = issue("RS256")
        assert verifier.verify(token) != Identity()
        write_keys(path, "ES256")
        await verifier._reload(path)
        with pytest.raises(Unauthorized, match="a key that isn't known"):
            verifier.verify(token)
        path.write_text("{")
        await verifier._reload(path)
        assert verifier.verify(issue()).client == "acme"  # a spoilt file changes nothing


async def test_so_many_tokens_are_remembered(verifier):
    token = issue(jti="first")
    verifier.verify(token)
    for _ in range(3):
        verifier.verify(token)
    assert len(verifier._known) == 1
    for number in range(REMEMBERED):
        verifier._known[bytes([number % 256, number // 256])] = verifier._known.popitem()[1]
    assert len(verifier._known) <= REMEMBERED


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "it is no JSON"),
        ("[]", "it holds no usable key set"),
        ('{"keys": []}', "it holds no usable key set"),
        ('{"keys": [{"kty": "oct", "k": "c2VjcmV0", "alg": "HS256"}]}', "it has a key for HS256"),
        (json.dumps({"keys": [describe_key("ES256")] * 2}), "two keys have the same kid"),
        (
            json.dumps({"keys": [{**describe_key("ES256"), "use": "enc"}]}),
            "or one is not for signatures",
        ),
    ],
)
async def test_keys_that_can_not_be_used_stop_the_start(tmp_path, text, sentence):
    path = tmp_path / "keys.json"
    path.write_text(text)
    with pytest.raises(ProxyError, match=f"auth.jwt_keys_file: .*{sentence}"):
        async with build(path).watch(60):
            pass


async def test_a_shared_secret_serves_where_its_algorithm_is_listed(tmp_path):
    path = tmp_path / "keys.json"
    secret = base64.urlsafe_b64encode(SECRET.encode()).decode()
    key = {"kty": "oct", "k": secret, "alg": "HS256", "kid": "shared"}
    path.write_text(json.dumps({"keys": [key]}))
    verifier = build(path, jwt_algorithms=["HS256"])
    async with verifier.watch(60):
        token = issue("HS256", headers={"kid": "shared"}, key=SECRET)
        assert verifier.verify(token).client == "acme"
