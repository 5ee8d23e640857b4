"""The directory of tokens: what is read, and whom it lets in."""

import os
from hashlib import sha256

import pytest

from proxy.auth.authenticator import Authenticator
from proxy.auth.identity import Identity
from proxy.auth.tokens import MAX_FILE_BYTES, TokenFolder, read_tokens
from proxy.errors import ProxyError, Unauthorized
from proxy.settings_auth import AuthSettings

TOKEN = "0123456789abcdef"
OTHER = "fedcba9876543210"


@pytest.fixture
async def folder(tmp_path):
    (tmp_path / "reports").write_text(f"# since May\n{TOKEN}\n\n  {OTHER}==  \r\n")
    (tmp_path / "..data").mkdir()
    authenticator = Authenticator(AuthSettings(tokens_dir=tmp_path), lambda *_: None)
    async with authenticator.watch():
        yield authenticator


def find_problem(path, content, name="client"):
    (path / name).write_bytes(content)
    digests, problems = read_tokens(path, {})
    assert digests == {name: ()}
    return problems[name].removeprefix(f"{path / name} ")


@pytest.mark.parametrize("token", [TOKEN, OTHER + "=="])
async def test_each_line_of_a_file_is_a_token_of_its_client(folder, token):
    assert folder.identify(f"Bearer {token}").client == "reports"
    assert folder.identify(f"bearer  {token}").client == "reports"


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        TOKEN,
        f"Basic {TOKEN}",
        f"Bearer {TOKEN.upper()}",
        f"Bearer {TOKEN[:-1]}",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN}, Bearer {TOKEN}",
        f"Bearer {TOKEN} {TOKEN}",
        "Bearer # since May",
        "Bearer \udcff",
    ],
)
async def test_anything_else_is_nobodys(folder, header):
    with pytest.raises(Unauthorized) as caught:
        folder.identify(header)
    assert TOKEN not in caught.value.detail


async def test_without_a_directory_anybody_may_ask():
    authenticator = Authenticator(AuthSettings(), lambda *_: None)
    async with authenticator.watch():
        assert authenticator.identify("") == Identity()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "holds no token"),
        (b"# nothing\n\n", "holds no token"),
        (b"too-short", "has a line that is no token"),
        (f"{TOKEN} {TOKEN}".encode(), "has a line that is no token"),
        (b"\xff" * 20, "has a line that is no token"),
        (b"a" * (MAX_FILE_BYTES + 1), f"has more than {MAX_FILE_BYTES} bytes"),
    ],
)
def test_a_file_that_can_not_be_used_is_a_problem(tmp_path, content, sentence):
    assert find_problem(tmp_path, content).startswith(sentence)


@pytest.mark.parametrize("name", ["a b", "ä", "x" * 65])
def test_a_file_is_named_like_a_client(tmp_path, name):
    assert find_problem(tmp_path, TOKEN.encode(), name).startswith("is no client's name")


def test_what_is_no_file_is_a_problem_and_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a")
    assert read_tokens(tmp_path, {})[1] == {"a": f"{tmp_path / 'a'} is no file"}


def test_two_clients_have_no_token_in_common(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).write_text(TOKEN)
    digests, problems = read_tokens(tmp_path, {})
    assert problems == {"b": f"{tmp_path / 'b'} has a token of a; give each client its own"}
    assert digests == {"a": [sha256(TOKEN.encode()).digest()], "b": ()}


def test_a_spoilt_file_keeps_its_tokens_and_a_removed_one_loses_them(tmp_path):
    for name, token in {"a": TOKEN, "b": OTHER}.items():
        (tmp_path / name).write_text(token)
    before, _ = read_tokens(tmp_path, {})
    (tmp_path / "a").write_text("")
    (tmp_path / "b").unlink()
    assert read_tokens(tmp_path, before)[0] == {"a": before["a"]}


async def test_a_start_names_every_mistake_and_no_token(tmp_path):
    (tmp_path / "a").write_text("short")
    (tmp_path / "b").write_text("")
    with pytest.raises(ProxyError, match="is no token") as caught:
        async with TokenFolder(tmp_path, lambda *_: None).watch(60):
            pass
    assert caught.value.detail.count("auth.tokens_dir: ") == 2
    assert "short" not in caught.value.detail.replace("is no token", "")


async def test_a_directory_that_is_not_there_is_a_mistake(tmp_path):
    with pytest.raises(ProxyError, match="can't be read: No such file"):
        async with TokenFolder(tmp_path / "none", lambda *_: None).watch(60):
            pass
