/**
 * Pools have rows, and a volume's name is unique in its pool: the column by which volumes are found holds `POOL/NAME` from now on.
 * What a volume is lies in its content, which does not change; the content of a pool is sealed as theirs is.
 */
export const pools = {
  number: 3,
  name: 'pools',
  sql: `
    CREATE TABLE pools (
      id TEXT NOT NULL PRIMARY KEY,
      name TEXT NOT NULL UNIQUE,
      revision INTEGER NOT NULL,
      version INTEGER NOT NULL,
      content TEXT NOT NULL,
      digest BLOB NOT NULL
    ) STRICT;
    CREATE TABLE pools_history (
      id TEXT NOT NULL REFERENCES pools (id) ON DELETE CASCADE,
      version INTEGER NOT NULL,
      content TEXT NOT NULL,
      digest BLOB NOT NULL,
      PRIMARY KEY (id, version)
    ) STRICT;

    UPDATE volumes SET name = 'default/' || name;
  `,
} as const
