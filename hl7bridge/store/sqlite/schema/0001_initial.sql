-- The durable middle. Times are Unix seconds. `codec` 0 = plain; another codec (encryption, compression) names its key
-- in `key_id`. Numbers drawn from `counter` are drawn inside the transaction that uses them, so that their order is the
-- order of commit, whichever connection or process commits.

CREATE TABLE migration (
    number INTEGER PRIMARY KEY,
    name TEXT NOT NULL
);

CREATE TABLE counter (
    name TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) WITHOUT ROWID;

INSERT INTO counter (name, value) VALUES ('message', 0), ('delivery', 0), ('fence', 0);

-- link: what the message is to another one (`linked_to`). '' = the first of its control id, 'repeat' = taken although
-- the control id was seen within the window, 'duplicate' = answered like the other one, 'replay' = sent again by us.
CREATE TABLE message (
    id INTEGER PRIMARY KEY,
    received REAL NOT NULL,
    feed TEXT NOT NULL,
    state TEXT NOT NULL,
    sending_application TEXT NOT NULL,
    sending_facility TEXT NOT NULL,
    message_type TEXT NOT NULL,
    trigger_event TEXT NOT NULL,
    control_id TEXT NOT NULL,
    version TEXT NOT NULL,
    message_time TEXT NOT NULL,
    processing_id TEXT NOT NULL,
    other_header TEXT NOT NULL,
    digest BLOB NOT NULL,
    size INTEGER NOT NULL,
    records INTEGER NOT NULL,
    mapping_version TEXT NOT NULL,
    peer TEXT NOT NULL,
    note TEXT NOT NULL,
    link TEXT NOT NULL,
    linked_to INTEGER NOT NULL,
    same_content INTEGER NOT NULL
);

CREATE INDEX message_control_id ON message (control_id, feed, sending_application, sending_facility, link);
-- Empty unless a sender uses control ids again; then it finds the same bytes among many messages of one id.
CREATE INDEX message_repeat ON message (control_id, feed, digest) WHERE link = 'repeat';
CREATE INDEX message_state ON message (state);

-- Apart, so that no scan of messages or queues reads it, and so that retention can empty it alone.
CREATE TABLE body (
    message_id INTEGER PRIMARY KEY REFERENCES message (id),
    codec INTEGER NOT NULL,
    key_id TEXT NOT NULL,
    content BLOB NOT NULL
);

-- `codec` speaks of `echo` and `change`; findings hold no values of the message.
CREATE TABLE record (
    message_id INTEGER NOT NULL REFERENCES message (id),
    position INTEGER NOT NULL,
    source_key TEXT NOT NULL,
    failed INTEGER NOT NULL,
    findings TEXT NOT NULL,
    codec INTEGER NOT NULL,
    key_id TEXT NOT NULL,
    echo BLOB NOT NULL,
    change BLOB,
    PRIMARY KEY (message_id, position)
);

CREATE INDEX record_source_key ON record (source_key) WHERE source_key <> '';

CREATE TABLE acknowledgment (
    message_id INTEGER NOT NULL REFERENCES message (id),
    kind TEXT NOT NULL,
    state TEXT NOT NULL,
    code TEXT NOT NULL,
    positive INTEGER NOT NULL,
    due REAL NOT NULL,
    changed REAL NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (message_id, kind)
) WITHOUT ROWID;

CREATE INDEX acknowledgment_pending ON acknowledgment (message_id) WHERE state = 'pending';

-- One change for one destination.
--   place      its place in line: its own id, or a later number when it was scheduled and came due
--   lane       JSON list of its lane keys (hashes; see lanes.py)
--   head       1 = may be first in all its lanes; claiming looks at no other. 0 = is not. -1 = has not entered them yet
--   leaver     1 = its lane goes first
--   ambiguous  1 = an attempt may have reached the server without our learning the result
--   sent       1 = something was written at the server, or may have been
CREATE TABLE delivery (
    id INTEGER PRIMARY KEY,
    message_id INTEGER NOT NULL REFERENCES message (id),
    position INTEGER NOT NULL,
    destination TEXT NOT NULL,
    feed TEXT NOT NULL,
    source_key TEXT NOT NULL,
    action TEXT NOT NULL,
    state TEXT NOT NULL,
    place INTEGER NOT NULL,
    lane TEXT NOT NULL,
    head INTEGER NOT NULL,
    leaver INTEGER NOT NULL,
    order_time TEXT NOT NULL,
    force INTEGER NOT NULL,
    not_before REAL NOT NULL,
    next_attempt REAL NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0,
    ambiguous INTEGER NOT NULL DEFAULT 0,
    sent INTEGER NOT NULL DEFAULT 0,
    owner TEXT NOT NULL DEFAULT '',
    fence INTEGER NOT NULL DEFAULT 0,
    result TEXT NOT NULL DEFAULT '',
    code TEXT NOT NULL DEFAULT '',
    local TEXT NOT NULL DEFAULT '',
    text TEXT NOT NULL DEFAULT '',
    http_status INTEGER NOT NULL DEFAULT 0,
    person_id TEXT NOT NULL DEFAULT '',
    version TEXT NOT NULL DEFAULT '',
    ended REAL NOT NULL DEFAULT 0,
    UNIQUE (message_id, position, destination)
);

CREATE INDEX delivery_new ON delivery (destination, place) WHERE head = -1 AND state = 'queued';
CREATE INDEX delivery_ready ON delivery (destination, leaver, place) WHERE head = 1 AND state = 'queued';
CREATE INDEX delivery_waiting ON delivery (destination, leaver, next_attempt, place)
    WHERE head = 1 AND state IN ('retry', 'unknown');
CREATE INDEX delivery_claimed ON delivery (destination, owner) WHERE state = 'claimed';
CREATE INDEX delivery_due ON delivery (destination, not_before, id) WHERE state = 'scheduled';
CREATE INDEX delivery_scheduled ON delivery (source_key, feed, destination) WHERE state = 'scheduled';
CREATE INDEX delivery_held ON delivery (source_key, feed, destination) WHERE state = 'held';
CREATE INDEX delivery_state ON delivery (destination, state, result);

-- Who stands in which lane: a row for each key of a delivery, from when it is lined up until it ends or is held.
CREATE TABLE lane (
    key INTEGER NOT NULL,
    place INTEGER NOT NULL,
    delivery_id INTEGER NOT NULL,
    PRIMARY KEY (key, place)
) WITHOUT ROWID;

-- Live claims. The key is unique: nobody is handed out twice at once.
CREATE TABLE claim (
    key INTEGER PRIMARY KEY,
    delivery_id INTEGER NOT NULL,
    owner TEXT NOT NULL,
    fence INTEGER NOT NULL
);

CREATE TABLE worker (
    owner TEXT PRIMARY KEY,
    expiry REAL NOT NULL
) WITHOUT ROWID;

-- What an attempt planned and did. `codec` speaks of `interactions` (JSON with before and after).
CREATE TABLE attempt (
    delivery_id INTEGER NOT NULL REFERENCES delivery (id),
    number INTEGER NOT NULL,
    at REAL NOT NULL,
    result TEXT NOT NULL,
    local TEXT NOT NULL,
    http_status INTEGER NOT NULL,
    exchanges TEXT NOT NULL,
    warnings TEXT NOT NULL,
    codec INTEGER NOT NULL,
    key_id TEXT NOT NULL,
    interactions BLOB NOT NULL,
    PRIMARY KEY (delivery_id, number)
);

-- Per person as a feed names them: the Practitioner at the destination, and the latest order_time that was applied.
CREATE TABLE crosswalk (
    destination TEXT NOT NULL,
    feed TEXT NOT NULL,
    source_key TEXT NOT NULL,
    person_id TEXT NOT NULL,
    order_time TEXT NOT NULL,
    changed REAL NOT NULL,
    PRIMARY KEY (destination, feed, source_key)
) WITHOUT ROWID;

-- The base of the next three-way merge: what a feed stands for on a resource.
CREATE TABLE feed_write (
    destination TEXT NOT NULL,
    resource_type TEXT NOT NULL,
    resource_id TEXT NOT NULL,
    feed TEXT NOT NULL,
    source_key TEXT NOT NULL,
    role_key TEXT NOT NULL,
    origin TEXT NOT NULL,
    holds_active INTEGER NOT NULL,
    version TEXT NOT NULL,
    changed REAL NOT NULL,
    codec INTEGER NOT NULL,
    key_id TEXT NOT NULL,
    content BLOB NOT NULL,
    PRIMARY KEY (destination, resource_type, resource_id, feed, source_key, role_key)
);

CREATE INDEX feed_write_own ON feed_write (destination, feed, source_key);

-- until 0 = until a person resumes it.
CREATE TABLE pause (
    destination TEXT PRIMARY KEY,
    reason TEXT NOT NULL,
    since REAL NOT NULL,
    until REAL NOT NULL
) WITHOUT ROWID;

CREATE TABLE task (
    id INTEGER PRIMARY KEY,
    opened REAL NOT NULL,
    kind TEXT NOT NULL,
    title TEXT NOT NULL,
    steps TEXT NOT NULL,
    feed TEXT NOT NULL,
    source_key TEXT NOT NULL,
    destination TEXT NOT NULL,
    message_id INTEGER NOT NULL,
    delivery_id INTEGER NOT NULL,
    state TEXT NOT NULL
);

CREATE INDEX task_message ON task (message_id);
CREATE INDEX task_open ON task (opened) WHERE state = 'open';

-- Written in the transaction of the state that it explains. message_id or delivery_id 0 = not about one.
CREATE TABLE history (
    id INTEGER PRIMARY KEY,
    at REAL NOT NULL,
    message_id INTEGER NOT NULL,
    delivery_id INTEGER NOT NULL,
    event TEXT NOT NULL,
    detail TEXT NOT NULL
);

CREATE INDEX history_message ON history (message_id);

CREATE TABLE secret (
    name TEXT PRIMARY KEY,
    value BLOB NOT NULL
);
