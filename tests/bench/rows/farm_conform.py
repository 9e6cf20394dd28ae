"""24 ProRes clips to make fit, on one node and on three, each node held to the same share of a core."""

import shutil
import subprocess
from functools import partial

from bench import clips, table
from bench.farm import farm, held_to_a_share
from bench.provider import provide
from bench.tools import until

COUNT = 24
SECONDS = 4
SMALLER = "[models.gen4_aleph]\nside_pixels_max = 640\n"
GOAL = 0.4
ONE, THREE = "one node", "three nodes"


def measure(kit):
    master = kit.home / "master.mov"
    command = ["ffmpeg", "-v", "error", "-nostdin", "-y", "-f", "lavfi"]
    command += [
        "-i",
        f"testsrc2=s=1280x720:r=25:d={SECONDS}",
        "-c:v",
        "prores",
        "-profile:v",
        "0",
        str(master),
    ]
    subprocess.run(command, check=True)
    kinds = {ONE: partial(race, kit, master, 1), THREE: partial(race, kit, master, 3)}
    found = kit.compare(kinds, f"{COUNT} clips", usual=1)
    row = f"{COUNT} ProRes clips of {SECONDS} s made to fit, on three nodes"
    three, one = found[THREE]["seconds"], found[ONE]["seconds"]
    return [table.at_most(row, "all are sent", three, "s", one, ONE, GOAL)]


def race(kit, master, count, _repeat):
    """Drop all clips at once, and give the seconds until the last of them is sent."""
    result = clips.write_film(kit.home / "result.mp4", 250_000)
    with (
        provide(result, "--seconds", 0.5) as provider,
        farm(kit, provider, count, top=SMALLER) as (bay, _, nodes),
        held_to_a_share(nodes, most=3),
    ):
        made = []
        (bay.home / "made").mkdir()
        for number in range(COUNT):
            path = bay.home / f"made/clip{number:05}.mov"
            shutil.copyfile(master, path)
            with path.open("ab") as file:
                file.write(b"\0\0\0\x10free" + f"{number:08}".encode())
            path.with_suffix(".toml").write_text(f'prompt = "deep winter {number}"\n')
            made.append(path)
        dropped = clips.drop(made, bay.inbox)
        until(lambda: len(provider.creates()) >= COUNT, 900, f"{COUNT} clips are sent", pause=0.5)
        shares = {f"by {node.name}": len(node.events("stage_begun")) for node in nodes[1:]}
        return shares | {
            "seconds": max(one["begun_at"] for one in provider.creates()) - min(dropped.values())
        }
