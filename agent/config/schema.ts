// The agent's configuration: every key with its default. docs/configuration.md says what each is for.
import os from 'node:os';
import { z } from 'zod';
import {
  absolutePath,
  address,
  addressRange,
  cpuList,
  cron,
  duration,
  etcdEndpoint,
  listenAddress,
  quantity,
  subnet,
} from './fields.ts';

export const API_VERSION = 'holdfast.dev/v1';
export const KIND = 'AgentConfig';

const policyDefaults = z.strictObject({
  restart: z.enum(['rebuild', 'reuse']).exactOptional(),
  cpuset: z.enum(['shared', 'exclusive']).exactOptional(),
  numa: z.enum(['none', 'preferred', 'required']).exactOptional(),
  ip: z.enum(['none', 'keep', 'app']).exactOptional(),
});

const pool = z.strictObject({
  subnets: z
    .array(
      z.strictObject({
        cidr: subnet,
        /** Absent: the subnet has no way out, or (in routed mode) needs none. */
        gateway: address.exactOptional(),
        /** Empty: the whole subnet. */
        ranges: z.array(addressRange).max(256).default([]),
        exclude: z.array(addressRange).max(256).default([]),
      }),
    )
    .min(1)
    .max(64),
  /** Whether pods have the host's address towards the outside. */
  masquerade: z.boolean().default(false),
  routes: z
    .array(z.strictObject({ to: subnet, via: address.exactOptional() }))
    // As many as an interface is given.
    .max(32)
    .default([]),
});

const namespacePolicy = z.strictObject({
  defaults: policyDefaults.prefault({}),
  deny: z.array(z.enum(['reuse', 'exclusive', 'required'])).default([]),
});

/** Several hosts that have their pools in common. */
const etcdStore = z.strictObject({
  endpoints: z.array(etcdEndpoint).min(1).max(16),
  /** Of all keys; another one is another world. */
  prefix: z
    .string()
    .regex(/^\/(?:[A-Za-z0-9._-]{1,63}\/){1,8}$/, { error: 'must be a path such as "/holdfast/"' })
    .default('/holdfast/'),
  /** Absent: only for endpoints with http. */
  tls: z.strictObject({ ca: absolutePath, certificate: absolutePath, key: absolutePath }).optional(),
  /** How long a host may be without etcd before the addresses of pods with `ip: keep` go down. */
  leaseTtl: duration.prefault('30s'),
  /** How long others wait before they take over what such a host held. */
  fencingDelay: duration.prefault('10s'),
});

const poolName = z.string().regex(/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/, { error: 'is not a name for a pool' });

/** A namespace's name: a DNS label (RFC 1123), as the API server requires. */
const namespaceName = z.string().regex(/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/, {
  error: 'is not the name of a namespace',
});

/** The kubelet's own default: the host name in lower case. */
function defaultNodeName(): string {
  return os.hostname().trim().toLowerCase();
}

export const agentConfigSchema = z.strictObject({
  apiVersion: z.literal(API_VERSION),
  kind: z.literal(KIND),
  nodeName: z
    .string()
    .regex(/^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/, { error: 'is not the name of a node' })
    .prefault(defaultNodeName),
  log: z
    .strictObject({
      level: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']).default('info'),
    })
    .prefault({}),
  runtime: z
    .strictObject({
      endpoint: absolutePath.default('/run/containerd/containerd.sock'),
    })
    .prefault({}),
  paths: z
    .strictObject({
      state: absolutePath.default('/var/lib/holdfast'),
      run: absolutePath.default('/run/holdfast'),
      hostRoot: absolutePath.default('/'),
    })
    .prefault({}),
  podSource: z
    .strictObject({
      /** Absent: no file. */
      file: absolutePath.optional(),
      /** Absent: the kubelet's staticPodPath, where there is a kubelet. */
      staticManifests: z.union([z.literal('off'), absolutePath], { error: 'must be a path, or "off"' }).optional(),
      /** Whose credentials the watch on the API server uses. */
      api: z
        .union([z.enum(['off', 'kubelet']), z.strictObject({ kubeconfig: absolutePath })], {
          error: 'must be "off", "kubelet" or {kubeconfig: <absolute path>}',
        })
        .default('off'),
    })
    .prefault({}),
  podResources: z
    .strictObject({
      /** The kubelet's own socket, below the host's root. */
      kubelet: z
        .union([z.literal('off'), absolutePath], { error: 'must be a path, or "off"' })
        .default('/var/lib/kubelet/pod-resources/kubelet.sock'),
    })
    .prefault({}),
  nodeResourceTopology: z
    .union(
      [
        z.literal('off'),
        z.strictObject({
          /** Whose credentials write the object; the kubelet's own may not. */
          kubeconfig: absolutePath,
          /** Absent: what policy.defaults.numa comes to. */
          policy: z.enum(['none', 'best-effort', 'restricted', 'single-numa-node']).exactOptional(),
        }),
      ],
      { error: 'must be "off" or {kubeconfig: <absolute path>}' },
    )
    .default('off'),
  cpuset: z
    .strictObject({
      enabled: z.boolean().default(true),
      /** Absent: the kubelet's reservedSystemCPUs. */
      reservedCpus: cpuList.optional(),
    })
    .prefault({}),
  numa: z
    .strictObject({
      /** Pack: a pod that fits no node is refused, so whole nodes are kept free for those that need one. */
      strategy: z.enum(['spread', 'pack']).default('pack'),
      unboundMemory: z.enum(['proportional', 'ignore']).default('proportional'),
      /** Per NUMA node. */
      reservedMemory: quantity.prefault('0'),
    })
    .prefault({}),
  reuse: z
    .strictObject({
      enabled: z.boolean().default(true),
      budget: quantity.prefault('20Gi'),
      maxAge: duration.prefault('7d'),
      fastFailures: z
        .strictObject({
          /** 0: a layer is never given up for failures. */
          limit: z.int().min(0).max(1000).default(0),
          within: duration.prefault('10s'),
        })
        .prefault({}),
    })
    .prefault({}),
  network: z
    .strictObject({
      /** Where it is on record who has which address: on this host alone, or where others have it, too. */
      store: z
        .union([z.literal('embedded'), z.strictObject({ etcd: etcdStore })], {
          error: 'must be "embedded" or {etcd: {endpoints: […]}}',
        })
        .default('embedded'),
      /** By name; networks of CNI name theirs. Empty: the CNI plugin is not served. */
      pools: z.record(poolName, pool).default({}),
      /** Absent: the only pool there is. */
      defaultPool: poolName.optional(),
      /** The label that names a pod's app where its annotation does not. */
      appLabel: z.string().min(1).max(317).default('app.kubernetes.io/name'),
      /** How long a pod with `ip: keep` may be away. */
      keepFor: duration.prefault('1d'),
      reserve: z
        .strictObject({
          /** Of each app in each pool; pods, whatever the number of their addresses. */
          cap: z.int().min(0).max(256).default(16),
          keepFor: duration.prefault('1d'),
        })
        .prefault({}),
      /** Before an address that was given back is granted to another app. */
      cooldown: duration.prefault('1m'),
      /** How long something must have been nobody's before it is collected. */
      collectAfter: duration.prefault('5m'),
    })
    .prefault({}),
  holdings: z
    .strictObject({
      gracePeriod: duration.prefault('5m'),
    })
    .prefault({}),
  refusal: z
    .strictObject({
      /** How long a pod that was bound to this node waits for room; `off`: for ever. */
      giveUpAfter: z.union([z.literal('off'), duration]).prefault('off'),
      /** What happens to it then. */
      giveUpBy: z.enum(['fail', 'delete']).default('fail'),
    })
    .prefault({}),
  policy: z
    .strictObject({
      onDenied: z.enum(['refuse', 'ignore']).default('refuse'),
      defaults: policyDefaults.prefault({}),
      namespaces: z.record(namespaceName, namespacePolicy).default({}),
    })
    .prefault({}),
  schedules: z
    .strictObject({
      reconcile: cron.default('*/30 * * * * *'),
      topology: cron.default('30 * * * * *'),
      report: cron.default('0 0 * * * *'),
    })
    .prefault({}),
  topologyApi: z
    .strictObject({
      /** Absent: off without certificates; see topology-address.ts. */
      address: listenAddress.optional(),
      /** Absent: loopback addresses only. */
      tls: z
        .strictObject({
          certificate: absolutePath,
          key: absolutePath,
          clientCa: absolutePath,
        })
        .optional(),
    })
    .prefault({}),
  metrics: z
    .strictObject({
      address: listenAddress.prefault('127.0.0.1:9571'),
    })
    .prefault({}),
});

/** The configuration in force, units and defaults resolved. */
export type AgentConfig = z.output<typeof agentConfigSchema>;

/** The schema of a configuration file, for editors and for checking with other tools (JSON Schema 2020-12). */
export function configJsonSchema(): Readonly<Record<string, unknown>> {
  return z.toJSONSchema(agentConfigSchema, {
    io: 'input',
    override: ({ zodSchema, jsonSchema }) => {
      // The default is this host's name: it says nothing about another host.
      if (zodSchema === agentConfigSchema.shape.nodeName) delete jsonSchema.default;
    },
  });
}
