// What the CNI specification lets a plugin print, as schemas: strict, so that a key of another version is noticed.
import assert from 'node:assert/strict';
import { z } from 'zod';

const version = z.string().regex(/^\d{1,3}\.\d{1,3}\.\d{1,3}$/);
const texts = z.array(z.string());
const dns = z.strictObject({
  nameservers: texts.optional(),
  domain: z.string().optional(),
  search: texts.optional(),
  options: texts.optional(),
});

export const errorSchema = z.strictObject({
  cniVersion: version,
  code: z.int().min(1).max(999),
  msg: z.string().min(1).max(5000),
  details: z.string().max(5000).optional(),
});

export type CniErrorJson = z.output<typeof errorSchema>;

const common = {
  routes: z.array(z.strictObject({ dst: z.string(), gw: z.string().optional() })).optional(),
  dns: dns.optional(),
};
const address = { address: z.string(), gateway: z.string().optional(), interface: z.int().min(0).optional() };
const link = { name: z.string(), mac: z.string(), sandbox: z.string().optional() };
const result = (cniVersion: string, link_: z.ZodType, ip: z.ZodType) =>
  z.strictObject({
    cniVersion: z.literal(cniVersion),
    interfaces: z.array(link_).optional(),
    ips: z.array(ip).optional(),
    ...common,
  });

const resultSchemas: Readonly<Record<string, z.ZodType>> = {
  '0.4.0': result('0.4.0', z.strictObject(link), z.strictObject({ ...address, version: z.enum(['4', '6']) })),
  '1.0.0': result('1.0.0', z.strictObject(link), z.strictObject(address)),
  '1.1.0': result('1.1.0', z.strictObject({ ...link, mtu: z.int().optional() }), z.strictObject(address)),
};

/**
 * Asserts that it is an answer of CNI's in the version.
 * @returns the error; undefined for a success
 */
export function assertCniAnswer(
  answer: { readonly exitStatus: number | null; readonly stdout: string },
  command: string,
  cniVersion: string,
): CniErrorJson | undefined {
  if (answer.exitStatus !== 0) {
    assert.equal(answer.exitStatus, 1);
    const error = errorSchema.parse(JSON.parse(answer.stdout));
    assert.equal(error.cniVersion, cniVersion);
    return error;
  }
  if (command === 'ADD') {
    const schema = resultSchemas[cniVersion];
    assert.ok(schema, `no result is known in ${cniVersion}`);
    schema.parse(JSON.parse(answer.stdout));
  } else assert.equal(answer.stdout, '', `${command} prints nothing when it succeeds`);
  return undefined;
}
