-- Times are nanoseconds since 1970 UTC, 0 for what hasn't happened. Epochs and
-- connections are unsigned 64 bit in the messages and the same bits here.

-- +goose Up
PRAGMA application_id = 0x534c464c;

CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) WITHOUT ROWID, STRICT;

CREATE TABLE device (
    key        INTEGER PRIMARY KEY,
    id         TEXT NOT NULL UNIQUE,
    grp        TEXT NOT NULL,
    label      TEXT NOT NULL,
    hostname   TEXT NOT NULL,
    enrolled   INTEGER NOT NULL,
    serial     TEXT NOT NULL,
    not_after  INTEGER NOT NULL,
    revoked    INTEGER NOT NULL DEFAULT 0,
    connection INTEGER NOT NULL DEFAULT 0,
    connected  INTEGER NOT NULL DEFAULT 0,
    ended      INTEGER NOT NULL DEFAULT 0,
    heard      INTEGER NOT NULL DEFAULT 0,
    every      INTEGER NOT NULL DEFAULT 0,
    hello      BLOB,
    state      BLOB,
    state_at   INTEGER NOT NULL DEFAULT 0,
    epoch      INTEGER NOT NULL DEFAULT 0
) STRICT;

-- One row for each journal that a device ever sent from. The counts are those
-- of its records, so that nobody has to count rows.
CREATE TABLE epoch (
    key        INTEGER PRIMARY KEY,
    device     INTEGER NOT NULL REFERENCES device (key),
    epoch      INTEGER NOT NULL,
    watermark  INTEGER NOT NULL,
    results    INTEGER NOT NULL,
    pass       INTEGER NOT NULL,
    fail       INTEGER NOT NULL,
    none       INTEGER NOT NULL,
    holes      INTEGER NOT NULL,
    unreadable INTEGER NOT NULL,
    UNIQUE (device, epoch)
) STRICT;

-- verdict and reason are as the line was told, judged is what was decided:
-- 0 none, 1 pass, 2 fail.
CREATE TABLE result (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    device   INTEGER NOT NULL REFERENCES device (key),
    epoch    INTEGER NOT NULL REFERENCES epoch (key),
    seq      INTEGER NOT NULL,
    received INTEGER NOT NULL,
    decided  INTEGER NOT NULL,
    station  TEXT NOT NULL,
    part     TEXT NOT NULL,
    label    TEXT NOT NULL,
    verdict  INTEGER NOT NULL,
    judged   INTEGER NOT NULL,
    reason   TEXT NOT NULL,
    body     BLOB NOT NULL,
    told     BLOB,
    UNIQUE (epoch, seq)
) STRICT;

-- Each index ends in the row's id, which is the order that pages want.
CREATE INDEX result_device ON result (device);
CREATE INDEX result_station ON result (station);
CREATE INDEX result_part ON result (part) WHERE part <> '';
CREATE INDEX result_rejected ON result (verdict) WHERE verdict <> 1;
CREATE INDEX result_device_rejected ON result (device, verdict) WHERE verdict <> 1;

-- Amendments of results that aren't here.
CREATE TABLE amendment (
    epoch    INTEGER NOT NULL REFERENCES epoch (key),
    seq      INTEGER NOT NULL,
    of       INTEGER NOT NULL,
    received INTEGER NOT NULL,
    body     BLOB NOT NULL,
    PRIMARY KEY (epoch, seq)
) WITHOUT ROWID, STRICT;

CREATE TABLE hole (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    device   INTEGER NOT NULL REFERENCES device (key),
    epoch    INTEGER NOT NULL REFERENCES epoch (key),
    first    INTEGER NOT NULL,
    last     INTEGER NOT NULL,
    pass     INTEGER NOT NULL,
    fail     INTEGER NOT NULL,
    none     INTEGER NOT NULL,
    other    INTEGER NOT NULL,
    reason   TEXT NOT NULL,
    received INTEGER NOT NULL,
    UNIQUE (epoch, last)
) STRICT;
CREATE INDEX hole_device ON hole (device);

-- Items that couldn't be read, as they came.
CREATE TABLE unreadable (
    epoch    INTEGER NOT NULL REFERENCES epoch (key),
    seq      INTEGER NOT NULL,
    received INTEGER NOT NULL,
    why      TEXT NOT NULL,
    body     BLOB NOT NULL,
    PRIMARY KEY (epoch, seq)
) WITHOUT ROWID, STRICT;

CREATE TABLE user (
    name    TEXT PRIMARY KEY,
    role    INTEGER NOT NULL,
    hash    TEXT NOT NULL,
    created INTEGER NOT NULL
) WITHOUT ROWID, STRICT;

CREATE TABLE session (
    key     BLOB PRIMARY KEY,
    user    TEXT NOT NULL REFERENCES user (name) ON DELETE CASCADE,
    expires INTEGER NOT NULL
) WITHOUT ROWID, STRICT;
CREATE INDEX session_user ON session (user);

CREATE TABLE api_token (
    key     BLOB PRIMARY KEY,
    name    TEXT NOT NULL,
    user    TEXT NOT NULL REFERENCES user (name) ON DELETE CASCADE,
    role    INTEGER NOT NULL,
    created INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    UNIQUE (user, name)
) WITHOUT ROWID, STRICT;

CREATE TABLE enrol_token (
    key     BLOB PRIMARY KEY,
    grp     TEXT NOT NULL,
    created INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    used_by TEXT NOT NULL DEFAULT ''
) WITHOUT ROWID, STRICT;
