"""Hostile and broken files, dropped all at once beside a good clip: nothing but that one is paid for."""

import os
import socket
import struct

import pytest

from journeys.bay import make_clip

GOOD = 'prompt = "good"\n'


def put(bay, name, data, sidecar=GOOD):
    path = os.fsencode(bay.inbox) + b"/" + (name if isinstance(name, bytes) else os.fsencode(name))
    with open(path, "wb") as file:  # noqa: PTH123  (a path of bytes)
        file.write(data)
    if sidecar is not None:
        with open(os.path.splitext(path)[0] + b".toml", "wb") as file:  # noqa: PTH122, PTH123
            file.write(sidecar if isinstance(sidecar, bytes) else sidecar.encode())


BAD_SIDECARS = {
    "empty": b"",
    "utf16": 'prompt = "x"\n'.encode("utf-16-le"),
    "nul": b'prompt = "x\0"\n',
    "deep": b"prompt = " + b"[" * 1900,
    "twice": b'prompt = "x"\nprompt = "y"\n',
    "text_seed": b'prompt = "x"\nseed = "5"\n',
    "true_seed": b'prompt = "x"\nseed = true\n',
    "nan_priority": b'prompt = "x"\npriority = nan\n',
    "long_seed": b'prompt = "x"\nseed = ' + b"9" * 4301 + b"\n",
    "huge": b'prompt = "x"\n' + b"# filler\n" * 20_000,
    "control": b'prompt = "x\\u0000\\u001b[31m"\n',
    "long_prompt": b'prompt = "' + b"p" * 1001 + b'"\n',
    "traversal": b'prompt = "x"\nreferences = ["../beyond/precious.mp4"]\n',
    "absolute": b'prompt = "x"\nreferences = ["/etc/passwd"]\n',
    "file_uri": b'prompt = "x"\nreferences = ["file:///etc/passwd"]\n',
    "metadata_uri": b'prompt = "x"\nreferences = ["https://169.254.169.254/x.png"]\n',
    "no_prompt": b"seed = 1\n",
}


def test_bad_files_of_all_kinds_are_refused_or_ignored_and_the_good_clip_is_delivered(bay):
    clip = make_clip(bay.template, "bad")
    inbox = bay.inbox
    for name, sidecar in BAD_SIDECARS.items():
        put(bay, f"s_{name}.mp4", make_clip(bay.template, name), sidecar)
    put(bay, "empty.mp4", b"")
    put(bay, "cut.mp4", clip[: len(clip) // 2])
    put(bay, "text.mp4", b"just words\n" * 500)
    put(bay, "list.mp4", b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n")
    put(bay, "concat.mp4", b"ffconcat version 1.0\nfile '/etc/passwd'\n")
    put(bay, "dash.mp4", b'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"></MPD>')
    put(bay, "header.mp4", struct.pack(">I4s4sI4s", 20, b"ftyp", b"isom", 0, b"isom"))
    put(bay, "bigbox.mp4", clip[:40] + struct.pack(">I4sQ", 1, b"mdat", 1 << 62))
    for name, target in (
        ("link", bay.beyond / "precious.mp4"),
        ("dangling", inbox / "nowhere"),
        ("loop", inbox / "loop.mp4"),
    ):
        (inbox / f"{name}.mp4").symlink_to(target)
        (inbox / f"{name}.toml").write_text(GOOD)
    (inbox / "linked").symlink_to(bay.beyond)
    os.mkfifo(inbox / "fifo.mp4")
    (inbox / "fifo.toml").write_text(GOOD)
    put(bay, "fifo_sidecar.mp4", make_clip(bay.template, "fs"), None)
    os.mkfifo(inbox / "fifo_sidecar.toml")
    put(bay, "link_sidecar.mp4", make_clip(bay.template, "ls"), None)
    (inbox / "link_sidecar.toml").symlink_to(bay.home / "config.toml")
    (inbox / "folder.mp4").mkdir()
    (inbox / "folder.toml").write_text(GOOD)
    with socket.socket(socket.AF_UNIX) as listener, pytest.MonkeyPatch.context() as patch:
        patch.chdir(inbox)
        listener.bind("socket.mp4")
    with (inbox / "sparse.mp4").open("wb") as file:
        file.write(clip)
        file.truncate(1 << 40)
    (inbox / "sparse.toml").write_text(GOOD)
    put(bay, "two.mp4", make_clip(bay.template, "two"))
    (inbox / "two.mp4.toml").write_text("promt = 1\n")
    (inbox / "alone.toml").write_text(GOOD)

    bay.drop("good.mp4", GOOD)
    bay.start()
    bay.until_retired(1, 40)
    bay.until(lambda: all((inbox / f"s_{n}.mp4").exists() for n in BAD_SIDECARS))
    bay.until(lambda: bay.told("status")["inboxes"][0]["waiting"])
    bay.until(
        lambda: [n for n in BAD_SIDECARS if n != "empty" and not noted(inbox, f"s_{n}")] == [],
        20,
        "each bad sidecar has a note",
    )
    for name in ("text", "list", "concat", "dash", "two"):
        bay.until(lambda name=name: noted(inbox, name), 20, f"{name} has a note")
    assert bay.paid == 1
    assert "good.mp4" in bay.results()
    notes = b"".join(p.read_bytes() for p in inbox.glob("*.problem.txt"))
    assert b"\x1b" not in notes
    assert b"root:" not in notes


def noted(inbox, stem):
    return (inbox / f"{stem}.mp4.problem.txt").exists() or (inbox / f"{stem}.toml.problem.txt").exists()


NAMES = {
    "latin-1": b"caf\xe9.mp4",
    "newline": b"new\nline.mp4",
    "escape": b"\x1b[31mred.mp4",
    "reversed": "gnp\u202e4pm.mp4".encode(),
    "space": b" leading.mp4",
    "reserved": b"CON.mp4",
    "stream": b"a:b.mp4",
    "composed": "é.mp4".encode(),
    "decomposed": "e\u0301.mp4".encode(),
    "upper": b"TWIN.MP4",
    "lower": b"twin.mp4",
    "long": b"l" * 250 + b".mp4",
    "quote": b"it's \"$(touch x)`.mp4",
    "percent": b"%2e%2e%2f{stem}.mp4",
}


def test_odd_names_are_delivered_or_refused_and_never_break_anything(bay):
    import hashlib  # noqa: PLC0415

    for kind, name in NAMES.items():
        data = make_clip(bay.template, kind)
        put(bay, name, data, f'prompt = "{kind}"\n')
        bay.dropped[hashlib.sha256(data).hexdigest()] = kind
    bay.configure(provider="running_max = 20")
    bay.start()
    bay.until(lambda: sum(s == "delivered" for s in bay.jobs().values()) >= len(NAMES) - 3, 30)
    bay.until(lambda: set(bay.jobs().values()) == {"delivered"}, 10)
    for words in (("jobs",), ("status",)):
        done = bay.call(*words)
        assert done.returncode == 0, done.stderr
        assert "\x1b[31m" not in done.stdout
    assert max(bay.box.ledger.creates_by_clip().values()) == 1
    assert not (bay.home / "x").exists()
