/** Secrets have rows: a name and the life of a file. What a secret is lies in that file alone. */
export const secrets = {
  number: 4,
  name: 'secrets',
  sql: `
    CREATE TABLE secrets (
      id TEXT NOT NULL PRIMARY KEY,
      name TEXT NOT NULL UNIQUE,
      revision INTEGER NOT NULL,
      version INTEGER NOT NULL,
      content TEXT NOT NULL,
      digest BLOB NOT NULL
    ) STRICT;
    CREATE TABLE secrets_history (
      id TEXT NOT NULL REFERENCES secrets (id) ON DELETE CASCADE,
      version INTEGER NOT NULL,
      content TEXT NOT NULL,
      digest BLOB NOT NULL,
      PRIMARY KEY (id, version)
    ) STRICT;
  `,
} as const
