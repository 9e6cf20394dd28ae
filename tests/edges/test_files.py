"""Lasting changes to a real disk, and the one way to open what others can write to."""

import ctypes
import errno
import os
import re
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from clipspool.spool.guard import Guard, Unavailable
from clipspool.spool.root import Root
from clipspool.system import atomic as files
from clipspool.system import moves
from clipspool.system.atomic import NotRegular, parts
from fakes import lying

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")


@pytest.fixture
def path(tmp_path):
    folder = tmp_path / "bay"
    folder.mkdir()
    return folder


@pytest.fixture
def root(path):
    return Root(path)


@pytest.fixture
def mount():
    """Mount a tmpfs somewhere, and take it away again."""
    mounted = []

    def mount(point, size="1m"):
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", point], check=True)
        mounted.append(point)

    yield mount
    for point in reversed(mounted):
        subprocess.run(["umount", "-l", point], check=False, capture_output=True)


@pytest.fixture(params=["at once", "step by step"])
def way(request, monkeypatch):
    """Open folders with openat2, or as on a kernel that has none."""
    if request.param == "step by step":

        class Libc:
            renameat2 = files._libc.renameat2

            def syscall(self, *_args):
                ctypes.set_errno(errno.ENOSYS)
                return -1

        monkeypatch.setattr(files, "_libc", Libc())


def descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


# --- names ----------------------------------------------------------------------------------------------


def test_a_plain_path_is_split_into_its_parts():
    assert parts("day/caf\udce9.mp4") == ["day", "caf\udce9.mp4"]
    assert parts("") == []


@pytest.mark.parametrize("rel", ["/etc", "..", "a/../b", "a//b", "a/./b", "a/", ".", "a\0b"])
def test_what_could_lead_elsewhere_is_no_path(root, rel):
    with pytest.raises(ValueError, match="plain relative path"):
        parts(rel)
    with pytest.raises(ValueError, match="plain relative path"):
        root.make_folders(rel)


@pytest.mark.parametrize("rel", ["../outside.txt", "/etc/hostname", "a/../../outside.txt"])
def test_nothing_outside_is_reached_by_a_name(root, path, rel):
    outside = path.parent / "outside.txt"
    outside.write_text("precious")
    for act in (root.open, root.stat, root.remove, lambda r: root.create(r, b"x"), root.remove_folder):
        with pytest.raises((ValueError, OSError)):
            act(rel)
    assert outside.read_text() == "precious"


# --- links and other things that are no files -----------------------------------------------------------


@pytest.fixture
def outside(path):
    """Yield a folder beside the root, with a link in the root that leads there."""
    folder = path.parent / "outside"
    folder.mkdir()
    (folder / "secret.txt").write_text("precious")
    (path / "link").symlink_to(folder)
    (path / "file-link.txt").symlink_to(folder / "secret.txt")
    (path / "absolute").symlink_to("/")
    yield folder
    assert lying(folder) == {"secret.txt": b"precious"}


def test_a_file_that_grows_while_it_is_read_is_read_to_its_end(root, path, monkeypatch):
    (path / "ledger").write_bytes(b"one")
    stat = os.fstat

    def stat_before_a_line_is_added(file):
        found = stat(file)
        with (path / "ledger").open("ab") as ledger:
            ledger.write(b" and a line more")
        return found

    monkeypatch.setattr(os, "fstat", stat_before_a_line_is_added)
    data = root.read("ledger", 1000)
    monkeypatch.undo()
    assert data == (path / "ledger").read_bytes()
    assert data.startswith(b"one and a line more")
    with pytest.raises(ValueError, match="larger than 2 bytes"):
        root.read("ledger", 2)


def test_what_was_done_counts_although_the_held_root_cannot_be_closed(root, monkeypatch):
    """What a stage returned was lost over it, and with it the id of a paid task."""
    real = os.close

    def close(fd):
        real(fd)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    def work():
        with root.held():
            with root.folder() as fd:
                os.fstat(fd)
            monkeypatch.setattr(os, "close", close)
            return "the id of a paid task"

    assert work() == "the id of a paid task"


def test_a_held_root_is_opened_once_and_closed_at_the_end(root, path):
    (path / "below").mkdir()
    with root.held():
        with root.folder() as first:
            pass
        with root.folder("below") as below:
            assert below != first
        with root.folder() as again:
            assert again == first
            os.fstat(first)
        with pytest.raises(OSError, match="descriptor"):
            os.fstat(below)
    with pytest.raises(OSError, match="descriptor"):
        os.fstat(first)
    with root.folder() as alone:
        os.fstat(alone)
    with pytest.raises(OSError, match="descriptor"):
        os.fstat(alone)


@pytest.mark.usefixtures("outside", "way")
def test_a_link_is_no_file_and_no_folder(root):
    before = descriptors()
    for act in (
        lambda: root.open("file-link.txt"),
        lambda: root.open("link/secret.txt"),
        lambda: root.open("absolute/etc/hostname"),
        lambda: root.read("link/secret.txt", 100),
        lambda: root.names("link"),
        lambda: root.create("link/new.txt", b"x"),
        lambda: root.replace("link/secret.txt", b"x"),
        lambda: root.append("file-link.txt", b"x"),
        lambda: root.append("link/secret.txt", b"x"),
        lambda: root.make_folders("link/new"),
        lambda: root.move("link/secret.txt", root, "stolen.txt"),
        lambda: root.copy("file-link.txt", root, "stolen.txt"),
        lambda: root.remove("link/secret.txt"),
        lambda: root.remove_folder("link"),
    ):
        with pytest.raises(OSError, match=r"regular file|symbolic links|Not a directory|No such"):
            act()
    assert descriptors() == before


@pytest.mark.usefixtures("outside")
def test_a_link_can_be_moved_or_removed_but_what_it_leads_to_stays(root, path):
    root.remove("file-link.txt")
    root.move("link", root, "moved")
    assert (path / "moved").is_symlink()


def test_removing_a_folder_of_ours_never_follows_a_link(root, path, outside):
    root.make_folders("work/deep")
    (path / "work/deep/out").symlink_to(outside)
    (path / "work/file").symlink_to(outside / "secret.txt")
    root.remove_folder("work")
    assert not (path / "work").exists()
    root.remove_folder("work")


@pytest.mark.usefixtures("outside")
def test_a_replaced_file_may_have_been_a_link(root, path):
    root.replace("file-link.txt", b"new")
    assert (path / "file-link.txt").read_bytes() == b"new"


def test_what_is_no_regular_file_is_never_waited_for(root, path):
    os.mkfifo(path / "fifo.mp4")
    (path / "folder.mp4").mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path / "socket.mp4"))
        for name in ("fifo.mp4", "folder.mp4", "socket.mp4"):
            with pytest.raises(NotRegular, match="no regular file"):
                root.open(name)


@pytest.mark.usefixtures("way")
def test_a_folder_that_turns_into_a_link_while_it_is_used_leads_nowhere_else(root, path, outside):
    """A folder and a link change places all the time; whatever is read comes from the folder."""
    (path / "day").mkdir()
    (path / "day/secret.txt").write_text("mine")
    (path / "other").symlink_to(outside)
    stopping = threading.Event()
    exchange = 2

    def swap():
        while not stopping.is_set():
            files._libc.renameat2(-100, bytes(path / "day"), -100, bytes(path / "other"), exchange)

    thread = threading.Thread(target=swap)
    thread.start()
    read = set()
    try:
        for _ in range(800):
            try:
                read.add(root.read("day/secret.txt", 100))
            except OSError:
                read.add(None)
            try:
                root.replace("day/new.txt", b"x")
            except OSError:
                read.add(None)
    finally:
        stopping.set()
        thread.join()
    assert read <= {b"mine", None}


@pytest.mark.usefixtures("way")
def test_folders_are_found_both_ways(root, path):
    (path / "a/b").mkdir(parents=True)
    (path / "a/b/c.txt").write_text("here")
    assert root.read("a/b/c.txt", 100) == b"here"
    with pytest.raises(FileNotFoundError):
        root.read("a/none/c.txt", 100)
    with pytest.raises(NotADirectoryError):
        root.read("a/b/c.txt/d", 100)
    assert not root.exists("a/b/c.txt/d")
    assert not root.exists("none/c.txt")


# --- reading --------------------------------------------------------------------------------------------


def test_a_small_file_is_read_whole_or_not_at_all(root, path):
    (path / "a.txt").write_bytes(b"12345")
    assert root.read("a.txt", 5) == b"12345"
    with pytest.raises(ValueError, match="larger than 4 bytes"):
        root.read("a.txt", 4)


def test_names_that_are_not_utf8_are_names(root, path):
    root.create("caf\udce9/sh\udcf6t.mp4", b"x")
    assert [os.fsencode(p.name) for p in path.iterdir()] == [b"caf\xe9"]
    assert root.names("caf\udce9") == ["sh\udcf6t.mp4"]
    root.move("caf\udce9/sh\udcf6t.mp4", root, "n\udcfc/sh\udcf6t.mp4")
    assert root.read("n\udcfc/sh\udcf6t.mp4", 9) == b"x"


# --- publishing -----------------------------------------------------------------------------------------


def test_create_never_replaces(root, path):
    root.create("a.txt", b"first")
    with pytest.raises(FileExistsError):
        root.create("a.txt", b"second")
    assert lying(path) == {"a.txt": b"first"}


def test_move_and_copy_never_replace(root, path):
    root.create("a.txt", b"first")
    root.create("b.txt", b"second")
    for act in (root.move, root.copy):
        with pytest.raises(FileExistsError):
            act("b.txt", root, "a.txt")
    assert lying(path) == {"a.txt": b"first", "b.txt": b"second"}


def test_a_file_system_that_keeps_no_modes_gets_files_and_folders_all_the_same(path, monkeypatch):
    def no_modes(*_args, **_more):
        raise OSError(errno.EPERM, "not on FAT")

    monkeypatch.setattr(os, "chmod", no_modes)
    monkeypatch.setattr(os, "fchmod", no_modes)
    root = Root(path, file_mode=0o660, folder_mode=0o770)
    root.replace("day/a.txt", b"whole")
    assert (path / "day/a.txt").read_bytes() == b"whole"


def test_a_service_that_may_set_no_special_bit_makes_folders_no_more_open_than_asked(path, monkeypatch):
    set_mode = os.fchmod

    def hardened(fd, mode):
        if mode & 0o6000:
            raise PermissionError(errno.EPERM, "RestrictSUIDSGID=")
        set_mode(fd, mode)

    monkeypatch.setattr(os, "fchmod", hardened)
    path.chmod(0o2775)
    Root(path, folder_mode=0o750).make_folders("day")
    assert (path / "day").stat().st_mode & 0o7777 == 0o2750


def test_a_mode_that_a_failing_disk_refuses_leaves_no_descriptor_open(path, monkeypatch):
    def failing(*_args, **_more):
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(os, "fchmod", failing)
    root = Root(path, file_mode=0o660)
    before = descriptors()
    with pytest.raises(OSError, match="broken"):
        root.replace("a.txt", b"whole")
    assert descriptors() == before
    assert not lying(path)


def test_of_many_who_create_one_name_one_succeeds(root, path):
    won = []

    def race(number):
        try:
            root.create("a.txt", str(number).encode() * 1000)
        except OSError as error:
            if error.errno not in {errno.EEXIST, errno.EBUSY}:
                raise
            return
        won.append(number)

    threads = [threading.Thread(target=race, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert lying(path) == {"a.txt": str(won[0]).encode() * 1000}
    assert len(won) == 1


def test_replace_shows_the_old_whole_or_the_new_whole(root, path):
    root.replace("a.txt", b"a" * 100_000)
    stopping, seen = threading.Event(), set()

    def watch():
        while not stopping.is_set():
            seen.add((path / "a.txt").read_bytes())

    thread = threading.Thread(target=watch)
    thread.start()
    for letter in b"bcdefgh":
        root.replace("a.txt", bytes([letter]) * 100_000)
    stopping.set()
    thread.join()
    assert {(len(data), len(set(data))) for data in seen} == {(100_000, 1)}


@pytest.fixture
def no_noreplace(monkeypatch):
    """Take renaming without replacing away, as on NFS."""

    class Libc:
        syscall = files._libc.syscall

        def renameat2(self, *_args):
            ctypes.set_errno(errno.EINVAL)
            return -1

    monkeypatch.setattr(files, "_libc", Libc())


@pytest.fixture
def no_link(no_noreplace, monkeypatch):  # noqa: ARG001
    """Take hard links away too, as on exFAT."""

    def link(*_args, **_more):
        raise OSError(errno.EPERM, "not here")

    monkeypatch.setattr(os, "link", link)


@pytest.mark.usefixtures("no_noreplace")
def test_a_link_and_unlink_serve_where_there_is_no_rename_without_replacing(root, path):
    root.create("a.txt", b"first")
    with pytest.raises(FileExistsError):
        root.create("a.txt", b"second")
    root.move("a.txt", root, "b.txt")
    assert lying(path) == {"b.txt": b"first"}
    assert (path / "b.txt").stat().st_nlink == 1


@pytest.mark.usefixtures("no_noreplace")
def test_a_file_server_that_refuses_what_it_has_done_has_done_it(root, path, monkeypatch):
    root.create("a.txt", b"first")
    link, unlink = os.link, os.unlink

    def link_twice(*args, **more):
        link(*args, **more)
        link(*args, **more)

    def unlink_twice(*args, **more):
        unlink(*args, **more)
        unlink(*args, **more)

    monkeypatch.setattr(os, "link", link_twice)
    monkeypatch.setattr(os, "unlink", unlink_twice)
    root.move("a.txt", root, "b.txt")
    assert lying(path) == {"b.txt": b"first"}


@pytest.mark.usefixtures("no_link")
def test_a_reservation_serves_where_there_are_no_links_either_and_leaves_nothing(root, path):
    root.create("b.txt", b"first")
    root.move("b.txt", root, "c.txt")
    root.create("d.txt", b"second")
    with pytest.raises(FileExistsError):
        root.move("d.txt", root, "c.txt")
    assert lying(path) == {"c.txt": b"first", "d.txt": b"second"}


@pytest.mark.usefixtures("no_link")
def test_of_many_who_reserve_one_name_one_succeeds(root, path):
    test_of_many_who_create_one_name_one_succeeds(root, path)


@pytest.mark.usefixtures("no_link")
def test_a_reservation_that_a_crash_left_counts_for_a_minute(root, path, monkeypatch):
    root.create("a.txt", b"first")
    monkeypatch.setattr(files, "unlink", lambda *_: None)  # as if killed
    root.move("a.txt", root, "b.txt")
    monkeypatch.undo()
    with files.Opened(os.open(path, files.FOLDER_FLAGS)) as folder:
        (path / "b.txt").rename(path / "a.txt")
        (left,) = path.glob(".*.tmp")
        with pytest.raises(OSError, match="busy"), files._reserved("b.txt", folder):
            pass
        os.utime(left, (time.time() - 100,) * 2)
        with files._reserved("b.txt", folder):
            pass
    assert lying(path) == {"a.txt": b"first"}


@pytest.mark.usefixtures("no_link")
def test_a_name_is_never_there_before_its_file_not_even_when_it_is_reserved(root, path, monkeypatch):
    root.create("a.txt", b"first")
    rename = os.rename

    def look_and_rename(*args, **more):
        assert {each.name for each in path.iterdir() if not files.is_temporary(each.name)} == {"a.txt"}
        raise OSError(errno.EIO, "killed here") if "b.txt" in args else rename(*args, **more)

    monkeypatch.setattr(os, "rename", look_and_rename)
    with pytest.raises(OSError, match="killed here"):
        root.move("a.txt", root, "b.txt")
    assert lying(path) == {"a.txt": b"first"}


def test_a_copy_gives_its_hash_and_leaves_the_source(root, path):
    root.create("a.txt", b"abc")
    digest = root.copy("a.txt", root, "day/b.txt")
    assert digest == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert lying(path) == {"a.txt": b"abc", "day/b.txt": b"abc"}


def test_append_adds_to_the_end_and_makes_what_is_missing(root, path):
    root.append("day/notes.txt", b"one\n")
    root.append("day/notes.txt", b"two\n")
    assert lying(path) == {"day/notes.txt": b"one\ntwo\n"}


def test_removing_what_is_gone_is_fine(root):
    root.remove("none.txt")
    root.remove("none/none.txt")
    root.remove_folder("none/none")


def test_what_we_make_has_the_modes_that_were_asked_for(path):
    root = Root(path, file_mode=0o640, folder_mode=0o2750)
    root.create("day/one/a.txt", b"x")
    root.copy("day/one/a.txt", root, "day/b.txt")
    modes = {str(p.relative_to(path)): oct(p.stat().st_mode & 0o7777) for p in path.rglob("*")}
    assert modes == {"day": "0o2750", "day/one": "0o2750", "day/one/a.txt": "0o640", "day/b.txt": "0o640"}


def test_a_link_put_in_the_place_of_a_folder_just_made_gives_nothing_outside_another_mode(
    path, tmp_path, monkeypatch
):
    precious = tmp_path / "precious"
    precious.mkdir(mode=0o700)
    make = os.mkdir

    def make_and_swap(name, *args, dir_fd):
        make(name, *args, dir_fd=dir_fd)
        os.rename(name, "aside", src_dir_fd=dir_fd, dst_dir_fd=dir_fd)
        os.symlink(precious, name, dir_fd=dir_fd)

    monkeypatch.setattr(os, "mkdir", make_and_swap)
    with pytest.raises(OSError, match="day"):
        Root(path, folder_mode=0o2777).make_folders("day")
    assert precious.stat().st_mode & 0o7777 == 0o700


def test_nothing_is_added_to_a_file_that_has_another_name_elsewhere(root, path, tmp_path):
    precious = tmp_path / "precious"
    precious.write_bytes(b"precious")
    (path / "ledger").hardlink_to(precious)
    with pytest.raises(NotRegular, match="other names"):
        root.append("ledger", b"spoiled")
    assert precious.read_bytes() == b"precious"
    precious.unlink()
    root.append("ledger", b", and ours")
    assert (path / "ledger").read_bytes() == b"precious, and ours"


@pytest.mark.parametrize("is_read", [False, True])
def test_adding_to_a_pipe_neither_waits_nor_writes(root, path, is_read):
    os.mkfifo(path / "ledger")
    reader = os.open(path / "ledger", os.O_RDONLY | os.O_NONBLOCK) if is_read else None
    with pytest.raises(NotRegular):
        root.append("ledger", b"spoiled")
    if reader is not None:
        assert os.read(reader, 10) == b""
        os.close(reader)


# --- a disk in trouble ----------------------------------------------------------------------------------


@needs_root
def test_a_full_disk_leaves_nothing_behind(root, path, mount):
    mount(path)
    root.create("small.txt", b"x" * 1000)
    for act in (root.create, root.replace):
        with pytest.raises(OSError, match="No space"):
            act("large.txt", b"x" * 2_000_000)
    with pytest.raises(OSError, match="No space"):
        root.replace("small.txt", b"x" * 2_000_000)
    assert lying(path) == {"small.txt": b"x" * 1000}
    assert 0 < root.space() < 1 << 20


@needs_root
def test_between_two_file_systems_a_move_copies_and_removes_and_keeps_the_date(root, path, tmp_path, mount):
    other = tmp_path / "other"
    other.mkdir()
    mount(other)
    root.create("a.txt", b"abc")
    os.utime(path / "a.txt", ns=(0, 1_700_000_000_123_456_789))
    (path / "a.txt").chmod(0o640)
    root.move("a.txt", Root(other), "day/a.txt")
    assert (lying(path), lying(other)) == ({}, {"day/a.txt": b"abc"})
    there = (other / "day/a.txt").stat()
    assert (there.st_mtime_ns, there.st_mode & 0o777) == (1_700_000_000_123_456_789, 0o640)
    root.create("a.txt", b"second")
    with pytest.raises(FileExistsError):
        root.move("a.txt", Root(other), "day/a.txt")
    assert (lying(path), lying(other)) == ({"a.txt": b"second"}, {"day/a.txt": b"abc"})


@needs_root
def test_a_file_that_is_written_to_while_it_is_moved_by_copying_stays(
    root, path, tmp_path, mount, monkeypatch
):
    other = tmp_path / "other"
    other.mkdir()
    mount(other)
    root.create("a.txt", b"abc")
    compare = moves._compare

    def write_more(*args):
        compare(*args)
        with (path / "a.txt").open("ab") as file:
            file.write(b"def")

    monkeypatch.setattr(moves, "_compare", write_more)
    with pytest.raises(moves.Unsteady, match="it changed"):
        root.move("a.txt", Root(other), "a.txt")
    assert (lying(path), lying(other)) == ({"a.txt": b"abcdef"}, {})


@pytest.mark.parametrize("trouble", [errno.EIO, errno.EPERM, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP])
def test_where_no_rename_between_two_folders_works_a_move_copies_whatever_the_error_is(
    root, path, monkeypatch, trouble
):
    root.create("a.txt", b"abc")
    real = files.rename_new

    def refuse(name, folder, to_name, to_folder):
        if name == "a.txt":
            raise OSError(trouble, os.strerror(trouble))
        real(name, folder, to_name, to_folder)

    monkeypatch.setattr(moves, "rename_new", refuse)
    root.move("a.txt", root, "day/b.txt")
    assert lying(path) == {"day/b.txt": b"abc"}


def test_a_rename_that_was_answered_with_an_error_and_happened_has_happened(root, path, monkeypatch):
    """NFS asks again when an answer is lost, and is then told that there is no such file."""
    root.create("a.txt", b"abc")
    real = os.rename

    def rename_twice(*args, **more):
        real(*args, **more)
        real(*args, **more)

    monkeypatch.setattr(os, "rename", rename_twice)
    with root.folder() as folder:
        files.rename_to_own("a.txt", folder, "b.txt", folder)
        assert lying(path) == {"b.txt": b"abc"}
        with pytest.raises(FileNotFoundError):
            files.rename_to_own("a.txt", folder, "c.txt", folder)


@needs_root
def test_a_copy_that_does_not_fit_leaves_nothing_behind(root, path, tmp_path, mount):
    other = tmp_path / "other"
    other.mkdir()
    mount(other)
    root.create("a.txt", b"x" * 2_000_000)
    with pytest.raises(OSError, match="No space"):
        root.copy("a.txt", Root(other), "day/a.txt")
    assert lying(other) == {}
    assert lying(path) == {"a.txt": b"x" * 2_000_000}


@needs_root
def test_a_folder_that_cannot_be_made_costs_no_descriptor(path, mount):
    mount(path)
    subprocess.run(["mount", "-o", "remount,ro", path], check=True)
    before = descriptors()
    for _ in range(5):
        with pytest.raises(OSError, match="Read-only"):
            Root(path).make_folders("day/one")
    assert descriptors() == before


# --- what reaches the disk, and in which order ----------------------------------------------------------

CALLS = "openat,rename,renameat,renameat2,fsync,fdatasync,close,write,link,unlink,unlinkat"
RECIPES = {
    "create": "root.create('day/a.txt', b'data')",
    "replace": "root.replace('day/a.txt', b'data')",
    "copy": "root.copy('source.txt', root, 'day/a.txt')",
}


def traced(tmp_path, path, act):
    """Run one change in a process of its own and give the calls it made that matter, with names."""
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from clipspool.spool.root import Root\n"
        "root = Root(Path(sys.argv[1]))\n"
        "root.stat('begin')\n"
        f"{act}\n"
    )
    (path / "begin").touch()
    log = tmp_path / "trace"
    command = ["strace", "-f", "-y", "-o", log, "-e", f"trace={CALLS},newfstatat,fstatat64"]
    subprocess.run([*command, sys.executable, "-c", script, path], check=True)
    calls = []
    lines = log.read_text().splitlines()
    start = max(number for number, line in enumerate(lines) if '"begin"' in line)
    synced = {found[1] for line in lines if (found := re.search(r"O_DSYNC.*= (\d+)<", line))}
    for line in lines[start:]:
        found = re.search(r"\b(fsync|rename\w*|write)\((.*)", line)
        if found and str(path) in line:
            kind = "rename" if found[1].startswith("rename") else found[1]
            name = Path(re.search(r"<([^>]*)>", found[2])[1])
            what = "folder" if name.is_dir() else "file"
            how = " synced" if kind == "write" and found[2].partition("<")[0] in synced else ""
            calls.append(f"{kind} {what}{how}" if kind != "rename" else "rename")
    return calls


@pytest.mark.skipif(not Path("/usr/bin/strace").exists(), reason="needs strace")
@pytest.mark.parametrize("recipe", RECIPES)
def test_bytes_are_synced_before_the_name_and_the_name_after(tmp_path, path, recipe):
    (path / "day").mkdir()
    (path / "source.txt").write_bytes(b"data")
    calls = traced(tmp_path, path, RECIPES[recipe])
    assert calls == ["write file", "fsync file", "rename", "fsync folder"]


@pytest.mark.skipif(not Path("/usr/bin/strace").exists(), reason="needs strace")
def test_a_move_syncs_the_folder_it_leads_to_and_an_append_its_bytes(tmp_path, path):
    (path / "day").mkdir()
    (path / "source.txt").write_bytes(b"data")
    assert traced(tmp_path, path, "root.move('source.txt', root, 'day/a.txt')") == ["rename", "fsync folder"]
    assert traced(tmp_path, path, "root.append('day/a.txt', b'more')") == ["write file synced"]
    assert traced(tmp_path, path, "root.append('day/new.txt', b'more')") == [
        "fsync folder",
        "write file synced",
    ]


# --- the guard ------------------------------------------------------------------------------------------


class Memory:
    """What the journal keeps of a folder's identity."""

    def __init__(self):
        self.known = None

    def guard(self):
        return Guard("inbox", self.known, self.remember)

    def remember(self, identity):
        self.known = identity


@pytest.fixture
def memory():
    return Memory()


def test_a_folder_seen_for_the_first_time_is_marked_and_remembered(path, memory):
    Root(path, guard=memory.guard()).bind()
    assert memory.known in (path / ".clipspool/inbox.toml").read_text()
    Root(path, guard=memory.guard()).bind()
    assert [p.name for p in (path / ".clipspool").iterdir()] == ["inbox.toml"]


def test_those_who_see_a_shared_folder_first_at_the_same_time_know_it_by_one_mark(path):
    for number in range(20):
        shared = path / str(number)
        shared.mkdir()
        memories = [Memory() for _ in range(4)]
        roots = [Root(shared, guard=memory.guard()) for memory in memories]
        with ThreadPoolExecutor(len(roots)) as pool:
            list(pool.map(Root.bind, roots))
        assert [p.name for p in (shared / ".clipspool").iterdir()] == ["inbox.toml"]
        assert len({memory.known for memory in memories}) == 1
        for memory in memories:
            Root(shared, guard=memory.guard()).bind()


def test_a_folder_that_is_gone_is_unavailable(path, memory):
    root = Root(path, guard=memory.guard())
    root.bind()
    path.rename(path.with_name("elsewhere"))
    for act in (root.bind, root.names, root.space, lambda: root.remove("a"), lambda: root.create("a", b"")):
        with pytest.raises(Unavailable):
            act()


def test_an_empty_folder_in_its_place_is_not_it(path, memory):
    root = Root(path, guard=memory.guard())
    root.bind()
    root.create("a.txt", b"x")
    path.rename(path.with_name("elsewhere"))
    path.mkdir()
    for act in (root.bind, root.names, lambda: root.exists("a.txt"), lambda: root.create("b", b"")):
        with pytest.raises(Unavailable, match=r"it has no \.clipspool/inbox\.toml"):
            act()
    assert list(path.iterdir()) == []


def test_another_inbox_in_its_place_is_not_it(path, memory):
    root = Root(path, guard=memory.guard())
    root.bind()
    path.rename(path.with_name("elsewhere"))
    path.mkdir()
    Root(path, guard=Memory().guard()).bind()
    with pytest.raises(Unavailable, match="it has another"):
        root.create("a.txt", b"x")
    assert lying(path) == {}


def test_a_folder_with_the_numbers_of_the_one_it_was_is_not_it_without_its_mark(path, memory):
    """A disk mounted after another mostly gets the same device, and its top folder the same inode."""
    root = Root(path, guard=memory.guard())
    root.bind()
    mark = path / ".clipspool/inbox.toml"
    mine = mark.rename(mark.with_name("mine"))
    with pytest.raises(Unavailable, match="it has no"):
        root.create("a.txt", b"x")
    mark.write_text('id = "another"')
    with pytest.raises(Unavailable, match="it has another"):
        root.create("a.txt", b"x")
    mine.replace(mark)
    root.create("a.txt", b"x")
    assert (path / "a.txt").read_bytes() == b"x"


def test_the_operator_can_say_that_it_is_the_right_one(path, memory):
    guard = memory.guard()
    root = Root(path, guard=guard)
    root.bind()
    before = memory.known
    path.rename(path.with_name("elsewhere"))
    path.mkdir()
    guard.adopt()
    root.bind()
    assert memory.known not in {None, before}


@pytest.mark.parametrize("damage", [b"", b"id = 5\xff", b"[" * 3000, b"name = 1"])
def test_a_damaged_mark_is_not_it(path, memory, damage):
    root = Root(path, guard=memory.guard())
    root.bind()
    (path / ".clipspool/inbox.toml").write_bytes(damage)
    with pytest.raises(Unavailable):
        Root(path, guard=memory.guard()).bind()


@needs_root
def test_a_mount_is_known_again_after_it_was_away(path, memory, mount):
    mount(path)
    root = Root(path, guard=memory.guard())
    root.create("a.txt", b"x")
    aside = path.with_name("aside")
    aside.mkdir()
    subprocess.run(["mount", "--move", path, aside], check=True)
    with pytest.raises(Unavailable):
        root.exists("a.txt")
    assert list(path.iterdir()) == []
    subprocess.run(["mount", "--bind", aside, path], check=True)
    try:
        assert root.read("a.txt", 9) == b"x"
    finally:
        subprocess.run(["umount", path], check=True)
        subprocess.run(["umount", aside], check=True)


@needs_root
def test_the_same_files_on_another_device_are_known_by_their_mark(path, memory, mount):
    root = Root(path, guard=memory.guard())
    root.bind()
    mark = (path / ".clipspool/inbox.toml").read_bytes()
    mount(path)
    with pytest.raises(Unavailable):
        root.bind()
    (path / ".clipspool").mkdir()
    (path / ".clipspool/inbox.toml").write_bytes(mark)
    root.create("a.txt", b"x")
    assert (path / "a.txt").read_bytes() == b"x"


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EROFS, errno.EDQUOT])
def test_a_folder_that_cannot_be_brought_to_the_disk_is_an_error(path, monkeypatch, number):
    """After a failed sync a name may be gone with the next power cut: what rests on it must not go on."""

    def fails(_fd):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(files.os, "fsync", fails)
    with Root(path).folder() as folder, pytest.raises(OSError, match=os.strerror(number)):
        files.sync_folder(folder)


def test_a_new_folders_own_name_is_brought_to_the_disk(path, monkeypatch):
    synced, real = [], os.fsync

    def noted(fd):
        synced.append(str(Path(f"/proc/self/fd/{fd}").readlink()))
        real(fd)

    monkeypatch.setattr(files.os, "fsync", noted)
    Root(path).make_folders("day/scene")
    assert synced == [str(path), str(path / "day")]


@pytest.mark.parametrize("made", ["file", "linked file", "folder"])
def test_a_name_that_is_its_own_second_is_no_move_that_was_cut(path, made):
    (path / "shot").mkdir() if made == "folder" else (path / "shot").write_bytes(b"the only one")
    if made == "linked file":
        os.link(path / "shot", path / "other")
    assert not Root(path).finish_move("shot", "shot", trace="trace")
    assert (path / "shot").exists()


def test_on_a_disk_without_letter_case_a_twin_is_no_second_name(path, monkeypatch):
    (path / "Shot.mp4").write_bytes(b"the only one")
    root = Root(path)
    there = root.stat("Shot.mp4")
    monkeypatch.setattr(Root, "stat", lambda *_: there)
    assert not root.finish_move("Shot.mp4", "shot.mp4")
    assert (path / "Shot.mp4").exists()


def test_the_end_of_a_move_that_was_cut_is_brought_to_the_disk(path, monkeypatch):
    """Else the first name is back after a power cut, and its clip is found twice."""
    (path / "day").mkdir()
    (path / "shot.mp4").write_bytes(b"data")
    os.link(path / "shot.mp4", path / "day" / "shot.mp4")
    synced, real = [], os.fsync

    def noted(fd):
        synced.append((str(Path(f"/proc/self/fd/{fd}").readlink()), (path / "shot.mp4").exists()))
        real(fd)

    monkeypatch.setattr(files.os, "fsync", noted)
    assert Root(path).finish_move("shot.mp4", "day/shot.mp4")
    assert synced == [(str(path), False)]
