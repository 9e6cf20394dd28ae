"""Several machines on one journal: which nodes there are, which one leads, and orders from one to another.

One row says who leads, with an epoch and until when, by the database's clock (`lease`, `membership`). The
node that leads runs the scheduler; its every transaction begins with that row. The others follow, and work.
"""
