/** Networks have rows: what was asked for, with all that was left open decided. */
export const networks = {
  number: 5,
  name: 'networks',
  sql: `
    CREATE TABLE networks (
      id TEXT NOT NULL PRIMARY KEY,
      name TEXT NOT NULL UNIQUE,
      revision INTEGER NOT NULL,
      version INTEGER NOT NULL,
      content TEXT NOT NULL,
      digest BLOB NOT NULL
    ) STRICT;
    CREATE TABLE networks_history (
      id TEXT NOT NULL REFERENCES networks (id) ON DELETE CASCADE,
      version INTEGER NOT NULL,
      content TEXT NOT NULL,
      digest BLOB NOT NULL,
      PRIMARY KEY (id, version)
    ) STRICT;
  `,
} as const
