"""The commands: they parse, call and print, nothing else.

`group` holds what all share; `setup` is init and check, `daemon` run and recover, `look` status, jobs and
show, `logs` a job's history, `act` the orders that change jobs, `again` those about versions, `upkeep` prune,
backup and restore, `service` the systemd service (`installing/` does the work), `farm` and `importing` what
several machines share, `sandbox` the demo and the sandbox. Each is loaded when it is called, and imports what
it needs then: `--help` is quick.
"""

from clipspool.cli.group import clipspool, main

__all__ = ["clipspool", "main"]
