// Which pod a sandbox belongs to, as far as the runtime says: CNI_ARGS, and the annotations that containerd hands over
// where the configuration declares the capability io.kubernetes.cri.pod-annotations.
import { CNI_ERROR, CniError, quote } from './cni-error.ts';
import type { Variables } from './parse-environment.ts';
import type { PodHint } from './request.ts';

export const ANNOTATIONS_CAPABILITY = 'io.kubernetes.cri.pod-annotations';

/** The keys that are used, and what a value must look like: it becomes part of keys of the store. */
const KNOWN = {
  /** A DNS label, RFC 1123. */
  K8S_POD_NAMESPACE: /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/,
  /** A DNS subdomain, RFC 1123, as far as the API server's own rule for names of pods. */
  K8S_POD_NAME: /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/,
  /** A UUID; of a static pod the digits of a hash. */
  K8S_POD_UID: /^[A-Za-z0-9][A-Za-z0-9-]{0,127}$/,
} as const;

type KnownKey = keyof typeof KNOWN;

function invalid(why: string): CniError {
  return new CniError(CNI_ERROR.INVALID_ENVIRONMENT, 'INVALID_REQUEST', `CNI_ARGS ${why}`);
}

/**
 * Pairs as in `A=1;B=2`; keys that are not known here are another plugin's, with IgnoreUnknown or without.
 * @throws CniError 4
 */
function parseArgs(text: string): ReadonlyMap<KnownKey, string> {
  const found = new Map<KnownKey, string>();
  for (const pair of text.split(';').filter((part) => part !== '')) {
    const equals = pair.indexOf('=');
    if (equals < 1) throw invalid(`has ${quote(pair)}, which is no pair such as "A=1"`);
    const key = Object.keys(KNOWN).find((known) => known === pair.slice(0, equals)) as KnownKey | undefined;
    const value = pair.slice(equals + 1);
    if (key === undefined || value === '') continue;
    // Two answers to "whose is it" are none: which one counts would depend on who reads.
    if (found.has(key)) throw invalid(`has ${key} twice`);
    if (!KNOWN[key].test(value)) throw invalid(`has ${key}=${quote(value)}, which Kubernetes would not allow`);
    found.set(key, value);
  }
  return found;
}

/** @throws CniError 7 when they are not texts under texts */
function parseAnnotations(value: unknown): Readonly<Record<string, string>> | undefined {
  if (value === undefined || value === null) return undefined;
  const where = `runtimeConfig["${ANNOTATIONS_CAPABILITY}"]`;
  const refuse = (why: string) => new CniError(CNI_ERROR.INVALID_CONFIG, 'INVALID_REQUEST', `${where} ${why}`);
  if (typeof value !== 'object' || Array.isArray(value)) throw refuse(`must be an object, not ${quote(value)}`);
  const entries = Object.entries(value).map(([key, text]: readonly [string, unknown]): readonly [string, string] => {
    if (typeof text !== 'string') throw refuse(`has ${quote(key)}, which must be a text, not ${quote(text)}`);
    return [key, text];
  });
  // fromEntries defines keys instead of assigning to them: "__proto__" is a key like any other.
  return Object.fromEntries(entries);
}

/**
 * @param annotations - what the capability of that name holds
 * @throws CniError 4 when CNI_ARGS cannot be read, 7 when the annotations cannot
 */
export function parsePod(variables: Variables, annotations: unknown): PodHint {
  const args = parseArgs(variables.get('CNI_ARGS') ?? '');
  const namespace = args.get('K8S_POD_NAMESPACE');
  const name = args.get('K8S_POD_NAME');
  const uid = args.get('K8S_POD_UID');
  const parsed = parseAnnotations(annotations);
  return {
    ...(namespace === undefined ? {} : { namespace }),
    ...(name === undefined ? {} : { name }),
    ...(uid === undefined ? {} : { uid }),
    ...(parsed === undefined ? {} : { annotations: parsed }),
  };
}
