"""Where a reference leads, however the machine of an editor spells it: into the inbox, or nowhere."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from clipspool.intake.sidecar.layers import Wanted
from clipspool.intake.sidecar.references import trouble_with
from clipspool.jobs.path_map import Places

HOME = "/mnt/nas/bay"
PLACES = Places(
    {
        "/mnt/nas/bay": "Z:\\bay",
        "/mnt/nas": r"\\nas\share",
        "/mnt/nas/bay/refs": "R:\\",
        "/mnt/nas/": "/Volumes/share",
        "/mnt": "smb://nas/all",
    }
)


def leads_to(entry, places=PLACES):
    assert trouble_with(entry) is None
    return Wanted(entry, "day1", "day1/shot.toml").paths(places, HOME)


@pytest.mark.parametrize(
    "entry",
    [
        r"Z:\bay\refs\look.jpg",
        r"z:\BAY\refs\look.jpg",
        r"Z:\\bay\\refs\\look.jpg",
        "Z:/bay/refs/look.jpg",
        r"\\nas\share\bay\refs\look.jpg",
        r"\\NAS\Share\bay\refs\look.jpg",
        "//nas/share/bay/refs/look.jpg",
        r"\\?\Z:\bay\refs\look.jpg",
        r"\\?\UNC\nas\share\bay\refs\look.jpg",
        "R:\\look.jpg",
        "/Volumes/share/bay/refs/look.jpg",
        "/volumes/Share/bay/refs/look.jpg",
        "file:///Z:/bay/refs/look.jpg",
        "file://nas/share/bay/refs/look.jpg",
        "file:////nas/share/bay/refs/look.jpg",
        "file:///Volumes/share/bay/refs/look.jpg",
        "smb://editor@nas/share/bay/refs/look.jpg",
        "smb://nas/all/nas/bay/refs/look.jpg",
    ],
)
def test_a_path_that_the_map_leads_into_the_inbox_is_inside_it(entry):
    assert leads_to(entry) == ("refs/look.jpg",)


@pytest.mark.parametrize(
    ("entry", "found"),
    [
        (r"refs\look.jpg", ("day1/refs/look.jpg", "refs/look.jpg")),
        (r"refs\\look.jpg", ("day1/refs/look.jpg", "refs/look.jpg")),
        (r"refs\mixed/look.jpg", ("day1/refs/mixed/look.jpg", "refs/mixed/look.jpg")),
    ],
)
def test_a_backslash_counts_as_a_slash(entry, found):
    assert leads_to(entry) == found


def test_codes_of_an_address_are_tried_after_the_name_as_it_is_written():
    assert leads_to("my%20look.jpg") == (
        "day1/my%20look.jpg",
        "my%20look.jpg",
        "day1/my look.jpg",
        "my look.jpg",
    )
    assert leads_to("file:///Z:/bay/my%20look.jpg") == ("my look.jpg",)


@pytest.mark.parametrize(
    "entry",
    [
        r"Z:\other\look.jpg",
        r"Z:\bay-2\look.jpg",
        r"C:\bay\look.jpg",
        r"\\nas\share\other\look.jpg",
        r"\\nas2\share\bay\look.jpg",
        r"\look.jpg",
        "/mnt/nas/bay/look.jpg",
        "/etc/passwd.png",
        "file:///etc/a.png",
        r"Z:\bay\_done\look.jpg",
        r"Z:\bay\.clipspool\work\look.jpg",
        "/Volumes/share/bay2/look.jpg",
    ],
)
def test_an_absolute_path_that_leads_elsewhere_has_no_place(entry):
    assert leads_to(entry) == ()


def test_without_a_map_no_absolute_path_has_a_place():
    assert leads_to(r"Z:\bay\look.jpg", Places()) == ()


STEPS = ["..", ".", "/", "\\", "//", "///", "%2e", "%2f", "%5c", "%00", "%", "_done", ".clipspool", " ", "é"]
TOPS = [
    "Z:",
    "z:/bay",
    "nas",
    "share",
    "bay",
    "R:",
    "/Volumes/share",
    "file:",
    "smb:",
    "localhost",
    "?",
    "UNC",
]
PIECES = st.sampled_from([*STEPS, *TOPS, "a.png"])
ENTRIES = st.lists(PIECES, max_size=12).map("".join) | st.text(max_size=40)


@given(ENTRIES, st.sampled_from(["", "day1", "day1/b"]))
@example("Z:/bay/%2e%2e/a.png", "")
@example("R:\\..\\..\\a.png", "day1")
@example("%2fetc%2fpasswd", "")
def test_nothing_ever_leads_outside_the_inbox(entry, folder):
    trouble_with(entry)
    for path in Wanted(entry, folder, "").paths(PLACES, HOME):
        assert not path.startswith(("/", ".", "_"))
        assert all(part not in {"", ".", ".."} for part in path.split("/"))
