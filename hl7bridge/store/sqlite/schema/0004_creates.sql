-- What was created, for a time: a search that lags behind proves no absence, and may show a second one later.

-- Who was written lately, by the keys of the delivery's lane.
--   resource_id  '' = a create was sent, and nobody knows whether it arrived
CREATE TABLE lately (
    key INTEGER NOT NULL,
    resource_type TEXT NOT NULL,
    resource_id TEXT NOT NULL,
    at REAL NOT NULL,
    PRIMARY KEY (key, resource_type, resource_id)
) WITHOUT ROWID;

CREATE INDEX lately_at ON lately (at);

-- What was created, until a search has found it, and no second one.
--   due    when it is looked for next
--   looks  how often a search has not found it
CREATE TABLE second_look (
    destination TEXT NOT NULL,
    resource_type TEXT NOT NULL,
    resource_id TEXT NOT NULL,
    person_id TEXT NOT NULL,
    feed TEXT NOT NULL,
    source_key TEXT NOT NULL,
    message_id INTEGER NOT NULL,
    delivery_id INTEGER NOT NULL,
    created REAL NOT NULL,
    due REAL NOT NULL,
    until REAL NOT NULL,
    looks INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (destination, resource_type, resource_id)
) WITHOUT ROWID;

CREATE INDEX second_look_due ON second_look (destination, due);

-- How long it took, lately, until a search found what was created. `at`: when it was measured.
CREATE TABLE index_lag (
    destination TEXT PRIMARY KEY,
    seconds REAL NOT NULL,
    longest REAL NOT NULL,
    at REAL NOT NULL,
    longest_at REAL NOT NULL
) WITHOUT ROWID;
