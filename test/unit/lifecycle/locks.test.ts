// Who waits for whom: the steps of one pod, and nobody else.
import t from 'tap';
import { LifecycleLocks } from '../../../agent/lifecycle/locks.ts';
import { podUid } from '../../../agent/model/ids.ts';

const UID = podUid('uid-web');

t.test('whoever has the whole pod has its sandbox and its containers', async (t) => {
  const locks = new LifecycleLocks();
  const order: string[] = [];
  const note = (what: string) => async () => void order.push(what);
  const steps: Promise<void>[] = [];
  await locks.wholePod(UID, ['app', 'log'], async () => {
    steps.push(
      locks.pod(UID, note('sandbox')),
      locks.container(UID, 'app', note('app')),
      locks.container(UID, 'log', note('log')),
    );
    await locks.container(UID, 'other', note('another container'));
    await locks.pod(podUid('another'), note('another pod'));
  });
  await Promise.all(steps);
  t.same(order.slice(0, 2), ['another container', 'another pod']);
  t.same(order.slice(2).toSorted(), ['app', 'log', 'sandbox']);
});

t.test('a container that a manifest names twice is waited for once', async (t) => {
  const locks = new LifecycleLocks();
  t.equal(await locks.wholePod(UID, ['app', 'app'], async () => 'done'), 'done');
});

t.test('a pod without containers has a sandbox', async (t) => {
  t.equal(await new LifecycleLocks().wholePod(UID, [], async () => 'done'), 'done');
});
