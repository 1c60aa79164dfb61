-- What people decide about deliveries, destinations and tasks; how many persons were ended, for the brake.

-- A held delivery that a person released.
--   place    its place in line before: what is younger is told by it
--   change   the record translated again, NULL = it goes as it was stored; `codec` speaks of it
CREATE TABLE released (
    delivery_id INTEGER PRIMARY KEY REFERENCES delivery (id),
    at REAL NOT NULL,
    who TEXT NOT NULL,
    reason TEXT NOT NULL,
    place INTEGER NOT NULL,
    codec INTEGER NOT NULL,
    key_id TEXT NOT NULL,
    change BLOB
);

-- Deliveries that were let through to end a person, by when they were last; written before the request leaves.
CREATE TABLE ending (
    delivery_id INTEGER PRIMARY KEY,
    destination TEXT NOT NULL,
    message_id INTEGER NOT NULL,
    at REAL NOT NULL
);

CREATE INDEX ending_recent ON ending (destination, at);
CREATE INDEX ending_message ON ending (message_id, destination);

-- When people were last told of something that would otherwise be told again and again.
CREATE TABLE alert (
    destination TEXT NOT NULL,
    kind TEXT NOT NULL,
    at REAL NOT NULL,
    PRIMARY KEY (destination, kind)
) WITHOUT ROWID;

ALTER TABLE pause ADD COLUMN who TEXT NOT NULL DEFAULT '';
ALTER TABLE pause ADD COLUMN note TEXT NOT NULL DEFAULT '';

-- due: Unix seconds, 0 = none. closed: when a person, or what came later, ended the task.
ALTER TABLE task ADD COLUMN due REAL NOT NULL DEFAULT 0;
ALTER TABLE task ADD COLUMN closed REAL NOT NULL DEFAULT 0;
ALTER TABLE task ADD COLUMN closed_by TEXT NOT NULL DEFAULT '';
ALTER TABLE task ADD COLUMN evidence TEXT NOT NULL DEFAULT '';

UPDATE task SET due = opened + 900 WHERE kind = 'leaver-access' AND state = 'open';

CREATE INDEX task_delivery ON task (delivery_id) WHERE state = 'open';
