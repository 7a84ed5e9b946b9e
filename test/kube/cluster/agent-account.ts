// The agent's own account in the API: the service account and the rights that the manifests in deploy/ give it.
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { CoreV1Api } from '@kubernetes/client-node';
import { type ApiAddress, kubeconfig } from './users.ts';
import { until } from './wait.ts';

const MANIFEST = fileURLToPath(new URL('../../../deploy/rbac.yaml', import.meta.url));
const NAMESPACE = 'holdfast-system';
const SERVICE_ACCOUNT = 'holdfast-agent';

/** The token that the controller manager of this Kubernetes makes for each service account. */
async function readToken(core: CoreV1Api): Promise<string> {
  let token = '';
  await until(`the token of ${SERVICE_ACCOUNT}`, async () => {
    const { items } = await core.listNamespacedSecret({ namespace: NAMESPACE });
    const own = items.find(({ metadata }) => {
      return metadata?.annotations?.['kubernetes.io/service-account.name'] === SERVICE_ACCOUNT;
    });
    token = Buffer.from(own?.data?.['token'] ?? '', 'base64').toString();
    return token !== '';
  });
  return token;
}

/**
 * @param kubectl - as an administrator
 * @param folder - takes the file
 * @returns the path of the agent's kubeconfig
 */
export async function makeAgentAccount(
  core: CoreV1Api,
  kubectl: (...args: readonly string[]) => Promise<string>,
  address: ApiAddress,
  folder: string,
): Promise<string> {
  await kubectl('apply', '--filename', MANIFEST);
  const file = join(folder, 'agent.kubeconfig');
  await writeFile(file, kubeconfig(address, await readToken(core)), { mode: 0o600 });
  return file;
}
