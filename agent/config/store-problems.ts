// What is wrong with the store of the network as a whole. Pure.
import type { AgentConfig } from './schema.ts';

type StoreConfig = AgentConfig['network']['store'];

const LEAST_TTL_MS = 5000;
const LONGEST_TTL_MS = 60 * 60_000;
/** A host that is started without etcd waits up to two seconds for it before it takes addresses down. */
const LEAST_FENCING_MS = 3000;

/** Sentences that begin with the key they are about. */
export function storeProblems(store: StoreConfig): readonly string[] {
  if (store === 'embedded') return [];
  const { endpoints, tls, leaseTtl, fencingDelay } = store.etcd;
  const problems: string[] = [];
  const https = endpoints.filter((endpoint) => endpoint.startsWith('https:'));
  if (https.length > 0 && https.length < endpoints.length) {
    problems.push('network.store.etcd.endpoints: some are with https and some with http; all must be alike');
  }
  if (https.length > 0 && tls === undefined) {
    problems.push('network.store.etcd.tls: endpoints with https need ca, certificate and key');
  }
  if (https.length === 0 && tls !== undefined) {
    problems.push('network.store.etcd.endpoints: write https:// where there are certificates');
  }
  if (leaseTtl < LEAST_TTL_MS || leaseTtl > LONGEST_TTL_MS || leaseTtl % 1000 !== 0) {
    problems.push('network.store.etcd.leaseTtl: must be whole seconds from 5s to 1h');
  }
  if (fencingDelay < LEAST_FENCING_MS || fencingDelay >= leaseTtl) {
    problems.push(
      'network.store.etcd.fencingDelay: must be 3s at least, and less than leaseTtl, so that no lease can come and go unseen in it',
    );
  }
  return problems;
}
