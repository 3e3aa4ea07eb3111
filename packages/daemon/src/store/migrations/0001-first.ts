/**
 * The first form of the store.
 *
 * What a VM or volume is lies in `content` as JSON under `digest` (sealed-rows.ts); the columns beside it are for finding rows. The
 * history tables hold the last versions written, the present one included.
 */
export const first = {
  number: 1,
  name: 'first',
  sql: `
    CREATE TABLE vms (
      id TEXT NOT NULL PRIMARY KEY,
      name TEXT NOT NULL UNIQUE,
      revision INTEGER NOT NULL,
      version INTEGER NOT NULL,
      content TEXT NOT NULL,
      digest BLOB NOT NULL
    ) STRICT;
    CREATE TABLE vms_history (
      id TEXT NOT NULL REFERENCES vms (id) ON DELETE CASCADE,
      version INTEGER NOT NULL,
      content TEXT NOT NULL,
      digest BLOB NOT NULL,
      PRIMARY KEY (id, version)
    ) STRICT;

    CREATE TABLE volumes (
      id TEXT NOT NULL PRIMARY KEY,
      name TEXT NOT NULL UNIQUE,
      revision INTEGER NOT NULL,
      version INTEGER NOT NULL,
      content TEXT NOT NULL,
      digest BLOB NOT NULL
    ) STRICT;
    CREATE TABLE volumes_history (
      id TEXT NOT NULL REFERENCES volumes (id) ON DELETE CASCADE,
      version INTEGER NOT NULL,
      content TEXT NOT NULL,
      digest BLOB NOT NULL,
      PRIMARY KEY (id, version)
    ) STRICT;

    CREATE TABLE image_names (
      id TEXT NOT NULL PRIMARY KEY,
      name TEXT NOT NULL UNIQUE
    ) STRICT;

    CREATE TABLE jobs (
      seq INTEGER PRIMARY KEY AUTOINCREMENT,
      id TEXT NOT NULL UNIQUE,
      running INTEGER NOT NULL,
      content TEXT NOT NULL
    ) STRICT;
    CREATE INDEX jobs_running ON jobs (running, seq);

    CREATE TABLE events (
      seq INTEGER PRIMARY KEY AUTOINCREMENT,
      at TEXT NOT NULL,
      kind TEXT NOT NULL,
      subject TEXT NOT NULL,
      data TEXT NOT NULL
    ) STRICT;

    CREATE TABLE uids (
      uid INTEGER PRIMARY KEY,
      vm_id TEXT UNIQUE,
      boot_id TEXT NOT NULL
    ) STRICT;
    CREATE TABLE uid_cursor (
      one INTEGER PRIMARY KEY CHECK (one = 1),
      next INTEGER NOT NULL
    ) STRICT;

    CREATE TABLE idempotency (
      key TEXT NOT NULL PRIMARY KEY,
      request_hash TEXT NOT NULL,
      status INTEGER NOT NULL,
      body TEXT NOT NULL,
      at_ms INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX idempotency_age ON idempotency (at_ms);
  `,
} as const
