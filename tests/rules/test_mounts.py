"""Reading mountinfo, whatever stands in it."""

import pytest

from clipspool.system import mounts as system_mounts
from clipspool.system.mounts import MountKind, missing_proc, mount_of, parse

TEXT = rb"""22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda1 rw,discard
40 27 0:50 /vol1 /mnt/nas rw,relatime shared:2 master:9 - nfs4 nas:/vol1 rw,vers=4.2
41 27 254:0 /srv/inbox /mnt/bind\040me rw - ext4 /dev/vda1 rw
42 27 0:51 / /mnt/share ro - cifs //nas/share rw
43 40 0:52 / /mnt/nas/deep rw - tmpfs tmpfs rw
44 27 0:53 / /mnt/fuse rw - fuse.sshfs me@host: rw
45 27 0:54 / /mnt/odd\134name\012x rw - fuse.myown thing rw
46 27 0:55 / /mnt/share rw - xfs /dev/sdb1 rw
"""


def test_each_line_becomes_a_mount():
    mounts = parse(TEXT)
    assert len(mounts) == 9
    nas = mounts[2]
    assert (nas.id, nas.device, nas.root, nas.point, nas.type, nas.source) == (
        40, "0:50", "/vol1", "/mnt/nas", "nfs4", "nas:/vol1",
    )  # fmt: skip
    assert mounts[4].is_read_only
    assert not nas.is_read_only


def test_octal_escapes_are_undone():
    points = [mount.point for mount in parse(TEXT)]
    assert "/mnt/bind me" in points
    assert "/mnt/odd\\name\nx" in points


@pytest.mark.parametrize(
    ("path", "kind", "type_"),
    [
        ("/", MountKind.LOCAL, "ext4"),
        ("/mnt/nasty", MountKind.LOCAL, "ext4"),
        ("/mnt/nas", MountKind.NETWORK, "nfs4"),
        ("/mnt/nas/bay", MountKind.NETWORK, "nfs4"),
        ("/mnt/nas/deep/er", MountKind.LOCAL, "tmpfs"),
        ("/mnt/fuse/x", MountKind.NETWORK, "fuse.sshfs"),
        ("/mnt/odd\\name\nx/y", MountKind.UNKNOWN, "fuse.myown"),
        ("/mnt/share/a", MountKind.LOCAL, "xfs"),
    ],
)
def test_a_path_lies_on_the_longest_and_latest_mount(path, kind, type_):
    mount = mount_of(path, parse(TEXT))
    assert (mount.kind, mount.type) == (kind, type_)


@pytest.mark.parametrize(
    "text", [b"", b"\n\n", b"x - y", b"1 2 3 4 5 6", b"\xff\xfe - \xff", b"a b c d e f - g h i"]
)
def test_what_is_no_mountinfo_gives_no_mounts(text):
    assert parse(text) == ()
    assert mount_of("/x", ()) is None


@pytest.mark.parametrize(
    "type_", ["cifs", "smb3", "9p", "ceph", "fuse.rclone", "virtiofs", "glusterfs", "nfs"]
)
def test_what_other_machines_write_to_is_a_network(type_):
    assert parse(b"1 1 0:1 / /x rw - " + type_.encode() + b" src rw")[0].kind is MountKind.NETWORK


def test_a_bare_chroot_is_sent_to_mount_proc(monkeypatch, tmp_path):
    assert missing_proc() == ""
    monkeypatch.setattr(system_mounts, "Path", lambda _path: tmp_path / "proc")
    assert missing_proc() == "/proc is not mounted, and clipspool needs it: mount -t proc proc /proc"
