"""What the tier stands on: apt's own mirror, read when it runs."""

from ground.debian import mirror


def test_the_mirror_is_the_one_that_apt_uses():
    assert mirror().startswith(("http://", "https://", "file:", "mirror", "cdrom"))
