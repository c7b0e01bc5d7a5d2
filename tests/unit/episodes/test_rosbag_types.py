"""Definitions of ROS messages and their bytes, by hand."""

import struct
from typing import Any

import numpy as np
import pytest

from foreact.episodes.sources.protocol import SourceError
from foreact.episodes.sources.rosbag_cdr import CdrError, decode, head
from foreact.episodes.sources.rosbag_tracks import Definition, inflated
from foreact.episodes.sources.rosbag_types import DefinitionError, parse

LITTLE, BIG = b"\0\1\0\0", b"\0\0\0\0"


def decoded(text: str, body: bytes, start: bytes = LITTLE, encoding: str = "ros2msg") -> dict[str, Any]:
    return decode(start + body, "my_msgs/msg/A", parse("my_msgs/msg/A", encoding, text))


def test_numbers_are_aligned_to_their_size() -> None:
    text = "uint8 a  # a comment\nfloat64 b 1.5\nint16 c\nuint32 LIMIT=7\nint64 d\n\nbool e"
    body = struct.pack("<B7xdh6xq?", 200, 2.5, -3, -(2**62), True)
    assert decoded(text, body) == {"a": 200, "b": 2.5, "c": -3, "d": -(2**62), "e": True}
    big = struct.pack(">B7xdh6xq?", 200, 2.5, -3, -(2**62), True)
    assert decoded(text, big, BIG) == {"a": 200, "b": 2.5, "c": -3, "d": -(2**62), "e": True}


def test_arrays_texts_and_nested_messages() -> None:
    text = "string<=9 s\nB[] list\nfloat32[2] two\nuint16[<=3] few\nother_msgs/C c\n===\nMSG: my_msgs/B\nint8 x\n" + (
        "=" * 80 + "\nMSG: other_msgs/msg/C\n"
    )
    body = struct.pack("<I3sxIbb2x2fI2HB", 3, b"hi\0", 2, -1, 5, 1.5, 2.5, 2, 7, 65535, 0)
    found = decoded(text, body)
    assert found["s"] == "hi" and found["list"] == [{"x": -1}, {"x": 5}] and found["c"] == {}
    np.testing.assert_array_equal(found["two"], [1.5, 2.5])
    np.testing.assert_array_equal(found["few"], [7, 65535])


def test_definitions_in_idl() -> None:
    text = "module my_msgs { module msg { struct A { double x; sequence<long> n; string s; }; }; };"
    body = struct.pack("<dIiiI3s", 0.5, 2, -1, 4, 3, b"ab\0")
    found = decoded(text, body, encoding="ros2idl")
    assert (found["x"], found["n"].tolist(), found["s"]) == (0.5, [-1, 4], "ab")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("int8 a\n---\nint8 b", "a service"),
        ("float64[ broken", "the line"),
        ("Missing a", "my_msgs/msg/Missing is used but not defined"),
        ("A a", "holds itself"),
        ("wstring a", "wstring"),
        ("int8 a\n===\nint8 b", "without a name"),
        ("int8 a\n" * 200_000, "longer than"),
    ],
)
def test_odd_definitions_are_refused(text: str, says: str) -> None:
    with pytest.raises(DefinitionError, match=says):
        parse("my_msgs/msg/A", "ros2msg", text)


@pytest.mark.parametrize(
    ("text", "body", "says"),
    [
        ("float64 a", b"\0" * 7, "ends after"),
        ("uint8 a", b"\0" * 5, "bytes too many"),
        ("float64[] a", struct.pack("<I", 2**32 - 1), "does not fit"),
        ("float64[900000000] a", b"\0" * 64, "ends after"),
        ("string a", struct.pack("<I", 99) + b"abc", "does not fit"),
        ("string a", struct.pack("<I", 2) + b"\xff\xff", "not a my_msgs/msg/A"),
        ("B[] b\n===\nMSG: my_msgs/B\n", struct.pack("<I", 2**31), "does not fit"),
    ],
)
def test_payloads_of_another_form_are_refused(text: str, body: bytes, says: str) -> None:
    with pytest.raises(CdrError, match=says):
        decoded(text, body)
    with pytest.raises(CdrError, match="encapsulation"):
        decoded(text, body, b"\0\7\0\0")


def test_the_head_of_a_message_is_its_stamp_and_frame() -> None:
    body = struct.pack("<iII5sx", 3, 250_000_000, 5, b"base\0")
    assert head(LITTLE + body) == (3_250_000_000, b"base")
    assert head(BIG + struct.pack(">iII1s", 3, 5, 1, b"\0")) == (3_000_000_005, b"")
    for odd in (b"", LITTLE, LITTLE + struct.pack("<iII", 3, 10**9, 0), LITTLE + struct.pack("<iII", 3, 1, 99)):
        assert head(odd) == (0, b"")


def test_a_header_of_another_form_is_not_taken_for_the_standard_one() -> None:
    def stamped(fields: str) -> bool:
        text = f"std_msgs/Header header\n===\nMSG: std_msgs/Header\n{fields}"
        return Definition("my_msgs/msg/A", "cdr", "ros2msg", text.encode()).types().stamped("my_msgs/msg/A")

    assert stamped("builtin_interfaces/Time stamp\nstring frame_id")
    assert not stamped("uint32 seq\nbuiltin_interfaces/Time stamp\nstring frame_id")


@pytest.mark.parametrize("kind", ["zstd", "lz4"])
def test_bombs_do_not_go_off(kind: str) -> None:
    if kind == "zstd":
        packed = pytest.importorskip("zstandard").compress(bytes(70 << 20), 1)
    else:
        packed = pytest.importorskip("lz4.frame").compress(bytes(70 << 20), 0)
    with pytest.raises(SourceError, match="taken for damage"):
        inflated(packed, kind, 70_000 << 20)
    with pytest.raises(SourceError):
        inflated(packed, kind, 99)
    with pytest.raises(SourceError, match="'brotli' is not known"):
        inflated(packed, "brotli", None)
