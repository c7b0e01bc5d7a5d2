"""Which joint of a model each element of a recording drives: by rules that are data, or as the user says."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["RULES", "Fit", "Pair", "Rule", "fitted"]

NAMED = 6  # elements that a message lists


@dataclass(frozen=True)
class Rule:
    """How names of elements become names of joints.

    Attributes:
        name: Whose names they are.
        pattern: Of the whole name of an element; its group is what is kept.
        form: Of the joint's name; `{}` is what was kept.
        snake: `ShoulderPitch` becomes `shoulder_pitch`.
    """

    name: str
    pattern: str
    form: str
    snake: bool = False

    def joint(self, element: str) -> str | None:
        """The name of the joint; None if the rule does not know such elements."""
        found = re.fullmatch(self.pattern, element)
        if found is None:
            return None
        kept = found[1]
        return self.form.format(re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", kept).lower() if self.snake else kept)


# the first whose joint the robot has wins
RULES = (
    Rule("same name", r"(.+)", "{}"),
    Rule("Unitree SDK", r"k([A-Z]\w*)", "{}_joint", snake=True),  # kLeftShoulderPitch: left_shoulder_pitch_joint
    Rule("name with _joint", r"(.+)", "{}_joint"),
    Rule("LeRobot", r"(.+)\.pos", "{}"),  # shoulder_pan.pos: shoulder_pan
)


@dataclass(frozen=True)
class Pair:
    """An element and the joint it drives.

    Attributes:
        index: Of the element in the action.
        element: Its name.
        joint: Name of the joint.
        rule: By which it was found; `given` if the user said so.
    """

    index: int
    element: str
    joint: str
    rule: str


@dataclass(frozen=True)
class Fit:
    """How a recording fits a robot.

    Attributes:
        pairs: In the order of the elements.
        spare: Elements that have no joint.
        held: Joints that no element drives.
    """

    pairs: tuple[Pair, ...]
    spare: tuple[str, ...]
    held: tuple[str, ...]


def fitted(elements: Sequence[str], joints: Sequence[str], given: Sequence[str] = (), robot: str = "the robot") -> Fit:
    """Find the joint of each element.

    Args:
        elements: Names of the action's elements; their numbers where the recording names none.
        joints: Names of the joints that can be driven.
        given: `element:joint` each, as the user says; the others go by the rules.
        robot: Its name, for messages.

    Raises:
        ValueError: No element fits a joint, two drive the same, or `given` names what is not there.
    """
    said = dict(_said(each, elements, joints, robot) for each in given)
    pairs = []
    for index, element in enumerate(elements):
        if element in said:
            pairs.append(Pair(index, element, said[element], "given"))
            continue
        found = next(((rule.joint(element), rule) for rule in RULES if rule.joint(element) in joints), None)
        if found is not None and found[0] is not None and found[0] not in said.values():
            pairs.append(Pair(index, element, found[0], found[1].name))
    driven = [pair.joint for pair in pairs]
    if not pairs:
        raise ValueError(_nothing(elements, joints, robot))
    if twice := sorted({joint for joint in driven if driven.count(joint) > 1}):
        raise ValueError(f"two elements of the recording drive {', '.join(twice)}; say which by joints=[ELEMENT:JOINT]")
    named = {pair.element for pair in pairs}
    spare = tuple(element for element in elements if element not in named)
    return Fit(tuple(pairs), spare, tuple(joint for joint in joints if joint not in driven))


def _said(text: str, elements: Sequence[str], joints: Sequence[str], robot: str) -> tuple[str, str]:
    element, colon, joint = text.rpartition(":")
    if not colon or not element or not joint:
        raise ValueError(f"joints={text!r} is no pair; type joints=[ELEMENT:JOINT,...]")
    if element not in elements:
        raise ValueError(f"joints: the recording has no element {element!r}{_near(element, elements)}")
    if joint not in joints:
        raise ValueError(f"joints: {robot} has no joint {joint!r} that can be driven{_near(joint, joints)}")
    return element, joint


def _nothing(elements: Sequence[str], joints: Sequence[str], robot: str) -> str:
    if all(element.isdigit() for element in elements):
        return (
            f"the recording does not name its {len(elements)} elements: say what drives what,"
            f" joints=[0:{joints[0] if joints else 'JOINT'},...]. {robot} has {', '.join(joints)}"
        )
    tried = [
        f"{element}{_near(next(filter(None, (rule.joint(element) for rule in reversed(RULES))), element), joints)}"
        for element in elements[:NAMED]
    ]
    more = f" and {len(elements) - NAMED} more" if len(elements) > NAMED else ""
    return (
        f"none of the {len(elements)} elements fits {robot}: {', '.join(tried)}{more}. It has {', '.join(joints)}."
        " Choose another robot=, or say the pairs: joints=[ELEMENT:JOINT,...]"
    )


def _near(name: str, known: Sequence[str]) -> str:
    found = difflib.get_close_matches(name, known, n=2, cutoff=0.6)
    return f" (near: {', '.join(found)})" if found else ""
