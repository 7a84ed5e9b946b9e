// The keeper: the only process that maps the database file. It reads everything out at start and then writes what the
// agent sends, so that neither a damaged file nor a failing disk can take the agent down or hold its event loop up. It
// imports as little as possible: it runs on every host as long as the agent does.
import fs from 'node:fs';
import os from 'node:os';
import { open, type RootDatabase } from 'lmdb';
import type { KeeperMessage, WriteRequest } from './keeper-protocol.ts';
import { META_NAME, type StoredPair } from './lmdb-file.ts';
import { encodeRecord, recordName } from './record.ts';

const PAIRS_PER_MESSAGE = 500;

const file = process.argv[2];
if (file === undefined || process.send === undefined) throw new Error('the keeper is started by the agent only');

// The agent ends the keeper by letting go of the channel, after its last commit; systemd's and the terminal's signals
// reach both at once.
for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => undefined);

function send(message: KeeperMessage): Promise<void> {
  return new Promise((resolve) => {
    // An error means that the agent is gone: `disconnect` follows.
    process.send?.(message, undefined, undefined, () => resolve());
  });
}

/** The system has no room, rights or resources now; the file may be in order. By number, as LMDB's errors have them. */
const FOREIGN_ERRORS: ReadonlySet<unknown> = new Set(
  (['EPERM', 'EACCES', 'EAGAIN', 'ENOMEM', 'ENFILE', 'EMFILE', 'ENOSPC', 'EROFS', 'EDQUOT'] as const).map(
    (name) => os.constants.errno[name],
  ),
);

/** @returns undefined when the system refuses for a reason that is not the file's, which the agent was told then */
async function openFile(file: string): Promise<RootDatabase<string, string> | undefined> {
  process.umask(0o077);
  try {
    const database = open<string, string>({
      path: file,
      noSubdir: true,
      encoding: 'string',
      // A transaction is on disk when it returns, not some time later.
      overlappingSync: false,
    });
    // LMDB asks for more than the owner's rights, and an older file keeps those that it has.
    fs.chmodSync(file, 0o600);
    return database;
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    if (!FOREIGN_ERRORS.has(code)) throw error;
    await send({ kind: 'unreadable', reason: String(error) });
    return undefined;
  }
}

await send({ kind: 'started' });
const opened = await openFile(file);
if (opened === undefined) process.exit(1);
const database = opened;

function write({ changes, meta }: WriteRequest): void {
  database.transactionSync(() => {
    for (const { table, key, json } of changes) {
      const name = recordName(table, key);
      if (json === undefined) database.removeSync(name);
      else database.putSync(name, encodeRecord({ table, key, json }));
    }
    const { sequence, count, mix } = meta;
    database.putSync(META_NAME, JSON.stringify({ sequence, count, mix }));
  });
}

process.on('message', (request: WriteRequest) => {
  try {
    write(request);
    void send({ kind: 'written' });
  } catch (error) {
    void send({ kind: 'refused', reason: String(error) });
  }
});
process.on('disconnect', () => {
  void database.close().finally(() => process.exit());
});

let pairs: StoredPair[] = [];
for (const { key, value } of database.getRange({})) {
  pairs.push([String(key), value]);
  if (pairs.length >= PAIRS_PER_MESSAGE) {
    await send({ kind: 'content', pairs });
    pairs = [];
  }
}
await send({ kind: 'content', pairs });
await send({ kind: 'ready' });
