"""Which heads are plain enough for the short way."""

import pytest

from proxy.api.request_head import RequestHead, read_head

LINES = {
    "Host": "127.0.0.1:7432",
    "Content-Type": "application/json",
    "Content-Length": "17",
}


def build(start="POST /v1/query HTTP/1.1", **changes):
    lines = {**LINES, **{name.replace("_", "-"): value for name, value in changes.items()}}
    text = [f"{name}: {value}" for name, value in lines.items() if value is not None]
    return "\r\n".join([start, *text]).encode("latin-1")


def test_a_plain_head_is_read():
    assert read_head(build()) == RequestHead(17, LINES["Host"], "", "")
    assert read_head(build(X_Request_Id="mine")) == RequestHead(17, LINES["Host"], "mine", "")
    assert read_head(build(Authorization="Bearer a b")).authorization == "Bearer a b"


@pytest.mark.parametrize(
    "headers",
    [
        {"User_Agent": "curl/8", "Accept": "*/*"},
        {"Connection": "keep-alive", "accept_encoding": "gzip, deflate"},
        {"Connection": "Keep-Alive", "Content_Type": "Application/JSON"},
        {"Accept": "application/json;q=0.9, */*;q=0.1"},
    ],
)
def test_what_changes_nothing_is_passed_over(headers):
    assert read_head(build(**headers)) == RequestHead(17, LINES["Host"], "", "")


@pytest.mark.parametrize(
    "head",
    [
        build(start="GET /v1/query HTTP/1.1"),
        build(start="POST /v1/query HTTP/1.0"),
        build(start="POST /v1/query?p=1 HTTP/1.1"),
        build(start="POST http://elsewhere/v1/query HTTP/1.1"),
        build(start="POST  /v1/query HTTP/1.1"),
        build(start="post /v1/query HTTP/1.1"),
        build(Host=None),
        build(Host=""),
        build(Content_Length=None),
        build(Content_Length="+17"),
        build(Content_Length="1_7"),
        build(Content_Length="\xb2"),
        build(Content_Length="17, 17"),
        build(Content_Length="9" * 10),
        build(Content_Type=None),
        build(Content_Type="application/sql"),
        build(Content_Type="application/json; charset=utf-8"),
        build(Transfer_Encoding="chunked"),
        build(Content_Encoding="gzip"),
        build(Expect="100-continue"),
        build(Connection="close"),
        build(Upgrade="websocket"),
        build(Origin="http://elsewhere"),
        build(Origin="http://evil.example"),
        build(X_Request_Id="a\x00b"),
        build(User_Agent="a\nContent-Length: 3"),
        build() + b"\r\nContent-Length: 18",
        build() + b"\r\ncontent-length: 17",
        build() + b"\r\n continued",
        build() + b"\r\nContent-Length : 17",
        build() + b"\r\nno colon",
        build() + b"\r\n",
        b"",
    ],
)
def test_anything_unusual_is_left_to_others(head):
    assert read_head(head) is None
