-- Statements of the farm, by name. Only the database's clock counts: nodes' clocks may be wrong.

-- --- who leads -------------------------------------------------------------------------------------------

-- name: fence
-- The first statement of each transaction of the leader. FOR SHARE: there is no take-over before that transaction has
-- ended, and one that came first is seen here.
SELECT 1 FROM leader
WHERE node = %(node)s AND epoch = %(epoch)s AND until > clock_timestamp() + make_interval(secs => %(spare)s)
FOR SHARE;

-- name: take_over
-- One statement, so one transaction: of two nodes that try, one finds the row locked, or another epoch in it. A
-- transaction of the leader that has begun is not waited for here, but passed over until the next heartbeat.
UPDATE leader SET node = %(node)s, epoch = epoch + 1, until = now() + make_interval(secs => %(seconds)s),
    place = %(place)s, heir = '', taken_at = now(),
    lost = CASE WHEN node = '' OR place = %(place)s THEN lost ELSE node END,
    lost_at = CASE WHEN node = '' OR place = %(place)s THEN lost_at ELSE now() END
WHERE id IN (SELECT id FROM leader FOR UPDATE SKIP LOCKED)
    AND epoch = %(epoch)s AND (node = '' OR place = %(place)s OR until < now())
RETURNING epoch, lost, extract(epoch FROM now() - lost_at)::float8 AS lost_seconds,
    extract(epoch FROM now())::float8 AS at;

-- name: end_transactions_of_former_leader
-- A process that froze between two messages of one step has no timeout of the server running against it, and would
-- keep the row for as long as it is frozen. Whoever still has it FOR SHARE now began before the lease ran out.
-- A copy of a database (CREATE DATABASE ... TEMPLATE) has its tables under the same numbers.
SELECT pg_terminate_backend(pid) FROM pg_locks
WHERE locktype = 'relation' AND relation = 'leader'::regclass AND mode = 'RowShareLock' AND pid <> pg_backend_pid()
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND EXISTS (
        SELECT 1 FROM leader
        WHERE epoch = %(epoch)s AND until < now() - make_interval(secs => %(seconds)s)
    );

-- name: release
UPDATE leader SET node = '', place = '', until = now(), heir = %(heir)s
WHERE node = %(node)s AND epoch = %(epoch)s;


-- --- nodes -----------------------------------------------------------------------------------------------

-- name: register
-- The same process that begins again (its number and place are the same) stays drained.
INSERT INTO nodes AS known (name, instance, place, host, pid, version, stages, has_page, lease_seconds)
VALUES (%(name)s, %(instance)s, %(place)s, %(host)s, %(pid)s, %(version)s, %(stages)s, %(has_page)s, %(seconds)s)
ON CONFLICT (name) DO UPDATE SET instance = excluded.instance, place = excluded.place, host = excluded.host,
    pid = excluded.pid, version = excluded.version, stages = excluded.stages, has_page = excluded.has_page,
    lease_seconds = excluded.lease_seconds, begun_at = now(), seen_at = now(), stopped_at = NULL, sees = '[]',
    is_drained = known.is_drained AND known.place = excluded.place AND known.pid = excluded.pid;

-- name: beat
-- One statement for what a node does most of the time: it enters itself, renews the lease of that epoch if it has it,
-- and looks who leads and whether orders wait. A node whose name another one has taken renews nothing.
WITH beaten AS (
    UPDATE nodes SET seen_at = now(), sees = %(sees)s, doing = %(doing)s
    WHERE name = %(name)s AND instance = %(instance)s
    RETURNING is_drained
), renewed AS (
    UPDATE leader SET until = now() + make_interval(secs => %(seconds)s)
    FROM beaten WHERE node = %(name)s AND epoch = %(epoch)s AND until > now()
    RETURNING epoch
)
SELECT beaten.is_drained, renewed.epoch IS NOT NULL AS is_renewed,
    leader.node, leader.epoch, leader.place, leader.heir,
    extract(epoch FROM leader.until - clock_timestamp())::float8 AS left_seconds,
    EXISTS (
        SELECT 1 FROM orders WHERE answered_at IS NULL AND (taken_by IS NULL OR taken_by < leader.epoch)
    ) AS has_orders,
    EXISTS (SELECT 1 FROM nodes WHERE nodes.name = leader.node AND nodes.is_drained) AS is_handed_over,
    extract(epoch FROM now())::float8 AS at
FROM leader LEFT JOIN beaten ON true LEFT JOIN renewed ON true;

-- name: namesake
SELECT instance, place, host, pid FROM nodes WHERE name = %(name)s;

-- name: stop
UPDATE nodes SET stopped_at = now(), doing = '' WHERE name = %(name)s AND instance = %(instance)s;

-- name: nodes
SELECT nodes.*, leader.epoch, (leader.node = nodes.name AND leader.until > now()) AS leads,
    extract(epoch FROM clock_timestamp() - nodes.seen_at)::float8 AS silent_seconds,
    extract(epoch FROM nodes.seen_at)::float8 AS seen_at_unix,
    extract(epoch FROM nodes.begun_at)::float8 AS begun_at_unix
FROM nodes, leader ORDER BY nodes.name;

-- name: drain
-- The leader listens for orders, and its heartbeat looks at once.
WITH changed AS (UPDATE nodes SET is_drained = %(is_drained)s WHERE name = %(name)s RETURNING name)
SELECT pg_notify('clipspool_orders', '') FROM changed;

-- name: forget_nodes
DELETE FROM nodes WHERE seen_at < now() - interval '30 days';


-- --- orders ----------------------------------------------------------------------------------------------

-- name: give_order
INSERT INTO orders (node, command, arguments) VALUES (%(node)s, %(command)s, %(arguments)s) RETURNING id;

-- name: take_orders
-- An order is taken once: what became of one whose leader ended is looked at by a person, and never tried again. No
-- order is both too old and taken.
WITH expired AS (
    UPDATE orders SET answered_at = now(), trouble = CASE WHEN taken_by IS NULL THEN %(late)s ELSE %(lost)s END
    WHERE answered_at IS NULL
        AND (taken_by < %(epoch)s OR (taken_by IS NULL AND at <= now() - make_interval(secs => %(old)s)))
)
UPDATE orders SET taken_by = %(epoch)s
WHERE taken_by IS NULL AND answered_at IS NULL AND at > now() - make_interval(secs => %(old)s)
RETURNING id, node, command, arguments;

-- name: answer_order
UPDATE orders SET answered_at = now(), answer = %(answer)s, trouble = %(trouble)s
WHERE id = %(id)s AND answered_at IS NULL;

-- name: look_at_order
SELECT answered_at IS NOT NULL AS is_answered, answer, trouble, taken_by FROM orders WHERE id = %(id)s;

-- name: withdraw_order
UPDATE orders SET answered_at = now(), trouble = 'withdrawn'
WHERE id = %(id)s AND taken_by IS NULL AND answered_at IS NULL RETURNING id;

-- name: forget_orders
DELETE FROM orders WHERE at < now() - interval '1 day';


-- --- what only the leader knows ------------------------------------------------------------------------------

-- name: keep_snapshot
INSERT INTO snapshot (id, epoch, body) VALUES (1, %(epoch)s, %(body)s)
ON CONFLICT (id) DO UPDATE SET epoch = excluded.epoch, body = excluded.body, at = now()
WHERE snapshot.epoch <= excluded.epoch;

-- name: snapshot
SELECT body, extract(epoch FROM now() - at)::float8 AS age_seconds FROM snapshot;
