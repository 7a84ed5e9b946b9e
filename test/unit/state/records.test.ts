// Digest, encoding, snapshot text, and the judgement of what was read from a database.
import fc from 'fast-check';
import t from 'tap';
import { judgeContent, META_NAME, type StoredPair } from '../../../agent/state/lmdb-file.ts';
import { decodeRecord, encodeRecord, type RawRecord, recordName } from '../../../agent/state/record.ts';
import { digestAfter, type RawChange, Records } from '../../../agent/state/records.ts';
import { formatSnapshot, parseSnapshot } from '../../../agent/state/snapshot.ts';

const key = fc.stringMatching(/^[a-z0-9/.-]{1,12}$/);
const table = fc.constantFrom('pods', 'layers', 'journal');
const record: fc.Arbitrary<RawRecord> = fc.record({ table, key, json: fc.json() });
const records = fc.uniqueArray(record, { selector: ({ table, key }) => recordName(table, key), maxLength: 12 });
const change: fc.Arbitrary<RawChange> = fc.oneof(record, fc.record({ table, key }));

/** Pairs as a complete database has them. */
function pairsOf(held: Records, sequence = 7): StoredPair[] {
  const pairs = [...held.all()].map((each): StoredPair => [recordName(each.table, each.key), encodeRecord(each)]);
  return [...pairs, [META_NAME, JSON.stringify({ sequence, ...held.digest })]];
}

t.test('a record is read back only under its own name and unchanged', async () => {
  fc.assert(
    fc.property(record, fc.nat(), fc.string({ minLength: 1, maxLength: 1 }), (each, at, character) => {
      const name = recordName(each.table, each.key);
      const text = encodeRecord(each);
      const back = decodeRecord(name, text);
      if (back === undefined || back.json !== each.json || back.key !== each.key) return false;
      if (decodeRecord(`${name}x`, text) !== undefined) return false;
      const index = at % text.length;
      const damaged = text.slice(0, index) + character + text.slice(index + 1);
      return damaged === text || decodeRecord(name, damaged) === undefined;
    }),
  );
});

t.test('the digest says what the records are, however they came to be', async () => {
  fc.assert(
    fc.property(records, fc.array(change, { maxLength: 12 }), (initial, changes) => {
      const held = new Records(initial);
      const predicted = digestAfter(held, changes);
      for (const each of changes) held.apply(each);
      const again = new Records([...held.all()].reverse()).digest;
      return (
        predicted.count === held.digest.count &&
        predicted.mix === held.digest.mix &&
        again.mix === predicted.mix &&
        again.count === [...held.all()].length
      );
    }),
  );
});

t.test('a complete database is intact; with any record missing, stale or swapped it is damaged', async (t) => {
  t.equal(judgeContent([]).kind, 'absent');
  fc.assert(
    fc.property(
      records.filter((list) => list.length > 0),
      fc.nat(),
      fc.json(),
      (list, at, json) => {
        const held = new Records(list);
        const pairs = pairsOf(held);
        const whole = judgeContent(pairs);
        if (whole.kind !== 'intact' || whole.sequence !== 7 || whole.records.length !== list.length) return false;
        const index = at % list.length;
        const without = pairs.filter((_, position) => position !== index);
        if (judgeContent(without).kind !== 'damaged') return false;
        if (judgeContent(pairs.slice(0, -1)).kind !== 'damaged') return false;
        const old = list[index];
        if (old === undefined || old.json === json) return true;
        const stale = pairs.with(index, [recordName(old.table, old.key), encodeRecord({ ...old, json })]);
        return judgeContent(stale).kind === 'damaged';
      },
    ),
  );
});

t.test('a snapshot gives back all records; damaged lines cost only themselves', async () => {
  fc.assert(
    fc.property(records, fc.nat(), fc.nat(), (list, line, at) => {
      const text = formatSnapshot(new Records(list), 42, 1000);
      const whole = parseSnapshot(text);
      if (whole?.records.length !== list.length || whole.sequence !== 42 || whole.lost !== 0) return false;
      const lines = text.trimEnd().split('\n');
      const victim = line % lines.length;
      const original = lines[victim] ?? '';
      const position = at % original.length;
      lines[victim] = `${original.slice(0, position)}\u0001${original.slice(position + 1)}`;
      const damaged = parseSnapshot(lines.join('\n'));
      if (victim === 0) return damaged === undefined;
      return damaged?.records.length === list.length - 1 && damaged.lost === 1;
    }),
  );
});

t.test('any text is a snapshot or nothing', async () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
      const snapshot = parseSnapshot(text);
      return snapshot === undefined || snapshot.lost >= 0;
    }),
  );
});
