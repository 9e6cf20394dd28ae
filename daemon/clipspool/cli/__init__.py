"""The commands: they parse, call and print, nothing else.

`group` holds what all share; `setup` is init and check, `daemon` run and recover, `look` status, jobs and
show, `logs` a job's history, `act` the orders that change jobs, `again` those about versions, `house` what is
removed and copied, `service` the systemd service (`installing/` does the work), `sandbox` the demo and the
sandbox. Each imports what it needs when called: `--help` is quick.
"""

from clipspool.cli import act, again, daemon, house, logs, look, service, setup
from clipspool.cli import sandbox as play
from clipspool.cli.group import clipspool, main

__all__ = ["act", "again", "clipspool", "daemon", "house", "logs", "look", "main", "play", "service", "setup"]
