// What doctor says about the kubelet.
import t from 'tap';
import { checkKubelet } from '../../../../agent/cli/doctor-checks/kubelet.ts';
import { parseKubeletFlags } from '../../../../agent/cluster/kubelet-flags.ts';
import { mergeKubeletConfig } from '../../../../agent/cluster/kubelet-merge.ts';

const SHIM = '/run/holdfast/cri.sock';
const kubelet = (...words: readonly string[]) => mergeKubeletConfig(1, parseKubeletFlags(words), []);

await t.test('no kubelet, and one that leaves everything to us', async (t) => {
  t.same(checkKubelet(undefined, SHIM), [{ level: 'ok', subject: 'kubelet', text: 'none runs on this host' }]);
  for (const endpoint of [`unix://${SHIM}`, `unix:${SHIM}`, SHIM, 'unix:///run//holdfast/cri.sock']) {
    const findings = checkKubelet(kubelet('--container-runtime-endpoint', endpoint), SHIM);
    t.same(
      findings.map(({ level }) => level),
      ['ok', 'ok', 'ok'],
      endpoint,
    );
    t.ok(findings.every(({ remedy }) => remedy === undefined));
  }
});

await t.test('past the shim', async (t) => {
  const [finding] = checkKubelet(kubelet(), SHIM);
  t.match(finding, {
    level: 'warning',
    text: /containerd\.sock, past the shim/,
    remedy: /unix:\/\/\/run\/holdfast\/cri\.sock/,
  });
});

await t.test('static policies, and how to turn them off', async (t) => {
  const findings = checkKubelet(
    kubelet('--cpu-manager-policy=static', '--memory-manager-policy=Static', '--root-dir=/k'),
    SHIM,
  );
  t.match(
    findings.find(({ subject }) => subject === 'kubelet CPU manager'),
    {
      level: 'warning',
      remedy: /cpuManagerPolicy: none .*--cpu-manager-policy.*remove \/k\/cpu_manager_state, start the kubelet/,
    },
  );
  t.match(
    findings.find(({ subject }) => subject === 'kubelet memory manager'),
    {
      level: 'warning',
      remedy: /memoryManagerPolicy: None .*remove \/k\/memory_manager_state/,
    },
  );
});
