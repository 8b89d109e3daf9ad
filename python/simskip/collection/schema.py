"""The tables of a collection's file, version by version."""

from __future__ import annotations

import sqlite3

from ..errors import FormatError

__all__ = ["APPLICATION_ID", "SCHEMA_VERSION", "create", "upgrade", "version_of"]

# In the file's header, so that `file` and other programs can tell what it is: "simS".
APPLICATION_ID = 0x73696D53

# One script per schema version: the first makes an empty file, each later one changes the tables of the version before.
# A published script never changes. A statement ends where a line ends.
_SCRIPTS = (
    """
    CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
    INSERT INTO meta VALUES ('revision', 0);
    INSERT INTO meta VALUES ('label_revision', 0);

    -- Where items come from: a folder, a file of lines, a vocabulary.
    CREATE TABLE sources (
        id INTEGER PRIMARY KEY,
        kind TEXT NOT NULL,
        location TEXT NOT NULL,
        prefix TEXT NOT NULL DEFAULT '',
        UNIQUE (kind, location)
    );

    CREATE TABLE items (
        id INTEGER PRIMARY KEY AUTOINCREMENT,  -- ids of removed items are not given out again
        key TEXT NOT NULL UNIQUE,
        label TEXT,
        attributes TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(attributes) AND json_type(attributes) = 'object'),
        source INTEGER REFERENCES sources (id)
    );
    CREATE INDEX items_label ON items (label);
    CREATE INDEX items_source ON items (source);

    -- Names that `where` may use; kept by triggers, so that every client's changes count.
    CREATE TABLE attribute_names (name TEXT PRIMARY KEY) WITHOUT ROWID;
    CREATE TRIGGER items_inserted AFTER INSERT ON items WHEN new.attributes <> '{}' BEGIN
        INSERT OR IGNORE INTO attribute_names SELECT key FROM json_each(new.attributes);
    END;
    CREATE TRIGGER items_changed AFTER UPDATE OF attributes ON items WHEN new.attributes <> '{}' BEGIN
        INSERT OR IGNORE INTO attribute_names SELECT key FROM json_each(new.attributes);
    END;
    CREATE TRIGGER items_labelled AFTER UPDATE OF label ON items WHEN new.label IS NOT old.label BEGIN
        UPDATE meta SET value = value + 1 WHERE name = 'label_revision';
    END;

    -- Little-endian float32; `revision` grows with every change, so that readers fetch what is new.
    CREATE TABLE vectors (
        id INTEGER PRIMARY KEY REFERENCES items (id) ON DELETE CASCADE,
        vector BLOB NOT NULL,
        revision INTEGER NOT NULL
    );
    CREATE INDEX vectors_revision ON vectors (revision);
    CREATE TABLE codes (
        id INTEGER PRIMARY KEY REFERENCES items (id) ON DELETE CASCADE,
        code BLOB NOT NULL
    );

    CREATE TABLE files (
        id INTEGER PRIMARY KEY REFERENCES items (id) ON DELETE CASCADE,
        size INTEGER NOT NULL,
        mtime_ns INTEGER NOT NULL,  -- -1: not trusted, compare the content
        hash BLOB NOT NULL
    );
    CREATE INDEX files_hash ON files (hash);
    CREATE TABLE unreadable (
        source INTEGER NOT NULL REFERENCES sources (id) ON DELETE CASCADE,
        path TEXT NOT NULL,
        reason TEXT NOT NULL,
        size INTEGER,
        mtime_ns INTEGER,
        PRIMARY KEY (source, path)
    ) WITHOUT ROWID;

    CREATE TABLE models (
        role TEXT PRIMARY KEY,  -- embedder, hasher, classifier
        name TEXT NOT NULL,
        fingerprint TEXT NOT NULL,
        parameters TEXT NOT NULL DEFAULT '{}',
        content BLOB
    ) WITHOUT ROWID;
    -- Items that no hasher was trained on, as honest queries of an evaluation.
    CREATE TABLE held_out (id INTEGER PRIMARY KEY REFERENCES items (id) ON DELETE CASCADE);

    -- The precomputed neighbour table.
    CREATE TABLE neighbors (
        id INTEGER NOT NULL,
        rank INTEGER NOT NULL,
        neighbor INTEGER NOT NULL,
        distance REAL NOT NULL,
        PRIMARY KEY (id, rank)
    ) WITHOUT ROWID;
    """,
)

SCHEMA_VERSION = len(_SCRIPTS)


def version_of(connection: sqlite3.Connection, path: str) -> int:
    """The file's schema version; 0 for an empty file.

    Raises
    ------
    FormatError
        For a database of another program or of a newer simskip.
    """
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    application: int = connection.execute("PRAGMA application_id").fetchone()[0]
    if application != APPLICATION_ID:
        if version == 0 and application == 0 and not connection.execute("SELECT 1 FROM sqlite_schema").fetchone():
            return 0
        raise FormatError(f"{path} is a database, but not a simskip collection")
    if version > SCHEMA_VERSION:
        raise FormatError(
            f"{path} has schema version {version}; this simskip knows versions up to {SCHEMA_VERSION}: upgrade simskip"
        )
    return version


def create(connection: sqlite3.Connection) -> None:
    """Settings that a file has from its birth; in front of ``upgrade``, outside a transaction."""
    # A 1280-d vector takes 5 KiB: with SQLite's usual pages of 4 KiB each row would be spread over two.
    connection.execute("PRAGMA page_size = 16384")
    connection.execute("PRAGMA journal_mode = WAL")


def upgrade(connection: sqlite3.Connection, version: int) -> None:
    """Bring the tables from ``version`` to the newest, inside the caller's transaction."""
    for number, script in enumerate(_SCRIPTS[version:], version + 1):
        for statement in _statements(script):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {number}")
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")


def _statements(script: str) -> list[str]:
    """A script's statements: ``executescript`` would commit the transaction it runs in."""
    found, statement = [], ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            found.append(statement)
            statement = ""
    return found
