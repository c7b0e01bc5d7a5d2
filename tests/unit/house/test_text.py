"""What must not stand anywhere in the tree: unsafe loading, leftovers, addresses and paths of one machine."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest


def joined(*parts: str) -> re.Pattern[str]:
    """A pattern from pieces, so that this file does not contain what it forbids."""
    return re.compile("".join(parts))


def in_all(path: Path) -> bool:
    return True


def in_python(path: Path) -> bool:
    return path.suffix == ".py"


def in_source(path: Path) -> bool:
    return path.suffix == ".py" and path.parts[0] not in ("tests", "benchmarks")


RULES: dict[str, tuple[re.Pattern[str], Callable[[Path], bool]]] = {
    "address of a package registry": (
        joined("py", r"pi\.(org|io)|python", r"hosted\.org|npm", r"js\.org|conda\.ana", r"conda\.org"),
        in_all,
    ),
    "path of one machine": (joined(r"(?<![\w.}~])/(ho", "me|ro", "ot|wo", r"rk|Use", r"rs)/[\w.]"), in_all),
    "leftover": (joined(r"\b(TO", "DO|FIX", "ME|XX", "X|HA", r"CK)\b"), in_all),
    "unfinished function": (joined("raise NotImpl", "ementedError"), in_source),
    "unsafe loading": (
        joined(r"\bpick", r"le\.|import pick", r"le\b|allow_pick", "le=True|yaml", r"\.(unsafe_)?load\("),
        in_python,
    ),
    "evaluating text": (joined(r"(?<![\w.])(ev", "al|ex", r"ec)\("), in_python),
    "weights_only missing": (joined(r"torch\.lo", r"ad\((?!.*weights_only=True)"), in_python),
    "unexplained type: ignore": (joined(r"# type: ", r"ignore(?!\[)|# no", r"qa(?!: )"), in_python),
    "a test that never runs": (joined(r"pytest\.mark\.(sk", "ip|xf", r"ail)\b"), in_python),
}


def offences(texts: dict[Path, str], rule: str) -> list[str]:
    pattern, applies = RULES[rule]
    return [
        f"{path}:{number}: {line.strip()[:100]}"
        for path, text in texts.items()
        if applies(path)
        for number, line in enumerate(text.splitlines(), 1)
        if pattern.search(line)
    ]


@pytest.mark.parametrize("rule", RULES)
def test_the_tree_is_free_of(rule: str, text_files: dict[Path, str]) -> None:
    found = offences(text_files, rule)
    assert not found, f"{rule}:\n" + "\n".join(found)


@pytest.mark.parametrize(
    ("rule", "line"),
    [
        ("address of a package registry", "see https://py" + "pi.org/simple"),
        ("path of one machine", "open('/ho" + "me/someone/x')"),
        ("leftover", "# TO" + "DO: later"),
        ("unfinished function", "    raise NotImpl" + "ementedError"),
        ("unsafe loading", "x = pick" + "le.loads(b)"),
        ("evaluating text", "y = ev" + "al(text)"),
        ("weights_only missing", "torch.lo" + "ad(path)"),
        ("unexplained type: ignore", "x = 1  # type: " + "ignore"),
        ("a test that never runs", "@pytest.mark.sk" + "ip"),
    ],
)
def test_each_rule_sees_its_offence(rule: str, line: str) -> None:
    assert offences({Path("sim/x.py"): line}, rule)


@pytest.mark.parametrize("line", ["model.ev" + "al()", "re.compile(p)", "torch.lo" + "ad(p, weights_only=True)"])
def test_what_is_allowed_passes(line: str) -> None:
    assert not [rule for rule in RULES if offences({Path("sim/x.py"): line}, rule)]


def test_the_pins_are_exact_and_without_addresses(text_files: dict[Path, str]) -> None:
    lines = [line for line in text_files[Path("requirements.txt")].splitlines() if not line.startswith("#")]
    assert len(lines) > 100
    assert not [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.+!]+( ; [\w' =.<>()]+)?", line)]
