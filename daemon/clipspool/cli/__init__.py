"""The commands: they parse, call and print, nothing else.

`group` holds what all share; `setup` is init and check, `daemon` run and recover, `look` status, jobs and
show, `logs` a job's history, `act` the orders that change jobs, `again` those about versions, `house` what is
removed and copied, `service` the systemd service (`installing/` does the work), `farm` and `importing` what
several machines share, `sandbox` the demo and the sandbox. Each imports what it needs when called:
`--help` is quick.
"""

from clipspool.cli import act, again, daemon, farm, house, importing, logs, look, service, setup
from clipspool.cli import sandbox as play
from clipspool.cli.group import clipspool, main

__all__ = [
    "act",
    "again",
    "clipspool",
    "daemon",
    "farm",
    "house",
    "importing",
    "logs",
    "look",
    "main",
    "play",
    "service",
    "setup",
]
