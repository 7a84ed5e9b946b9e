// What happens between finding out whom to give up and having told the cluster, and what is said when it cannot be told.
import { pino } from 'pino';
import t from 'tap';
import type { EndPodOutcome } from '../../../agent/cluster/end-pod.ts';
import type { PodPhase, PodSource } from '../../../agent/cluster/pod-source.ts';
import { GiveUp } from '../../../agent/lifecycle/give-up.ts';
import { LifecycleLocks } from '../../../agent/lifecycle/locks.ts';
import { type Refusal, Refusals } from '../../../agent/lifecycle/refusals.ts';
import { Registry } from '../../../agent/lifecycle/registry.ts';
import { podUid } from '../../../agent/model/ids.ts';
import { HoldfastError } from '../../../lib/errors.ts';
import { podFacts } from '../../support/random-pods.ts';

const AFTER_MS = 120_000;
const { signal } = new AbortController();
const pod = (name: string) => ({ uid: podUid(name), namespace: 'default', name });

function gate() {
  let open = (): void => undefined;
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open };
}

interface Cluster {
  /** Thrown when it is opened. */
  away?: Error;
  end: (name: string) => Promise<EndPodOutcome>;
}

function build(...names: readonly string[]) {
  const clock = { now: 0 };
  const refusals = new Refusals(() => clock.now);
  const refuseForLong = (...refused: readonly string[]): void => {
    for (const name of refused) refusals.refused(pod(name), 'no room');
    clock.now += AFTER_MS;
    for (const name of refused) refusals.refused(pod(name), 'no room');
  };
  refuseForLong(...names);
  const phases = new Map<string, PodPhase>();
  const podSource: PodSource = {
    status: () => ({ name: 'test', ageMs: 0 }),
    find: ({ name }) => podFacts(name, {}),
    phaseOf: ({ name }) => phases.get(name) ?? 'present',
    onChange: () => () => undefined,
    close: () => undefined,
  };
  const asked: string[] = [];
  const results: string[] = [];
  const log: { readonly msg: string; readonly error?: string }[] = [];
  const cluster: Cluster = { end: async () => ({ kind: 'ended' }) };
  const locks = new LifecycleLocks();
  const giveUp = new GiveUp({
    refusals,
    features: [],
    registry: new Registry(),
    podSource,
    locks,
    afterMs: AFTER_MS,
    openCluster: async () => {
      if (cluster.away !== undefined) throw cluster.away;
      const end = async ({ name }: Pick<Refusal, 'name'>) => {
        asked.push(name);
        return await cluster.end(name);
      };
      return { end, close: () => undefined };
    },
    logger: pino({ level: 'warn' }, { write: (line) => void log.push(JSON.parse(line) as (typeof log)[number]) }),
    onGivenUp: (result) => results.push(result),
  });
  const look = () => giveUp.giveUpWhereDue(signal);
  return { giveUp, look, refusals, refuseForLong, phases, locks, cluster, asked, results, log };
}

t.test('a pod that is placed while another one is ended stays', async (t) => {
  const { look, refusals, cluster, asked } = build('a', 'b');
  cluster.end = async () => {
    refusals.forget(pod('b').uid);
    return { kind: 'ended' };
  };
  await look();
  t.same(asked, ['a']);
});

t.test('a pod that is deleted while another one is ended stays as it is', async (t) => {
  const { look, phases, cluster, asked } = build('a', 'b');
  cluster.end = async () => {
    phases.set('b', 'deleting');
    return { kind: 'ended' };
  };
  await look();
  t.same(asked, ['a']);
});

for (const [which, step] of [
  ['its sandbox', (locks, work) => locks.pod(pod('a').uid, work)],
  ['one of its containers', (locks, work) => locks.container(pod('a').uid, 'app', work)],
] as const satisfies readonly [string, (locks: LifecycleLocks, work: () => Promise<void>) => Promise<void>][]) {
  t.test(`a pod for which a step of ${which} finds room while its turn comes stays`, async (t) => {
    const { look, refusals, locks, asked } = build('a');
    const room = gate();
    const placing = step(locks, async () => {
      await room.opened;
      refusals.forget(pod('a').uid);
    });
    const looking = look();
    room.open();
    await Promise.all([placing, looking]);
    t.same(asked, []);
  });

  t.test(`a step of ${which} waits while the pod is ended`, async (t) => {
    const { look, locks, cluster } = build('a');
    const [isAsked, answer] = [gate(), gate()];
    const order: string[] = [];
    cluster.end = async () => {
      isAsked.open();
      await answer.opened;
      order.push('end');
      return { kind: 'ended' };
    };
    const looking = look();
    await isAsked.opened;
    const waiting = step(locks, async () => void order.push('step'));
    answer.open();
    await Promise.all([looking, waiting]);
    t.same(order, ['end', 'step']);
  });
}

t.test('steps of other pods go on while a pod is ended', async (t) => {
  const { look, locks, cluster } = build('a');
  cluster.end = async () => {
    await locks.pod(pod('b').uid, async () => undefined);
    return { kind: 'ended' };
  };
  await look();
  t.pass('no step waited');
});

t.test('a pod is ended and counted once, however late its source hears of it', async (t) => {
  const { look, refuseForLong, phases, asked, results } = build('a');
  await look();
  refuseForLong('a');
  await look();
  t.same(asked, ['a']);
  t.same(results, ['ended']);
  phases.set('a', 'finished');
  refuseForLong('a');
  await look();
  t.same(asked, ['a'], 'and never again once it is known to have ended');
});

t.test('a pod that the cluster does not have is forgotten without a word', async (t) => {
  const { look, refusals, cluster, results, log } = build('a');
  cluster.end = async () => ({ kind: 'gone' });
  await look();
  t.same(refusals.list(), []);
  t.same([results, log], [[], []]);
});

const forbidden: EndPodOutcome = { kind: 'refused', httpCode: 403, why: 'pods is forbidden; see docs/giving-up.md' };

t.test('missing rights are one warning, however many pods and looks there are', async (t) => {
  const { look, cluster, asked, results, log } = build('a', 'b', 'c');
  cluster.end = async () => forbidden;
  await look();
  await look();
  t.same(asked, ['a', 'b', 'c', 'a', 'b', 'c'], 'each is tried: rights may differ between namespaces');
  t.equal(results.length, 6);
  t.equal(log.length, 1);
  t.match(log, [{ error: /docs\/giving-up\.md/ }]);
  cluster.end = async (name) => (name === 'a' ? { kind: 'refused', httpCode: 422, why: 'a policy' } : forbidden);
  await look();
  t.match(log.slice(1), [{ error: 'a policy' }], 'another trouble is told');
  cluster.end = async (name) =>
    name === 'a' ? { kind: 'refused', httpCode: 422, why: 'a policy' } : { kind: 'ended' };
  await look();
  t.equal(log.filter(({ msg }) => msg.startsWith('given up')).length, 2);
});

t.test('trouble that went away and came back is told again', async (t) => {
  const { look, refuseForLong, cluster, log } = build('a');
  cluster.end = async () => forbidden;
  await look();
  cluster.end = async () => ({ kind: 'gone' });
  await look();
  refuseForLong('a');
  cluster.end = async () => forbidden;
  await look();
  t.equal(log.length, 2);
});

t.test('where nobody answers one pod after the other is tried, each at its own look, and said so once', async (t) => {
  const { look, cluster, asked, results, log } = build('a', 'b', 'c');
  cluster.end = async () => {
    throw new HoldfastError('DEADLINE', 'no answer within 3 s');
  };
  await look();
  await look();
  t.same(asked, ['a', 'b']);
  t.same(results, ['failed', 'failed']);
  t.match(log, [{ error: 'no answer within 3 s' }]);
  t.equal(log.length, 1);
  cluster.away = new HoldfastError('UNAVAILABLE', 'the credentials cannot be had');
  await look();
  t.match(log.slice(1), [{ error: /credentials/ }]);
  delete cluster.away;
  cluster.end = async () => ({ kind: 'ended' });
  await look();
  t.same(asked.slice(2), ['c', 'a', 'b'], 'all of them when it is back');
});

t.test('a look ends when the agent does, without a warning', async (t) => {
  const ending = new AbortController();
  const { giveUp, cluster, log } = build('a');
  cluster.end = async () => {
    ending.abort(new Error('the agent ends'));
    throw new HoldfastError('UNAVAILABLE', 'aborted');
  };
  await t.rejects(giveUp.giveUpWhereDue(ending.signal), { message: 'the agent ends' });
  t.same(log, []);
});
