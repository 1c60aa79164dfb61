-- What every instance that delivers to a destination has to know of it: it outlives a process, and holds for all.

-- Who delivers to what, and since when: they divide what the destination may be sent.
ALTER TABLE worker ADD COLUMN destination TEXT NOT NULL DEFAULT '';
ALTER TABLE worker ADD COLUMN joined REAL NOT NULL DEFAULT 0;

-- What was learned of a destination from its answers. No row = all is well.
--   version  counts the changes: whoever decided upon an older one decides again
CREATE TABLE health (
    destination TEXT PRIMARY KEY,
    version INTEGER NOT NULL,
    at_once REAL NOT NULL,
    failures INTEGER NOT NULL,
    rests INTEGER NOT NULL,
    rest_until REAL NOT NULL,
    pauses INTEGER NOT NULL,
    paused_until REAL NOT NULL,
    told TEXT NOT NULL
) WITHOUT ROWID;

-- Whom the server forbade to write since it last permitted that operation to anybody.
CREATE TABLE forbidden (
    destination TEXT NOT NULL,
    operation TEXT NOT NULL,
    feed TEXT NOT NULL,
    source_key TEXT NOT NULL,
    PRIMARY KEY (destination, operation, feed, source_key)
) WITHOUT ROWID;

-- What was written outside of office hours, by the minute (Unix seconds / 60).
CREATE TABLE odd_hours (
    destination TEXT NOT NULL,
    minute INTEGER NOT NULL,
    changes INTEGER NOT NULL,
    PRIMARY KEY (destination, minute)
) WITHOUT ROWID;
