"""Several nodes of a farm over one bay: each the real command, with one journal in PostgreSQL."""

import os
import time

import postgres
from journeys.bay import beside

CONFORMS = "[models.gen4_aleph]\nside_pixels_max = 120\n"
"""Every clip has to be made smaller before it is sent."""


def move_to_postgres(bay):
    """Keep the bay's journal in a schema of its own in the session's server."""
    bay.move_to(postgres.shared(), f"farm_{os.getpid()}_{time.monotonic_ns()}")


def node(bay, name, *, farm="", top=CONFORMS, **places):
    """Make a node of the farm: its own name, state and log; folders and journal are the bay's."""
    one = beside(bay, name)
    one.home = bay.home
    one.configure(top=f'[farm]\nnode = "{name}"\nlease_seconds = 5.0\n{farm}\n{top}', **places)
    return one


def begin(one, event):
    """Start a node, and wait until it leads (`started`) or follows (`follows`)."""
    one.start(wait=False)
    one.until(lambda: one.events(event), 20, f"it {event}")
    return one


def prepared_by(bay):
    """Give by job who prepared it: empty for the node that led."""
    rows = bay.query("SELECT job_id, facts::json ->> 'node' AS node FROM events WHERE event = 'prepared'")
    return {row["job_id"]: row["node"] or "" for row in rows}
