"""Does inside the machine what is asked of it, protocol by protocol, and writes down what came out."""

import json
import subprocess
import sys
import time
import traceback
from pathlib import Path

import farm
import scenes

HOST, SERVED = Path("/host"), Path("/srv/nas")
CLIENTS = "abc"
MOUNTS = {
    "nfs3": ("nfs", "vers=3,nolock,nosharecache", "127.0.0.1:/srv/nas"),
    "nfs42": ("nfs", "vers=4.2,nosharecache", "127.0.0.1:/"),
    "smb311": ("cifs", "guest,vers=3.1.1,nosharesock", "//127.0.0.1/nas"),
}


def mounted(protocol):
    kind, options, source = MOUNTS[protocol]
    for client in CLIENTS:
        command = ["mount", "-t", kind, "-o", options, source, f"/mnt/{client}"]
        for attempt in range(10):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode == 0:
                break
            time.sleep(1 + attempt)
        else:
            raise OSError(done.stderr)


def unmounted():
    for client in CLIENTS:
        subprocess.run(["umount", "-f", f"/mnt/{client}"], check=False)


def main():
    asked = json.loads((HOST / "asked.json").read_text())
    told = {"kernel": subprocess.check_output(["uname", "-r"], text=True).strip()}
    for protocol in asked["protocols"]:
        told[protocol] = found = {}
        try:
            mounted(protocol)
        except OSError as error:
            found["trouble"] = str(error)
            continue
        for name in asked["scenes"]:
            began = time.monotonic()
            try:
                scene = farm.kill_the_leader if name == "farm" else getattr(scenes, name)
                found[name] = scene(SERVED / f"{protocol}-{name}", f"{protocol}-{name}", asked)
            except BaseException:  # noqa: BLE001 - told to the one who asked
                found[name] = {"trouble": traceback.format_exc()}
            found[name]["seconds"] = round(time.monotonic() - began, 1)
            print(protocol, name, json.dumps(found[name]), flush=True)
            (HOST / "part.json").write_text(json.dumps(told))
        unmounted()
    (HOST / "told.json").write_text(json.dumps(told))


if __name__ == "__main__":
    sys.exit(main())
