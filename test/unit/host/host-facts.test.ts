// The line about this machine.
import { release, totalmem } from 'node:os';
import t from 'tap';
import { describeHostFacts, readHostFacts } from '../../../agent/host/host-facts.ts';
import { bytes } from '../../../agent/model/quantity.ts';

await t.test('this machine', async (t) => {
  const facts = await readHostFacts(AbortSignal.timeout(60_000));
  t.equal(facts.kernel, release());
  t.ok(facts.operatingSystem.length > 0 && facts.cpuModel.length > 0);
  // Memory may be plugged in between the two questions.
  t.ok(Math.abs(facts.memory - totalmem()) < totalmem());
});

await t.test('one line', async (t) => {
  const facts = {
    operatingSystem: 'Debian GNU/Linux 12 (bookworm)',
    kernel: '6.1.0',
    architecture: 'x64',
    cpuModel: 'Intel Xeon',
    memory: bytes(2 ** 34),
  };
  t.equal(describeHostFacts(facts), 'Debian GNU/Linux 12 (bookworm), Linux 6.1.0, Intel Xeon, x64, 16 GiB');
});

await t.test('given up', async (t) => {
  const reason = new Error('given up');
  await t.rejects(readHostFacts(AbortSignal.abort(reason)), reason);
});
