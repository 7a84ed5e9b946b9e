import t from 'tap';
import { combinePodSources } from '../../../agent/cluster/combined-pod-source.ts';
import type { PodPhase, PodSource } from '../../../agent/cluster/pod-source.ts';
import { podUid } from '../../../agent/model/ids.ts';
import type { PodFacts } from '../../../agent/model/pod.ts';

const pod = { uid: podUid('u1'), namespace: 'default', name: 'web-0' };
const facts: PodFacts = {
  ...pod,
  labels: new Map(),
  annotations: new Map(),
  containers: [],
  deleting: false,
  finished: false,
};

interface More {
  readonly problem?: string;
  readonly knows?: boolean;
  readonly seesDeletions?: boolean;
}

function source(phase: PodPhase, { seesDeletions = false, ...more }: More = {}): PodSource {
  return {
    seesDeletions,
    status: () => ({ name: phase, ageMs: 0, ...(more.problem === undefined ? {} : { problem: more.problem }) }),
    find: () => (more.knows === true ? facts : undefined),
    phaseOf: () => phase,
    onChange: () => () => {},
    close: () => {},
  };
}

const phase = (...sources: readonly PodSource[]): PodPhase => combinePodSources(sources).phaseOf(pod);

t.test('the source that keeps the holdings wins', async (t) => {
  t.equal(phase(), 'unknown');
  t.equal(phase(source('deleted'), source('present')), 'present');
  t.equal(phase(source('deleted'), source('finished')), 'finished');
});

t.test('a pod is deleted only when no other source might know it', async (t) => {
  t.equal(phase(source('deleted'), source('unknown')), 'deleted');
  t.equal(phase(source('deleted'), source('unknown', { problem: 'cannot be read' })), 'unknown');
  t.equal(phase(source('deleted'), source('unknown', { knows: true })), 'unknown');
  t.equal(phase(source('deleted', { problem: 'old' })), 'deleted', 'a source judges for itself');
});

t.test('a deletion that was seen needs nobody else', async (t) => {
  const seen = source('deleted', { seesDeletions: true });
  t.equal(phase(seen, source('unknown', { problem: 'one manifest cannot be read' })), 'deleted');
  t.equal(phase(source('unknown', { knows: true }), seen), 'deleted', 'a pod of the same name is another one');
  t.equal(phase(seen, source('present')), 'present');
  const blind = source('unknown', { problem: 'not reached', seesDeletions: true });
  t.equal(phase(source('deleted'), blind), 'unknown');
});
