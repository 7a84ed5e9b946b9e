import t from 'tap';
import { REBUILD_REASONS } from '../../../agent/reuse/layer.ts';
import {
  type CreateFacts,
  explainRebuild,
  fateOf,
  planCreate,
  type SourceFacts,
} from '../../../agent/reuse/plan-create.ts';
import { A, B, heldLayer, newContainer } from './records.ts';

const SOURCE: SourceFacts = {
  layer: heldLayer(A),
  exists: true,
  upperdir: '/a/fs',
  holderState: 'exited',
  mountedAt: undefined,
};

function facts(more: Partial<CreateFacts> = {}, source: Partial<SourceFacts> = {}): CreateFacts {
  return {
    wantsReuse: true,
    resetRequested: false,
    failedTooOften: false,
    fresh: { ...newContainer(B).fresh, upperdir: '/b/fs' },
    source: { ...SOURCE, ...source },
    ...more,
  };
}

t.test('the layer moves when nothing speaks against it, whatever state its holder is in', async (t) => {
  for (const holderState of ['created', 'exited', 'unknown', undefined] as const) {
    t.strictSame(
      planCreate(facts({}, { holderState })),
      { do: 'move', from: '/a/fs', to: '/b/fs' },
      holderState ?? 'kept',
    );
  }
});

t.test('the first container begins', async (t) => {
  t.strictSame(planCreate(facts({ source: undefined })), { do: 'begin' });
});

t.test('another image or another snapshotter rebuilds', async (t) => {
  t.strictSame(planCreate(facts({}, { layer: heldLayer(A, { parent: 'other' }) })), { do: 'rebuild', reason: 'image' });
  const layer = heldLayer(A, { snapshot: { snapshotter: 'native', key: 'a' } });
  t.strictSame(planCreate(facts({}, { layer })), { do: 'rebuild', reason: 'snapshotter' });
  t.match(planCreate(facts({}, { layer: heldLayer(A, { image: 'another name' }) })), { do: 'move' }, 'layers decide');
});

t.test('so do a reset, too many failures, another policy, a lost layer and other filesystems', async (t) => {
  t.match(planCreate(facts({ resetRequested: true })), { reason: 'reset' });
  t.match(planCreate(facts({ failedTooOften: true })), { reason: 'failures' });
  t.match(planCreate(facts({ wantsReuse: false })), { reason: 'policy' });
  t.match(planCreate(facts({}, { exists: false })), { reason: 'lost' });
  t.match(planCreate(facts({}, { upperdir: undefined })), { reason: 'not-overlayfs' });
  const fresh = { ...newContainer(B).fresh, upperdir: undefined };
  t.match(planCreate(facts({ fresh })), { reason: 'not-overlayfs' });
});

t.test('a layer in use is never moved', async (t) => {
  t.match(planCreate(facts({}, { holderState: 'running' })), { do: 'refuse', code: 'PRECONDITION' });
  t.match(planCreate(facts({}, { mountedAt: '/x' })), { do: 'refuse', code: 'UNAVAILABLE', why: /mounted at \/x/ });
});

t.test('data that nobody gave up is not dropped', async (t) => {
  t.strictSame(
    REBUILD_REASONS.filter((reason) => fateOf(reason) === 'strand'),
    ['snapshotter', 'not-overlayfs', 'not-empty', 'other-filesystem'],
  );
  t.equal(new Set(REBUILD_REASONS.map(explainRebuild)).size, REBUILD_REASONS.length);
});
