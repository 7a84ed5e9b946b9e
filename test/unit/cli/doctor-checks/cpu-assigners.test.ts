// What doctor says about others that assign CPUs.
import t from 'tap';
import { checkCpuAssigners } from '../../../../agent/cli/doctor-checks/cpu-assigners.ts';
import { readCpuAssignerFacts } from '../../../../agent/host/cpu-assigners.ts';
import { openHostTree } from '../../../../agent/host/host-tree.ts';

const signal = new AbortController().signal;
const facts = { processes: [], nriSocket: false, nriPlugins: [], nriConfigs: [] };
const named = (...names: readonly string[]) =>
  names.map((name, index) => ({ pid: index + 100, name, arguments: [name] }));

await t.test('nobody; irqbalance and tuned do no harm', async (t) => {
  const findings = checkCpuAssigners({ ...facts, processes: named('irqbalance', 'tuned', 'koordlet-exporter') });
  t.same(
    findings.map(({ level }) => level),
    ['ok', 'ok'],
  );
});

await t.test('other node agents', async (t) => {
  const findings = checkCpuAssigners({
    ...facts,
    processes: named(
      'koordlet',
      'nri-resource-policy-balloons',
      'nri-resource-policy-topology-aware',
      'cri-resmgr',
      'katalyst-agent',
    ),
  });
  t.same(
    findings.map(({ level }) => level),
    ['warning', 'warning', 'warning', 'warning', 'ok'],
  );
  t.match(findings[1]?.text, /balloons \(process 101\), nri-resource-policy-topology-aware \(process 102\)/);
  t.ok(findings.slice(0, 4).every(({ remedy }) => remedy !== undefined));
});

await t.test('NRI plugins', async (t) => {
  const nri = (nriPlugins: readonly string[], nriConfigs: readonly string[] = [], nriSocket = true) =>
    checkCpuAssigners({ ...facts, nriPlugins, nriConfigs, nriSocket }).at(-1);
  t.match(nri(['10-topology-aware', '20-logger']), {
    level: 'warning',
    text: /: 10-topology-aware$/,
    remedy: /\/opt\/nri\/plugins\/10-topology-aware/,
  });
  t.match(nri(['20-logger'], ['20-logger.conf']), { level: 'ok', text: /20-logger, configuration 20-logger\.conf/ });
  t.match(nri([]), { level: 'ok', text: /lets plugins connect/ });
  t.match(nri([], [], false), { level: 'ok', text: 'none' });
});

await t.test('read from a host', async (t) => {
  const root = t.testdir({
    proc: { 7: { cmdline: 'koordlet\0-v=4\0' } },
    opt: { nri: { plugins: { '10-balloons': '' } } },
    etc: { nri: { 'conf.d': { '10-balloons.conf': '' } } },
    var: { run: { nri: { 'nri.sock': '' } } },
  });
  t.match(await readCpuAssignerFacts(await openHostTree(root), signal), {
    processes: [{ pid: 7, name: 'koordlet' }],
    nriSocket: true,
    nriPlugins: ['10-balloons'],
    nriConfigs: ['10-balloons.conf'],
  });
  t.same(await readCpuAssignerFacts(await openHostTree(t.testdir({})), signal), facts);
});
