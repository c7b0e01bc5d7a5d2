"""A digest inside a model file that shows damage before anything parses the file.

The file's metadata holds a property whose value is the sha256 of the whole file with that value set to zeros. It finds
truncation and altered bytes; it is no signature, because whoever alters the file can also compute a new digest.
"""

import hashlib

__all__ = ["BLANK", "SEAL_KEY", "SealError", "close_seal", "verify_seal"]

SEAL_KEY = "foreact.sha256"
BLANK = "0" * 64
# How protobuf writes the property: its key, then field 2 with a length of 64.
_MARK = SEAL_KEY.encode() + b"\x12\x40"


class SealError(ValueError):
    """A model file has no digest, or its content does not match it."""


def close_seal(content: bytes) -> bytes:
    """Put the digest in the place that the blank one holds.

    Args:
        content: a serialised model with the metadata property `SEAL_KEY` = `BLANK`.

    Raises:
        SealError: the property is not there exactly once.
    """
    start = _place(content, "the model")
    return content[:start] + _digest(content, start) + content[start + 64 :]


def verify_seal(content: bytes, where: str) -> None:
    """Refuse content that is not what `close_seal` returned.

    Args:
        content: bytes of a model file.
        where: the file, for the message.

    Raises:
        SealError: there is no digest, or a byte was changed, added or lost.
    """
    start = _place(content, where)
    if content[start : start + 64] != _digest(content, start):
        raise SealError(f"{where} is truncated or altered: its content does not match its digest; export it again")


def _place(content: bytes, where: str) -> int:
    count = content.count(_MARK)
    if count != 1:
        raise SealError(
            f"{where} is not an exported policy, or is truncated: it has {count} digests; use foreact export"
        )
    return content.index(_MARK) + len(_MARK)


def _digest(content: bytes, start: int) -> bytes:
    whole = memoryview(content)  # parts of a large model are not copied
    digest = hashlib.sha256(whole[:start])
    digest.update(BLANK.encode())
    digest.update(whole[start + 64 :])
    return digest.hexdigest().encode()
