"""What tells who was recorded, or where: streams by kind, name and elements; keys of metadata and of events."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from foreact.episodes.outcome import JSON
from foreact.episodes.sources.protocol import Stream

__all__ = ["PLACE", "RADIO", "SERIAL", "SOUND", "stream_reveals", "without_revealing", "without_revealing_text"]

SOUND = ("audio", "mic", "mics", "microphone", "microphones", "sound", "speech", "voice", "transcript", "transcription")
"""Words in a stream's name: sound, and what was said written down."""
PLACE = (
    "gps", "gnss", "location", "geolocation", "navsat", "navsatfix", "nmea", "latitude", "longitude", "latlon", "lat",
    "lon", "lng", "utm", "ecef", "gpsf", "gpsp", "gpsu", "gps5", "gps9",
)  # fmt: skip
"""Words in a name or key: where on Earth."""
RADIO = ("bluetooth", "ble", "wifi", "wlan", "beacon", "beacons", "ssid", "bssid", "mac", "cellular", "imei")
"""Words in a name or key: radio senders, whose addresses are listed with their place in public tables."""
SERIAL = ("serial", "serialnumber", "device_id", "deviceid", "imei", "camera_serial_number")
"""Words in a key of metadata: which device, and by that whose."""

WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
DIGITS_END = re.compile(r"\d+$")


def stream_reveals(stream: Stream) -> str:
    """Why a stream may not stay, in words; empty if it may.

    Args:
        stream: Any.
    """
    if stream.kind == "audio":
        return "sound"
    if stream.kind == "bytes":
        return "a payload that is not understood cannot be looked through"
    for words, why in ((SOUND, "sound or what was said"), (PLACE, "tells the place"), (RADIO, "radio senders")):
        if _has(stream.name, words):
            return why
        if any(_has(element, words) for element in stream.elements):
            return why
    return ""


def without_revealing(content: Mapping[str, JSON], where: str = "") -> tuple[dict[str, JSON], list[str]]:
    """Metadata without keys that tell place, radio senders or serial numbers, however deep they lie.

    A text that is JSON itself is looked through as well. A serial number becomes an empty text, since calibration files
    are not read without the key; the others go with their key.

    Args:
        content: What a recording says of itself.
        where: Path of the mapping, for the list.

    Returns:
        What is left, and the paths of what is not.
    """
    kept: dict[str, JSON] = {}
    gone: list[str] = []
    for key, value in content.items():
        path = f"{where}.{key}" if where else key
        if _has(key, PLACE) or _has(key, RADIO):
            gone.append(path)
        elif _is_serial(key) and not isinstance(value, Mapping):
            if value not in ("", None):
                gone.append(path)
            kept[key] = "" if isinstance(value, str) else None
        else:
            kept[key], inner = _cleaned(value, path)
            gone += inner
    return kept, gone


def without_revealing_text(text: str) -> str:
    """An event's JSON without what tells place, radio senders or serial numbers; other text stays as it is.

    Args:
        text: An event.
    """
    return str(_cleaned(text, "")[0])


def _cleaned(value: JSON, path: str) -> tuple[JSON, list[str]]:
    if isinstance(value, str):
        return _cleaned_text(value, path)
    if isinstance(value, Mapping):
        return without_revealing(value, path)
    if isinstance(value, (list, tuple)):
        pairs = [_cleaned(each, path) for each in value]
        return [kept for kept, _ in pairs], list(dict.fromkeys(each for _, gone in pairs for each in gone))
    return value, []


def _cleaned_text(text: str, path: str) -> tuple[str, list[str]]:
    if not text.lstrip().startswith(("{", "[")):
        return text, []
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return text, []
    kept, gone = _cleaned(found, path)
    return (json.dumps(kept), gone) if gone else (text, [])


def _words(name: str) -> set[str]:
    """Words of a name in dotted, snake or camel case: `gps.status`, `GPSLatitude`, `mac_address`, `location-eng`."""
    plain = {each.lower() for each in re.split(r"[^0-9A-Za-z]+", name) if each}
    split = {each.lower() for each in WORDS.findall(name)}
    return plain | split | {DIGITS_END.sub("", each) for each in plain}


def _has(name: str, words: tuple[str, ...]) -> bool:
    return not _words(name).isdisjoint(words)


def _is_serial(key: str) -> bool:
    return _has(key, SERIAL) or key.lower() in SERIAL
