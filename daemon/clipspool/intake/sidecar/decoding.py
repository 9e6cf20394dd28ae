"""Decodes text that an editor saved: bytes in, text or a problem with advice out; pure."""

from __future__ import annotations

import re

from clipspool.jobs.model import Problem

_PLAIN = (
    "save it as plain text, UTF-8 (Notepad: Save as, Encoding: UTF-8; "
    "TextEdit: Format > Make Plain Text, then save)"
)
_UTF8 = 'save it as UTF-8 (Notepad: Save as, Encoding: UTF-8; TextEdit: Save, Plain Text Encoding: "UTF-8")'
_SHOWN_MAX = 60
_NULS_SHARE = 0.3
"""Share of NUL bytes at even or at odd positions above which a text is probably UTF-16."""
_KINDS: tuple[tuple[bytes, str], ...] = (
    (b"{\\rtf", "is rich text (RTF)"),
    (b"%PDF-", "is a PDF"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "is a Word document"),
    (b"bplist00", "is a web archive or another binary file"),
    (b"\x89PNG\r\n", "is a picture (PNG)"),
    (b"\xff\xd8\xff", "is a picture (JPEG)"),
    (b"GIF8", "is a picture (GIF)"),
    (b"\x1f\x8b", "is a compressed file (gzip)"),
    (b"7z\xbc\xaf\x27\x1c", "is a compressed file (7z)"),
    (b"\x7fELF", "is a program"),
    (b"MZ\x90\x00", "is a program"),
)
_HTML = re.compile(rb"<(?:!doctype\s+html|html|head|body|meta|div|span|p|br|b|font)[\s>/]", re.IGNORECASE)
_XML = re.compile(rb"<\?xml\s")


def decode(data: bytes) -> str | Problem:
    """Decode a sidecar, a defaults file or a prompt; never raises. Line ends stay as they are.

    UTF-8 with or without a byte order mark and UTF-16 with one are text. Everything else is a problem that
    says what the file is and what to do; the caller sets its `file`.
    """
    if kind := _kind_of(data):
        return Problem(f"{kind}, not plain text; {_PLAIN}")
    if data.startswith((b"\xff\xfe\x00\x00", b"\x00\x00\xfe\xff")):
        return Problem(f"is saved as UTF-32; {_UTF8}")
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        try:
            return _without_nul(data.decode("utf-16"))
        except UnicodeDecodeError:
            return Problem(f"is saved as UTF-16 and is damaged, or was cut short; {_UTF8}")
    if _looks_like_utf16(data):
        return Problem(f"is saved as UTF-16 without its mark, so it cannot be read for certain; {_UTF8}")
    return _from_utf8(data.removeprefix(b"\xef\xbb\xbf"))


def _kind_of(data: bytes) -> str:
    """Return what a file is that is not plain text, by its first bytes; empty if it may be text."""
    for beginning, kind in _KINDS:
        if data.startswith(beginning):
            return kind
    if data.startswith(b"PK\x03\x04"):
        if b"word/" in data or b"[Content_Types].xml" in data[:200]:
            return "is a Word document"
        if data[30:38] == b"mimetype":
            return "is an OpenOffice or LibreOffice document"
        return "is a Pages document" if b".iwa" in data else "is a ZIP file or an office document"
    if data[4:8] == b"ftyp":
        return "is a video"
    first = data.removeprefix(b"\xef\xbb\xbf").lstrip()[:100]
    return "is a web page (HTML)" if _HTML.match(first) else "is XML" if _XML.match(first) else ""


def _looks_like_utf16(data: bytes) -> bool:
    few, many = sorted((data[::2].count(0), data[1::2].count(0)))
    return len(data) > 1 and many > len(data) / 2 * _NULS_SHARE and few * 10 < many


def _from_utf8(data: bytes) -> str | Problem:
    try:
        return _without_nul(data.decode())
    except UnicodeDecodeError as error:
        # Bytes that no text in any of the usual encodings has in plenty.
        foreign = sum(byte >= 0x80 or (byte < 0x20 and byte not in b"\t\n\r\f") for byte in data)  # noqa: PLR2004
        if data.count(0) or foreign * 4 > len(data):
            return Problem(f"is not text, or is damaged; {_PLAIN}")
        number, line = _line_around(data, error.start)
        return Problem(
            f"has a letter that is not saved as UTF-8 (shown as \ufffd): `{line}`; {_UTF8}", line=number
        )


def _without_nul(text: str) -> str | Problem:
    before, nul, _ = text.partition("\0")
    if not nul:
        return text
    reason = f"contains a NUL character; it is not text, or is damaged; {_PLAIN}"
    return Problem(reason, line=before.count("\n") + 1)


def _line_around(data: bytes, position: int) -> tuple[int, str]:
    """Return number and text of the line with the first wrong byte, which is shown as U+FFFD."""
    lines = re.split(rb"\r\n|\r|\n", data[:position])
    rest = re.split(rb"[\r\n]", data[position:], maxsplit=1)[0]
    begin = lines[-1].decode(errors="replace")
    # A long beginning is shortened so that the wrong letter stays visible.
    begin = begin if len(begin) < _SHOWN_MAX else "…" + begin[-_SHOWN_MAX // 2 :]
    line = begin + rest.decode(errors="replace")
    shown = "".join(letter if letter.isprintable() else " " for letter in line[:_SHOWN_MAX]).strip()
    return len(lines), shown + ("…" if len(line) > _SHOWN_MAX else "")
