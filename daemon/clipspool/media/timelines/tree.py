"""Parses XML that anybody may have sent, without entities, and writes it with what stood around it."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET
from xml.parsers import expat

from clipspool.media.timelines.model import NoTimeline

DEPTH_MAX = 200
_ELEMENTS_MAX = 500_000
_HEAD = re.compile(rb"\s*(?:<\?xml[^>]*\?>)?\s*(?:<!--.*?-->\s*)*(?:<!DOCTYPE[^>\[]*>)?\s*", re.DOTALL)

Element = ET.Element


def parse(data: bytes) -> Element:
    """Return the root element. Raises NoTimeline for what is no XML, or XML that declares entities."""
    builder = ET.TreeBuilder(insert_comments=True)
    parser = expat.ParserCreate()
    parser.buffer_text = True
    depth = elements = 0

    def begin(name: str, pairs: list[str]) -> None:
        nonlocal depth, elements
        depth, elements = depth + 1, elements + 1
        if depth > DEPTH_MAX or elements > _ELEMENTS_MAX:
            raise NoTimeline("it is nested too deep, or has too many parts")
        builder.start(name, dict(zip(pairs[::2], pairs[1::2], strict=True)))

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(name)

    def refuse(*_: object) -> int:
        raise NoTimeline("it declares entities, which no timeline needs")

    parser.ordered_attributes = True
    parser.StartElementHandler, parser.EndElementHandler = begin, end
    parser.CharacterDataHandler, parser.CommentHandler = builder.data, builder.comment
    # A few lines of entities can grow to gigabytes, and one may name a file of this machine.
    parser.EntityDeclHandler = refuse
    parser.ExternalEntityRefHandler = refuse
    try:
        parser.Parse(data, True)
        return builder.close()
    except expat.ExpatError as error:
        raise NoTimeline(f"it is no whole XML ({error}); export it again") from None
    except NoTimeline:
        raise
    except (LookupError, ValueError):  # unknown to the parser, or with several bytes a letter
        raise NoTimeline("it is written in an encoding that is not read; export it as UTF-8") from None
    except AssertionError:
        raise NoTimeline("it is empty") from None


def write(root: Element, data: bytes) -> bytes:
    """Return the document as bytes, with the same head as `data`, from which it was read."""
    found = _HEAD.match(data)
    head = found[0] if found else b""
    if b"encoding=" in head and b"utf-8" not in head.lower():
        head = b'<?xml version="1.0" encoding="UTF-8"?>\n'
    body: bytes = ET.tostring(root, encoding="utf-8")
    return head + body + b"\n"


def text_of(element: Element | None, path: str) -> str | None:
    """Return the text of an element below; None where there is none."""
    return None if element is None else element.findtext(path)
