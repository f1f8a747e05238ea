-- +goose Up
-- A bundle on its way to a group of devices. ended is 0 as long as the fleet
-- still does something about it. conditions are fleet/rollout's, as JSON.
CREATE TABLE rollout (
    key        INTEGER PRIMARY KEY AUTOINCREMENT,
    id         TEXT NOT NULL UNIQUE,
    bundle     TEXT NOT NULL,
    version    TEXT NOT NULL,
    digest     BLOB NOT NULL,
    target     TEXT NOT NULL,
    golden     INTEGER NOT NULL,
    grp        TEXT NOT NULL,
    waves      TEXT NOT NULL,
    conditions TEXT NOT NULL,
    state      TEXT NOT NULL,
    reason     TEXT NOT NULL,
    wave       INTEGER NOT NULL,
    opened     INTEGER NOT NULL,
    begun_by   TEXT NOT NULL,
    created    INTEGER NOT NULL,
    changed    INTEGER NOT NULL,
    ended      INTEGER NOT NULL
) STRICT;
CREATE INDEX rollout_open ON rollout (key) WHERE ended = 0;

CREATE TABLE rollout_device (
    rollout  INTEGER NOT NULL REFERENCES rollout (key),
    device   INTEGER NOT NULL REFERENCES device (key),
    wave     INTEGER NOT NULL,
    state    TEXT NOT NULL,
    reason   TEXT NOT NULL,
    text     TEXT NOT NULL,
    forgiven INTEGER NOT NULL,
    act      INTEGER NOT NULL,
    nonce    BLOB NOT NULL,
    sent     INTEGER NOT NULL,
    sent_at  INTEGER NOT NULL,
    heard    INTEGER NOT NULL,
    worked   INTEGER NOT NULL,
    report   BLOB,
    proven   INTEGER NOT NULL,
    changed  INTEGER NOT NULL,
    PRIMARY KEY (rollout, device)
) WITHOUT ROWID, STRICT;

-- Rows are only ever added: what happened, when, and who did it.
CREATE TABLE rollout_event (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    rollout INTEGER NOT NULL REFERENCES rollout (key),
    at      INTEGER NOT NULL,
    device  TEXT NOT NULL,
    what    TEXT NOT NULL,
    who     TEXT NOT NULL
) STRICT;
CREATE INDEX rollout_event_of ON rollout_event (rollout);
