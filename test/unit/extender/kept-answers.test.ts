// Answers that are kept are those that planning gives.
import t from 'tap';
import { buildMachine } from '../../../agent/cpuset/machine.ts';
import { Room } from '../../../agent/cpuset/room.ts';
import { CpuSet } from '../../../agent/model/cpu-set.ts';
import { KeptAnswers } from '../../../extender/planning/kept-answers.ts';
import { planFit, takePlace } from '../../../extender/planning/plan-fit.ts';
import { planScore } from '../../../extender/planning/plan-score.ts';
import { evenHost } from '../../support/hand-made-hosts.ts';
import { exclusivePod } from '../../support/random-pods.ts';
import { PLAN_RULES } from '../../support/topology-agent.ts';

const newRoom = () => new Room(buildMachine(evenHost(2, 40, 1), CpuSet.of(0)), PLAN_RULES);

await t.test('a pod that asks for the same as an earlier one gets the same answers without planning', async (t) => {
  const room = newRoom();
  const answers = new KeptAnswers(room);
  const asked = exclusivePod('first', 30);
  const first = { whyNot: answers.fit(asked), score: answers.score(asked) };
  t.same(first, { whyNot: undefined, score: planScore(room, asked) });
  takePlace(room, exclusivePod('a', 40));
  takePlace(room, exclusivePod('b', 30));
  const alike = exclusivePod('second', 30);
  t.same({ whyNot: answers.fit(alike), score: answers.score(alike) }, first, 'kept: nobody may change the room');
  const other = new KeptAnswers(room);
  t.match(other.fit(alike), /no NUMA node has room/);
  t.equal(other.score(alike), 0);
});

await t.test('more needs than are kept are answered all the same', async (t) => {
  const room = newRoom();
  const answers = new KeptAnswers(room);
  for (let round = 0; round < 2; round += 1) {
    for (let cpus = 1; cpus <= 45; cpus += 1) {
      const ask = exclusivePod('p', cpus);
      t.equal(answers.fit(ask), planFit(room, ask));
      t.equal(answers.score(ask), planScore(room, ask));
    }
  }
});
