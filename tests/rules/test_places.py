"""What the editors' machines call our folders."""

import pytest

from clipspool.jobs.path_map import AS_THEY_ARE, Places

WINDOWS = Places({"/mnt/nas": "N:\\", "/mnt/nas/bay-1": "Z:\\bay-1"})
MAC = Places({"/srv/clips/": "/Volumes/clips"})


@pytest.mark.parametrize(
    ("places", "here", "there"),
    [
        (WINDOWS, "/mnt/nas/bay-1/day 2/shot.mp4", "Z:\\bay-1\\day 2\\shot.mp4"),
        (WINDOWS, "/mnt/nas/bay-1", "Z:\\bay-1"),
        (WINDOWS, "/mnt/nas/bay-10/shot.mp4", "N:\\bay-10\\shot.mp4"),
        (WINDOWS, "/mnt/nas2/shot.mp4", "/mnt/nas2/shot.mp4"),
        (WINDOWS, "day/shot.mp4", "day/shot.mp4"),
        (MAC, "/srv/clips/a/b.mp4", "/Volumes/clips/a/b.mp4"),
        (AS_THEY_ARE, "/srv/clips/a", "/srv/clips/a"),
    ],
)
def test_a_path_is_called_by_the_longest_folder_that_holds_it(places, here, there):
    assert places.path(here) == there


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("/mnt/nas/bay-1 cannot be opened: gone", "Z:\\bay-1 cannot be opened: gone"),
        ("No space left on device: /mnt/nas/bay-1/a/b.mp4", "No space left on device: Z:\\bay-1\\a\\b.mp4"),
        ("names `/mnt/nas/bay-1/a.png`, which is gone", "names `Z:\\bay-1\\a.png`, which is gone"),
        ("/mnt/nas/bay-1, /mnt/nas/x", "Z:\\bay-1, N:\\x"),
        ("/mnt/nas/bay-100", "N:\\bay-100"),
        ("/x/mnt/nas/bay-1", "/x/mnt/nas/bay-1"),
        ("/mnt/nas.old/a", "/mnt/nas.old/a"),
        ("1/2 of it", "1/2 of it"),
    ],
)
def test_paths_in_a_message_are_called_as_the_editors_know_them(message, told):
    assert WINDOWS.text(message) == told


def test_without_a_map_a_message_stays_as_it_is():
    assert AS_THEY_ARE.text("/mnt/nas/bay-1 is gone") == "/mnt/nas/bay-1 is gone"
