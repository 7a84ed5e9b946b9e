// What uninstalling says of pods' addresses, by the store of an agent that does not run.
import { join } from 'node:path';
import t from 'tap';
import { openHost } from '../../../agent/cli/install-host.ts';
import { formatAddressLoss, readAddresses } from '../../../agent/cli/uninstall-losses.ts';
import type { Address } from '../../../agent/model/address.ts';
import { ADDRESSES } from '../../../agent/network/embedded-lease-store.ts';
import { addressKey, reserveKey } from '../../../agent/network/records.ts';
import { openStore } from '../../../agent/state/open-store.ts';
import { put } from '../../../agent/state/store.ts';

const app = { namespace: 'default', name: 'web' };

t.test('the addresses of a store, and none where there is no store', async (t) => {
  const root = t.testdir({ var: { lib: { holdfast: {} } } });
  const host = await openHost(root, false);
  t.strictSame(await readAddresses(host), { held: 0, kept: 0, reserved: 0, reserves: 0 });
  const { store } = await openStore({
    directory: join(root, 'var/lib/holdfast/state'),
    onProblem: (error) => t.fail(error.message),
  });
  const state = { kind: 'reserved', host: 'h', app, since: 1, until: 2 };
  const records = [
    [addressKey('pods', '10.0.0.3' as Address).key, { generation: 1, state }],
    [reserveKey(app, 'pods').key, { entries: [{ addresses: ['10.0.0.3'], host: 'h', since: 1, until: 2 }] }],
  ] as const;
  await store.commit(records.map(([key, value]) => put(ADDRESSES, key, { value: JSON.stringify(value) })));
  await store.close();
  t.strictSame(await readAddresses(host), { held: 0, kept: 0, reserved: 1, reserves: 1 });
});

t.test('a store that an agent uses is not read behind its back', async (t) => {
  const root = t.testdir({ var: { lib: { holdfast: {} } } });
  const { store } = await openStore({ directory: join(root, 'var/lib/holdfast/state'), onProblem: () => {} });
  t.teardown(() => store.close());
  await t.rejects(readAddresses(await openHost(root, false)), { code: 'PRECONDITION' });
});

t.test('what is said', async (t) => {
  t.equal(formatAddressLoss({ held: 0, kept: 0, reserved: 0, reserves: 0 }, false), '');
  const some = { held: 1, kept: 2, reserved: 3, reserves: 2 };
  t.match(
    formatAddressLoss(some, false),
    /would be lost: 1 address that sandboxes have, 2 that wait .*, 3 in the reserves of 2 apps/,
  );
  t.match(formatAddressLoss(some, false), /--keep-state/);
  t.match(formatAddressLoss(some, true), /^These addresses are kept/);
});
