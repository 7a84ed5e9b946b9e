// Does the runtime find the CNI plugin of this version, and does the agent answer it? Pure.
import { type CniFacts, type FoundPlugin, pluginPath } from '../../install/cni-facts.ts';
import { PLUGIN_MODE, PLUGIN_SCRIPT } from '../../install/wanted-cni.ts';
import type { Finding } from './check.ts';
import type { Answer } from './services.ts';

export interface CniPluginFacts {
  readonly cni: CniFacts;
  /** Of the launcher of the program that looks; undefined where it has none. */
  readonly launcherMark: string | undefined;
  /** The versions that the plugin in place says it speaks; undefined where it was not asked. */
  readonly versions: Answer<readonly string[]> | undefined;
  readonly socket: string;
  /** What the agent answered to STATUS, by pool: an error of CNI, or nothing. */
  readonly status: ReadonlyMap<string, Answer<string | undefined>>;
}

const subject = 'cni plugin';
const REMEDY = 'holdfast install puts the plugin of this version in place';

/** Where the runtime finds the plugin: in the first directory that has one. */
export function pluginInUse({ directories, plugins }: CniFacts): readonly [string, FoundPlugin] | undefined {
  for (const directory of directories.plugins) {
    const path = pluginPath(directory);
    const found = plugins.get(path);
    if (found !== undefined) return [path, found];
  }
  return undefined;
}

function describe(path: string, found: FoundPlugin, mark: string | undefined): Finding {
  const warning = (text: string, remedy = REMEDY): Finding => ({ level: 'warning', subject, text, remedy });
  if (found.kind === 'foreign') {
    const text = `${path} is ${found.what} of somebody else's: pods of our networks cannot start`;
    return { level: 'failed', subject, text, remedy: `move it away; ${REMEDY}` };
  }
  if (found.kind === 'by-hand') {
    return warning(
      `${path} was put there by hand: of which version it is cannot be seen`,
      `${REMEDY} with --overwrite`,
    );
  }
  if (found.mode !== PLUGIN_MODE) return warning(`${path} has the mode 0${found.mode.toString(8)} instead of 0755`);
  if (found.kind === 'script') {
    if (found.text !== PLUGIN_SCRIPT)
      return warning(`${path} was changed since it was installed`, `${REMEDY} with --overwrite`);
    return { level: 'ok', subject, text: `${path}, the Node form` };
  }
  if (found.mark !== mark) return warning(`${path} is the launcher of another version`);
  return { level: 'ok', subject, text: `${path}, the launcher of this version` };
}

function checkPlace({ cni, launcherMark, versions }: CniPluginFacts): readonly Finding[] {
  const { directories } = cni;
  const problem: readonly Finding[] =
    directories.problem === undefined
      ? []
      : [
          {
            level: 'warning',
            subject,
            text: `where the runtime looks for plugins cannot be read: ${directories.problem}`,
            remedy: 'start the runtime, or put its configuration right',
          },
        ];
  const inUse = pluginInUse(cni);
  if (inUse === undefined) {
    const places = directories.plugins.join(', ');
    const text = `there is none in ${places} (${directories.source}): pods of our networks cannot start`;
    return [...problem, { level: 'failed', subject, text, remedy: REMEDY }];
  }
  const [path, found] = inUse;
  const place = describe(path, found, launcherMark);
  if (versions === undefined || 'value' in versions) return [...problem, place];
  const remedy =
    found.kind === 'script' || found.kind === 'by-hand'
      ? 'the Node form needs node in the PATH of the runtime; holdfast install --cni-plugin=launcher places the other one'
      : 'see that the file system is not mounted noexec; holdfast install --cni-plugin=node places the other form';
  return [...problem, place, { level: 'failed', subject, text: versions.problem, remedy }];
}

/** One finding for the socket, and one for each pool that cannot serve. */
function checkAgent({ socket, status }: CniPluginFacts): readonly Finding[] {
  const away = [...status.values()].find((answer) => 'problem' in answer);
  if (away !== undefined && 'problem' in away) {
    const text = `the agent does not answer on ${socket}: ${away.problem}; no pod of our networks can start or be removed`;
    const remedy = 'systemctl restart holdfast-agent: it serves the socket since its configuration has pools';
    return [{ level: 'failed', subject: 'cni socket', text, remedy }];
  }
  const troubled = [...status].flatMap(([pool, answer]): readonly Finding[] =>
    'value' in answer && answer.value !== undefined
      ? [
          {
            level: 'warning',
            subject: 'cni socket',
            text: `pool ${pool} cannot serve new pods: ${answer.value}`,
            remedy: 'holdfast ip pools and holdfast ip ls show who has the addresses',
          },
        ]
      : [],
  );
  return troubled.length > 0
    ? troubled
    : [{ level: 'ok', subject: 'cni socket', text: `the agent answers on ${socket}` }];
}

export function checkCniPlugin(facts: CniPluginFacts): readonly Finding[] {
  return [...checkPlace(facts), ...checkAgent(facts)];
}
