// The configuration of the extender: every key with its default. docs/extender.md says what each is for.
import { z } from 'zod';
import { absolutePath, duration, listenAddress } from '../../agent/config/fields.ts';
import { API_VERSION, agentConfigSchema } from '../../agent/config/schema.ts';

export const EXTENDER_KIND = 'ExtenderConfig';

function isPort(port: number): boolean {
  return port >= 1 && port <= 65_535;
}

const nodeName = z.string().regex(/^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/, { error: 'is not the name of a node' });
const agentAddress = z
  .string()
  .regex(/^(?:\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+):\d{1,5}$/, { error: 'must be an address such as "10.0.0.1:9570"' })
  .refine((text) => isPort(Number(/\d+$/.exec(text)?.[0])), { error: 'must end with a port from 1 to 65535' });
const someTime = duration.refine((milliseconds) => milliseconds > 0, { error: 'must be longer than 0s' });
const treatment = z.enum(['refuse', 'allow']);

export const extenderConfigSchema = z.strictObject({
  apiVersion: z.literal(API_VERSION),
  kind: z.literal(EXTENDER_KIND),
  log: agentConfigSchema.shape.log,
  listen: z
    .strictObject({
      address: listenAddress
        .prefault('127.0.0.1:9572')
        .refine((address) => address !== 'off', { error: 'must be an address such as "127.0.0.1:9572"' }),
      health: listenAddress.prefault('off'),
      /** Without tls, on addresses that other hosts can reach. */
      plaintext: treatment.default('refuse'),
      tls: z
        .strictObject({
          certificateFile: absolutePath,
          keyFile: absolutePath,
          clientCaFile: absolutePath.optional(),
        })
        .optional(),
    })
    .prefault({}),
  /** Absent: nodes and pods are not followed, and only agents.endpoints are known. */
  kubernetes: z
    .strictObject({
      kubeconfig: absolutePath,
      nodeSelector: z.string().max(1000).default(''),
    })
    .optional(),
  agents: z
    .strictObject({
      port: z.int().min(1).max(65_535).default(9570),
      endpoints: z
        .array(z.strictObject({ node: nodeName, address: agentAddress }))
        .max(20_000)
        .default([]),
      tls: z
        .strictObject({
          caFile: absolutePath,
          certificateFile: absolutePath,
          keyFile: absolutePath,
          verify: z.enum(['address', 'nodeName']).default('address'),
        })
        .optional(),
      /** Without tls, to other hosts. */
      plaintext: treatment.default('refuse'),
      maxAge: someTime.prefault('30s'),
      onLost: treatment.default('refuse'),
      onUnknown: treatment.default('refuse'),
    })
    .prefault({}),
  inFlight: z
    .strictObject({
      ttl: someTime.prefault('30s'),
      wait: duration.prefault('2s'),
      nodes: z.int().min(1).max(5000).default(100),
    })
    .prefault({}),
  numa: agentConfigSchema.shape.numa.unwrap().pick({ strategy: true, unboundMemory: true }).prefault({}),
  policy: agentConfigSchema.shape.policy,
});

export type ExtenderConfig = z.output<typeof extenderConfigSchema>;
