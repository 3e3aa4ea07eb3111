/** Snapshots: rows like those of VMs and volumes, whose `name` is the VM's id, a slash, and what the snapshot is called. */
export const snapshots = {
  number: 2,
  name: 'snapshots',
  sql: `
    CREATE TABLE snapshots (
      id TEXT NOT NULL PRIMARY KEY,
      name TEXT NOT NULL UNIQUE,
      revision INTEGER NOT NULL,
      version INTEGER NOT NULL,
      content TEXT NOT NULL,
      digest BLOB NOT NULL
    ) STRICT;
    CREATE TABLE snapshots_history (
      id TEXT NOT NULL REFERENCES snapshots (id) ON DELETE CASCADE,
      version INTEGER NOT NULL,
      content TEXT NOT NULL,
      digest BLOB NOT NULL,
      PRIMARY KEY (id, version)
    ) STRICT;
  `,
} as const
