-- Several nodes on one journal: who leads, who is there, orders from one to another, and what the leader knows.

CREATE TABLE leader (
    id INTEGER PRIMARY KEY DEFAULT 1 CHECK (id = 1),
    node TEXT NOT NULL DEFAULT '',  -- empty: nobody, it was given back
    epoch BIGINT NOT NULL DEFAULT 0,
    until TIMESTAMPTZ NOT NULL DEFAULT 'epoch',
    place TEXT NOT NULL DEFAULT '',  -- boot and lock file of the holder: whoever has that lock knows that it ended
    lost TEXT NOT NULL DEFAULT '',  -- the last node that lost it: it may be frozen with a request in its hands
    lost_at TIMESTAMPTZ NOT NULL DEFAULT 'epoch',
    heir TEXT NOT NULL DEFAULT '',  -- who may take it first after it was given back
    taken_at TIMESTAMPTZ
);
INSERT INTO leader DEFAULT VALUES;

CREATE TABLE nodes (
    name TEXT PRIMARY KEY,
    instance TEXT NOT NULL,  -- one a process
    place TEXT NOT NULL,
    host TEXT NOT NULL,
    pid BIGINT NOT NULL,
    version TEXT NOT NULL,
    stages JSONB NOT NULL,
    lease_seconds DOUBLE PRECISION NOT NULL,
    sees JSONB NOT NULL DEFAULT '[]',  -- inboxes that it can reach
    doing TEXT NOT NULL DEFAULT '',
    begun_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    seen_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    stopped_at TIMESTAMPTZ,
    is_drained BOOLEAN NOT NULL DEFAULT false
);

CREATE TABLE orders (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at TIMESTAMPTZ NOT NULL DEFAULT now(),
    node TEXT NOT NULL,
    command TEXT NOT NULL,
    arguments JSONB NOT NULL,
    taken_by BIGINT,  -- the epoch of the leader that took it
    answered_at TIMESTAMPTZ,
    answer JSONB,
    trouble TEXT
);
CREATE INDEX orders_open ON orders (id) WHERE answered_at IS NULL;

CREATE TABLE snapshot (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    at TIMESTAMPTZ NOT NULL DEFAULT now(),
    epoch BIGINT NOT NULL,
    body JSONB NOT NULL
);

UPDATE journal_schema SET number = '0006';
