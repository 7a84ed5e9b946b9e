// A network of their own for the pods of a private containerd: an interface in each pod and a bridge that leads nowhere.
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from '../../../agent/cli/quickstart/command.ts';
import { identify } from '../../../agent/cli/quickstart/process.ts';

/** With the process that made it in its name, so that a later run knows whether it is in use. */
const BRIDGE = /^hfkube(\d+)$/;

async function bridgesOf(isWanted: (pid: number) => Promise<boolean>): Promise<readonly string[]> {
  const found: string[] = [];
  for (const name of await readdir('/sys/class/net')) {
    const pid = BRIDGE.exec(name)?.[1];
    if (pid !== undefined && (await isWanted(Number(pid)))) found.push(name);
  }
  return found;
}

/** Where every user of the CNI library notes the interfaces that it has made, whatever its own directories are. */
const RESULTS = '/var/lib/cni/results';

/** What pods that were killed with their host have left there: each names a network namespace below its directory. */
async function removeStaleResults(): Promise<void> {
  if (!existsSync(RESULTS)) return;
  for (const name of await readdir(RESULTS)) {
    const text = await readFile(join(RESULTS, name), 'utf8');
    const directory = /"sandbox":"([^"]*\/holdfast-private-[^/"]+)\//.exec(text)?.[1];
    if (directory !== undefined && !existsSync(directory)) await rm(join(RESULTS, name), { force: true });
  }
}

/** Addresses for benchmarks of devices (RFC 2544): in use nowhere else. */
function subnet(): string {
  return `198.18.${process.pid % 256}.0/24`;
}

/** @param plugins - the folder with the CNI plugins */
export async function configurePodNetwork(directory: string, plugins: string): Promise<void> {
  for (const name of await bridgesOf(async (pid) => (await identify(pid)) === undefined)) {
    await run('ip', ['link', 'delete', name]);
  }
  await removeStaleResults();
  const configuration = {
    cniVersion: '0.4.0',
    name: 'pods',
    plugins: [
      {
        type: 'bridge',
        bridge: `hfkube${process.pid}`,
        ipam: { type: 'host-local', ranges: [[{ subnet: subnet() }]], dataDir: join(directory, 'cni', 'addresses') },
      },
    ],
  };
  const folder = join(directory, 'cni', 'net.d');
  await mkdir(folder, { recursive: true });
  await symlink(plugins, join(directory, 'cni', 'bin'));
  await writeFile(join(folder, '10-pods.conflist'), JSON.stringify(configuration));
}

/** When no pod and no directory is left. */
export async function removePodNetwork(): Promise<void> {
  await removeStaleResults();
  for (const name of await bridgesOf(async (pid) => pid === process.pid)) await run('ip', ['link', 'delete', name]);
}
