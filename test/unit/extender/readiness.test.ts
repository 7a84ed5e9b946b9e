// When answers are good after a start: nodes and pods are listed, and every agent had its turn, or was waited for.
import t from 'tap';
import { Readiness } from '../../../extender/scheduling/readiness.ts';

function starting() {
  const state = { now: 0, isListed: false, untried: 3 };
  const readiness = new Readiness({ isListed: () => state.isListed, untried: () => state.untried }, () => state.now);
  return { state, readiness };
}

t.test('it is ready when all is listed and every agent was tried, and stays so', async (t) => {
  const { state, readiness } = starting();
  t.match(readiness.missing(), /not listed yet/);
  state.isListed = true;
  t.match(readiness.missing(), /3 agents were not connected to yet/);
  state.untried = 0;
  t.equal(readiness.missing(), undefined);
  state.untried = 5;
  t.equal(readiness.missing(), undefined, 'nodes that come later hold up nobody');
});

t.test('agents are waited for only so long after the list', async (t) => {
  const { state, readiness } = starting();
  state.now = 60_000;
  t.match(readiness.missing(), /not listed yet/, 'without the list of pods no answer is good');
  state.isListed = true;
  t.match(readiness.missing(), /3 agents/);
  state.now += 29_999;
  t.match(readiness.missing(), /3 agents/);
  state.now += 1;
  t.equal(readiness.missing(), undefined);
});
