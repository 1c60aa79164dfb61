-- What operating needs beside delivering: modes and going live, identity decisions, restores, tasks that verify
-- themselves, reconciliation, known practitioners of ADT, codes without a mapping.

-- Identity. link: '' = the identifiers say whom a record is about, 'linked' = a person does, 'forced' = a person does,
-- whatever name and birth date say.
ALTER TABLE crosswalk ADD COLUMN link TEXT NOT NULL DEFAULT '';

-- Restores. What each write found and left at the server, and the feed's base until then: zlib-compressed JSON, before
-- `codec` is applied. Goes when the body of its message goes.
CREATE TABLE image (
    delivery_id INTEGER NOT NULL REFERENCES delivery (id),
    attempt INTEGER NOT NULL,
    number INTEGER NOT NULL,
    at REAL NOT NULL,
    resource_type TEXT NOT NULL,
    resource_id TEXT NOT NULL,
    codec INTEGER NOT NULL,
    key_id TEXT NOT NULL,
    content BLOB NOT NULL,
    PRIMARY KEY (delivery_id, attempt, number)
);

-- A delivery that a person had taken back, or wants to. state: waiting (for approval by somebody else), applied, rejected.
-- elements: JSON, "resource type/id/element" of what was brought back; undone: when a later message changed it again.
CREATE TABLE restore (
    id INTEGER PRIMARY KEY,
    delivery_id INTEGER NOT NULL REFERENCES delivery (id),
    message_id INTEGER NOT NULL,
    destination TEXT NOT NULL,
    feed TEXT NOT NULL,
    source_key TEXT NOT NULL,
    state TEXT NOT NULL,
    asked REAL NOT NULL,
    who TEXT NOT NULL,
    reason TEXT NOT NULL,
    decided REAL NOT NULL DEFAULT 0,
    decided_by TEXT NOT NULL DEFAULT '',
    elements TEXT NOT NULL DEFAULT '',
    undone REAL NOT NULL DEFAULT 0
);

CREATE INDEX restore_person ON restore (source_key, feed, destination) WHERE state = 'applied' AND undone = 0;
CREATE INDEX restore_delivery ON restore (delivery_id);

-- Tasks whose steps are closed one by one, by a person or by what a read of the server shows.
--   owner       who is to do it: a team, or a person
--   told        how often people were told that it is overdue
--   by_facts    1 = what reads show closes the task, whatever else is open
ALTER TABLE task ADD COLUMN owner TEXT NOT NULL DEFAULT '';
ALTER TABLE task ADD COLUMN told INTEGER NOT NULL DEFAULT 0;
ALTER TABLE task ADD COLUMN by_facts INTEGER NOT NULL DEFAULT 0;

CREATE INDEX task_person ON task (destination, feed, source_key);
CREATE INDEX task_due ON task (destination, due) WHERE state = 'open' AND due > 0;

-- Of the steps of a task (lines of `task.steps`, numbered from 1), those that are closed, or that a read may close.
--   fact   what a read must show; '' = a person says so
--   gate   1 = the steps that are no gate wait for it
--   state  open, done (a person said so), verified (a read showed it)
CREATE TABLE task_item (
    task_id INTEGER NOT NULL REFERENCES task (id),
    number INTEGER NOT NULL,
    fact TEXT NOT NULL,
    gate INTEGER NOT NULL,
    state TEXT NOT NULL,
    changed REAL NOT NULL DEFAULT 0,
    who TEXT NOT NULL DEFAULT '',
    evidence TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (task_id, number)
) WITHOUT ROWID;

-- Leavers that are not dealt with yet: the periodic look for those that take too long reads nothing else.
CREATE INDEX delivery_leaver ON delivery (destination, message_id) WHERE leaver = 1 AND state <> 'ended';

-- Practitioners whom patient messages (ADT) named, by their source key, and when a destination was last asked about them:
-- until that is old, messages that name them lead to no delivery.
CREATE TABLE known_practitioner (
    feed TEXT NOT NULL,
    destination TEXT NOT NULL,
    source_key TEXT NOT NULL,
    asked REAL NOT NULL,
    PRIMARY KEY (feed, destination, source_key)
) WITHOUT ROWID;

-- Lists leave out messages that are only counted, nearly all of a patient feed.
CREATE INDEX message_shown ON message (id) WHERE state <> 'counted';

-- Modes. What each destination may write, as it ran last (JSON): one that would write more than it did, while something
-- that it only reported waits, goes on when a person says so.
CREATE TABLE ran_as (
    destination TEXT PRIMARY KEY,
    settings TEXT NOT NULL,
    changed REAL NOT NULL
) WITHOUT ROWID;

CREATE INDEX delivery_reported ON delivery (destination, place) WHERE state = 'ended' AND result = 'reported';

-- Interactions ("Practitioner create") that a server turned out not to offer or permit: not asked for until a person
-- tries again.
CREATE TABLE latch (
    destination TEXT NOT NULL,
    operation TEXT NOT NULL,
    since REAL NOT NULL,
    text TEXT NOT NULL,
    PRIMARY KEY (destination, operation)
) WITHOUT ROWID;

-- Who asked for what did not come over a feed: the account that ran the command. They can't approve it themselves.
ALTER TABLE message ADD COLUMN requested_by TEXT NOT NULL DEFAULT '';
-- 1 = the release answers what was asked of a person; 0 = it is tried again as it was.
ALTER TABLE released ADD COLUMN approves INTEGER NOT NULL DEFAULT 1;

-- What runs on a schedule, in one process at a time. last: when it ended last, or was first seen (Unix seconds).
-- owner has it until `expiry`; without an owner, `expiry` is the time before which it is not tried again.
CREATE TABLE job (
    name TEXT PRIMARY KEY,
    last REAL NOT NULL,
    owner TEXT NOT NULL DEFAULT '',
    expiry REAL NOT NULL DEFAULT 0
) WITHOUT ROWID;

-- Reconciliation: each run of all people of a destination, and what it found. counts: JSON, kind of difference -> number.
-- problem: why it ended early; '' = everybody was compared.
CREATE TABLE reconciliation (
    id INTEGER PRIMARY KEY,
    destination TEXT NOT NULL,
    feed TEXT NOT NULL,
    began REAL NOT NULL,
    ended REAL NOT NULL,
    people INTEGER NOT NULL,
    scanned INTEGER NOT NULL,
    counts TEXT NOT NULL,
    problem TEXT NOT NULL
);

CREATE INDEX reconciliation_latest ON reconciliation (destination, id);

-- `codec` speaks of `content` (JSON: differing fields, candidates).
CREATE TABLE drift (
    reconciliation_id INTEGER NOT NULL REFERENCES reconciliation (id),
    number INTEGER NOT NULL,
    kind TEXT NOT NULL,
    feed TEXT NOT NULL,
    source_key TEXT NOT NULL,
    resource_type TEXT NOT NULL,
    resource_id TEXT NOT NULL,
    verified REAL NOT NULL,
    codec INTEGER NOT NULL,
    key_id TEXT NOT NULL,
    content BLOB NOT NULL,
    PRIMARY KEY (reconciliation_id, number)
) WITHOUT ROWID;

-- How each person stood at the server when she was last looked at by a reconciliation. active: 1, 0, -1 = nobody there.
CREATE TABLE verified (
    destination TEXT NOT NULL,
    feed TEXT NOT NULL,
    source_key TEXT NOT NULL,
    resource_id TEXT NOT NULL,
    active INTEGER NOT NULL,
    at REAL NOT NULL,
    PRIMARY KEY (destination, feed, source_key)
) WITHOUT ROWID;

-- Messages that replace the whole file (MFI-3 REP; their header says so), once they were compared. decision: what became
-- of that; known, missing: how many people of the feed were known to be active, and how many of them are absent from it.
CREATE TABLE full_file (
    message_id INTEGER PRIMARY KEY REFERENCES message (id),
    decided REAL NOT NULL,
    decision TEXT NOT NULL,
    known INTEGER NOT NULL,
    missing INTEGER NOT NULL
);

CREATE INDEX message_other_header ON message (id) WHERE other_header <> '';

-- People of the feed who are absent from such a file. delivery_id: the held deactivation, 0 = none.
CREATE TABLE full_file_missing (
    message_id INTEGER NOT NULL REFERENCES full_file (message_id),
    source_key TEXT NOT NULL,
    delivery_id INTEGER NOT NULL,
    PRIMARY KEY (message_id, source_key)
) WITHOUT ROWID;

-- Messages of very many records: their records, packed, that are not written out yet (`codec` speaks of `content`).
--   delivery_id  the first of the numbers that were drawn for the part's deliveries
--   deliveries   JSON, destination -> how many
CREATE TABLE arrival (
    message_id INTEGER NOT NULL REFERENCES message (id),
    part INTEGER NOT NULL,
    delivery_id INTEGER NOT NULL,
    records INTEGER NOT NULL,
    deliveries TEXT NOT NULL,
    force INTEGER NOT NULL,
    codec INTEGER NOT NULL,
    key_id TEXT NOT NULL,
    content BLOB NOT NULL,
    PRIMARY KEY (message_id, part)
);

-- Reloads of the configuration, asked for by a command and answered by the listener: who let which mapping go live.
-- report: JSON, mapping versions before and after, what needs a restart, or what was wrong.
CREATE TABLE reload (
    id INTEGER PRIMARY KEY,
    asked REAL NOT NULL,
    who TEXT NOT NULL,
    answered REAL NOT NULL DEFAULT 0,
    accepted INTEGER NOT NULL DEFAULT 0,
    report TEXT NOT NULL DEFAULT ''
);

-- Files of drop folders, and how far each was read: written in the transaction that stores their messages, so that a stop
-- at any moment neither loses nor repeats one.
--   identity    digest of name, size, time of change and first bytes: another file under the same name begins anew
--   state       reading; read = all messages are stored, it is to be moved to `target`; done, failed = it was;
--               changed = it was written to while it was read, and is read again from its begin
--   messages, offset  how far it was read;  accepted .. others: what became of so many of them
--   results     bytes of the file of results that hold what is stored here
CREATE TABLE drop_file (
    id INTEGER PRIMARY KEY,
    feed TEXT NOT NULL,
    name TEXT NOT NULL,
    identity TEXT NOT NULL,
    size INTEGER NOT NULL,
    state TEXT NOT NULL,
    began REAL NOT NULL,
    changed REAL NOT NULL,
    target TEXT NOT NULL DEFAULT '',
    messages INTEGER NOT NULL DEFAULT 0,
    "offset" INTEGER NOT NULL DEFAULT 0,
    accepted INTEGER NOT NULL DEFAULT 0,
    refused INTEGER NOT NULL DEFAULT 0,
    duplicates INTEGER NOT NULL DEFAULT 0,
    others INTEGER NOT NULL DEFAULT 0,
    results INTEGER NOT NULL DEFAULT 0
);

CREATE UNIQUE INDEX drop_file_under_way ON drop_file (feed, identity) WHERE state IN ('reading', 'read');
CREATE INDEX drop_file_feed ON drop_file (feed, id);
