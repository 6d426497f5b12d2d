"""Our secrets are taken out of what arrives in pieces, wherever the pieces part."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tollkeeper.gateway.secrecy import Hiding

_WORDS = st.sampled_from([b"aab", b"ab", b"a", b"b", b"aabaab", b"\x00", b"x" * 40])


@settings(deadline=None)
@given(words=st.lists(_WORDS, max_size=30), cuts=st.lists(st.integers(1, 7), min_size=1, max_size=40))
def test_pieces_come_out_as_the_whole_would(words: list[bytes], cuts: list[int]) -> None:
    whole, secret = b"".join(words), b"aabaab"
    hiding, found, rest = Hiding((secret,)), b"", whole
    for cut in cuts:
        found += hiding.feed(rest[:cut])
        rest = rest[cut:]
    found += hiding.feed(rest) + hiding.end()

    assert found == whole.replace(secret, b"***")


def test_what_can_be_no_secret_is_not_kept_back() -> None:
    hiding = Hiding((b"secret-of-one", b"another-secret"))

    assert hiding.feed(b"data: hello\n\n") == b"data: hello\n\n"
    assert hiding.feed(b"data: secret") == b"data: "
    assert hiding.feed(b"s are kept") == b"secrets are kept"
    assert hiding.end() == b""
