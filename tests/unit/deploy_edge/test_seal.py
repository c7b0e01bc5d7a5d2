import pytest

from foreact.deploy_edge.runtime.seal import BLANK, SEAL_KEY, SealError, close_seal, verify_seal

CONTENT = b"weights before" + SEAL_KEY.encode() + b"\x12\x40" + BLANK.encode() + b"weights after"


def test_what_was_sealed_verifies() -> None:
    sealed = close_seal(CONTENT)
    assert len(sealed) == len(CONTENT) and BLANK.encode() not in sealed
    verify_seal(sealed, "model")


@pytest.mark.parametrize("place", range(len(CONTENT)))
def test_any_changed_byte_is_seen(place: int) -> None:
    sealed = bytearray(close_seal(CONTENT))
    sealed[place] ^= 1
    with pytest.raises(SealError):
        verify_seal(bytes(sealed), "model")


@pytest.mark.parametrize("length", [0, 10, len(CONTENT) - 1])
def test_truncation_is_seen(length: int) -> None:
    with pytest.raises(SealError, match="model is"):
        verify_seal(close_seal(CONTENT)[:length], "model")


def test_added_bytes_are_seen() -> None:
    with pytest.raises(SealError, match="truncated or altered"):
        verify_seal(close_seal(CONTENT) + b"x", "model")


def test_a_file_without_a_digest_is_no_policy() -> None:
    with pytest.raises(SealError, match="not an exported policy.*foreact export"):
        verify_seal(b"some other model", "other.onnx")
