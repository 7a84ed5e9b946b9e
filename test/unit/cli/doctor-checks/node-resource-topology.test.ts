// What doctor says of the NodeResourceTopology object.
import t from 'tap';
import {
  checkNodeResourceTopology,
  type NodeResourceTopologyFacts,
} from '../../../../agent/cli/doctor-checks/node-resource-topology.ts';

const WELL: NodeResourceTopologyFacts = {
  nodeName: 'worker-1',
  owners: { value: { others: [], isOurs: true } },
  agent: { value: { level: 'ok', text: 'object worker-1' } },
};

const CASES: readonly (readonly [string, Partial<NodeResourceTopologyFacts>, string, RegExp])[] = [
  ['all is well', {}, 'ok', /written by holdfast alone/],
  ['somebody else owns it, too', { owners: { value: { others: ['nfd'], isOurs: true } } }, 'failed', /^nfd writes/],
  ['somebody else owns it alone', { owners: { value: { others: ['koordlet'], isOurs: false } } }, 'failed', /koordlet/],
  [
    'the agent saw somebody else, who has not got it now',
    { agent: { value: { level: 'failed', text: 'nfd writes it' } } },
    'failed',
    /nfd/,
  ],
  [
    'the agent saw somebody else, and the object cannot be looked at',
    { owners: { problem: 'timeout' }, agent: { value: { level: 'failed', text: 'nfd writes it' } } },
    'failed',
    /nfd/,
  ],
  ['there is none', { owners: { value: undefined } }, 'warning', /no object worker-1/],
  ['it cannot be looked at', { owners: { problem: 'answers 403' } }, 'warning', /answers 403/],
  ['the agent has a problem', { agent: { value: { level: 'warning', text: 'not up to date' } } }, 'warning', /^not up/],
  ['the agent is away: another finding says so', { agent: { problem: 'ENOENT' } }, 'ok', /holdfast alone/],
];

for (const [what, facts, level, text] of CASES) {
  t.test(what, async (t) => {
    const found = checkNodeResourceTopology({ ...WELL, ...facts });
    t.match(found, [{ level, text, ...(level === 'ok' ? {} : { remedy: /node-resource-topology|holdfast status/ }) }]);
    t.equal(found.length, 1);
  });
}
