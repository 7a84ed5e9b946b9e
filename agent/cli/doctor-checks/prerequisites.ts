// What an installation needs of the host beforehand: which findings stand in its way, and the Node.js of the services. Pure.
import type { Blocker } from '../../install/step.ts';
import type { Finding } from './check.ts';

/** What installing itself puts in order or looks at more closely, and what is only told. */
const OF_THE_INSTALLATION = new Set([
  'host',
  'agent',
  'cri-shim',
  'runtime',
  'installation',
  'kubelet runtime endpoint',
  'cni plugin',
  'cni socket',
  'cni network',
]);

/** What people should know beforehand. */
export function warningsOfFindings(findings: readonly Finding[]): readonly Finding[] {
  return findings.filter(({ level, subject }) => level === 'warning' && !OF_THE_INSTALLATION.has(subject));
}

export function blockersOfFindings(findings: readonly Finding[]): readonly Blocker[] {
  return findings
    .filter(({ level, subject }) => level === 'failed' && !OF_THE_INSTALLATION.has(subject))
    .map(({ subject, text, remedy }) => ({
      text: `${subject}: ${text}`,
      remedy: remedy ?? 'holdfast doctor says more',
    }));
}

/** As `engines` of package.json. */
const NEEDED = [20, 19] as const;

/** @param version - what `node --version` says where the services look for it; undefined when there is none */
export function checkNodeVersion(version: string | undefined): readonly Blocker[] {
  const [, major = '0', minor = '0'] = /^v(\d+)\.(\d+)\./.exec(version?.trim() ?? '') ?? [];
  const isEnough = Number(major) > NEEDED[0] || (Number(major) === NEEDED[0] && Number(minor) >= NEEDED[1]);
  if (isEnough) return [];
  const found = version === undefined ? 'there is no node' : `node is ${version.trim()}`;
  return [
    {
      text: `${found} in the directories where services look for it (/usr/local/bin, /usr/bin, …)`,
      remedy: `install Node.js ${NEEDED.join('.')} or newer for the whole system (Debian 13: apt install nodejs)`,
    },
  ];
}
