// Who may speak to the API server, by static tokens, and the kubeconfig files with them.
import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { stringify } from 'yaml';

/** The name in the API of the only node; the API server reaches its kubelet by it, over loopback. */
export const NODE_NAME = 'localhost';

const USERS = {
  admin: { user: 'admin', groups: 'system:masters' },
  controllerManager: { user: 'system:kube-controller-manager', groups: '' },
  scheduler: { user: 'system:kube-scheduler', groups: '' },
  kubelet: { user: `system:node:${NODE_NAME}`, groups: 'system:nodes' },
} as const;

type UserName = keyof typeof USERS;

export interface ApiAddress {
  /** `https://…` */
  readonly server: string;
  /** PEM file of the authority. */
  readonly authority: string;
}

/** @returns the kubeconfig of one user */
export function kubeconfig({ server, authority }: ApiAddress, token: string): string {
  return stringify({
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'cluster', cluster: { server, 'certificate-authority': authority } }],
    users: [{ name: 'user', user: { token } }],
    contexts: [{ name: 'context', context: { cluster: 'cluster', user: 'user' } }],
    'current-context': 'context',
  });
}

export interface Users {
  /** What the API server reads (`--token-auth-file`). */
  readonly tokenFile: string;
  /** Paths of kubeconfig files. */
  readonly kubeconfigs: Readonly<Record<UserName, string>>;
  readonly adminToken: string;
}

/** @param folder - takes the files */
export async function makeUsers(folder: string, address: ApiAddress): Promise<Users> {
  const lines: string[] = [];
  const path = async (name: UserName, token: string): Promise<string> => {
    const { user, groups } = USERS[name];
    lines.push(`${token},${user},${name},"${groups}"\n`);
    const file = join(folder, `${name}.kubeconfig`);
    await writeFile(file, kubeconfig(address, token), { mode: 0o600 });
    return file;
  };
  const token = (): string => randomBytes(16).toString('hex');
  const adminToken = token();
  const kubeconfigs = {
    admin: await path('admin', adminToken),
    controllerManager: await path('controllerManager', token()),
    scheduler: await path('scheduler', token()),
    kubelet: await path('kubelet', token()),
  };
  const tokenFile = join(folder, 'tokens.csv');
  await writeFile(tokenFile, lines.join(''), { mode: 0o600 });
  return { tokenFile, kubeconfigs, adminToken };
}
