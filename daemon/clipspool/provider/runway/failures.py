"""Explains the provider's failure codes and messages in an editor's words."""

from __future__ import annotations

import re

from clipspool.jobs.faults import Fault, FaultOf
from clipspool.system.http.reply import Reply

UNEXPLAINED = "FAILURE.UNEXPLAINED"

_CODE = re.compile(r"\b(?:SAFETY|INPUT_PREPROCESSING|ASSET|INTERNAL|THIRD_PARTY)(?:\.[A-Z0-9_]+)*\b")
_CODE_WHOLE = re.compile(r"[A-Za-z0-9_]+(?:[.-][A-Za-z0-9_]+)*")
_CODE_LENGTH_MAX = 100

_SATURATED = "饱和"

_NEVER_AGAIN = (
    "Do not send it again unchanged: Runway charges moderated tasks too, and repeats suspend the account."
)
_MODERATED = (
    "Change the prompt, or use another clip: nudity, violence, real people or protected works are usual "
    f"reasons. {_NEVER_AGAIN}"
)
_MODERATED_TEXT = f"Change the prompt: a word in it was moderated. {_NEVER_AGAIN}"
_MODERATED_IMAGE = f"Use another clip or reference image: what it shows was moderated. {_NEVER_AGAIN}"
_LATER = "Nothing is wrong with the clip; it may succeed later."
_UNEXPLAINED = (
    "The provider gave no reason; most often it is the content filter. Change the prompt or the clip."
)
_BY_PREFIX: tuple[tuple[str, FaultOf, str], ...] = (
    # The first prefix that fits counts, so the longer one is first [PROVIDER 2.9].
    ("SAFETY.INPUT.TEXT", FaultOf.CLIP, _MODERATED_TEXT),
    ("SAFETY.INPUT.IMAGE", FaultOf.CLIP, _MODERATED_IMAGE),
    ("SAFETY.INPUT.VIDEO", FaultOf.CLIP, _MODERATED_IMAGE),
    ("INPUT_PREPROCESSING.SAFETY.TEXT", FaultOf.CLIP, _MODERATED_TEXT),
    ("INPUT_PREPROCESSING.INTERNAL", FaultOf.MOMENT, _LATER),
    ("INPUT_PREPROCESSING", FaultOf.CLIP, "Export the clip again as MP4 with H.264, or shorten it."),
    (
        "ASSET",
        FaultOf.CLIP,
        "Export the clip or the reference again: MP4 with H.264, 5 s or less, sides between 1:2 and 2:1.",
    ),
    (
        "INTERNAL.BAD_OUTPUT",
        FaultOf.CLIP,
        "The model could not make a good picture: remove logos and overlaid text, or change the prompt.",
    ),
    ("INTERNAL", FaultOf.MOMENT, _LATER),
    ("THIRD_PARTY", FaultOf.MOMENT, _LATER),
)


def failure_fault(code: str, message: str) -> Fault:
    """Turn the failureCode of a failed task into a fault.

    Matched by dotted prefix, since the set of codes is open; with any SAFETY segment it is never sent again
    unchanged. Without a code, or with an unknown one, it is the clip's: a blind retry would be paid, and a
    failure without detail is most often the content filter [PROVIDER 2.9, 4].
    """
    code = code.strip().upper()
    if len(code) > _CODE_LENGTH_MAX or not _CODE_WHOLE.fullmatch(code):
        code = ""
    code = code or code_in(message) or UNEXPLAINED
    of, what_to_do = _meaning(code)
    reason = message.strip() or "the provider gave no reason"
    return Fault(of, code, explained(f"The provider could not render it: {reason}"), what_to_do)


def code_in(text: str) -> str:
    """Find a failure code in a sentence; empty when there is none."""
    found = _CODE.search(text)
    return found.group() if found and ("." in found.group() or found.group() == text.strip()) else ""


def words_of(reply: Reply) -> str:
    """Return an answer's message after a colon, to follow a sentence of ours; empty where it has none."""
    return f": {explained(reply.message)}" if reply.message and not reply.is_html else ""


def explained(message: str) -> str:
    """Add an English explanation to the gateway's own Chinese sentences.

    The gateway replaces any message that contains "post", "dial" or "http" by one of them, so a refusal
    that quoted an address has lost its reason [PROVIDER 1.6].
    """
    if _SATURATED in message:
        return f"{message} (the gateway says that this model's providers are saturated)"
    if any("\u4e00" <= letter <= "\u9fff" for letter in message):
        return f"{message} (the gateway hides the provider's own reason behind this sentence)"
    return message


def _meaning(code: str) -> tuple[FaultOf, str]:
    for prefix, of, what_to_do in _BY_PREFIX:
        if code == prefix or code.startswith(prefix + "."):
            if "SAFETY" in code.split(".") and "SAFETY" not in prefix:
                break
            return of, what_to_do
    if "SAFETY" in code.split("."):
        return FaultOf.CLIP, _MODERATED
    if code == UNEXPLAINED:
        return FaultOf.CLIP, _UNEXPLAINED
    return FaultOf.CLIP, "Look the code up in the provider's documentation, and change what it names."
