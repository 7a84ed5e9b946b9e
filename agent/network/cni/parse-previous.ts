// What CHECK is to find: the addresses of one interface in the result that the runtime kept of ADD. CNI specification
// 1.1.0, section 2, "CHECK", and the result types of 0.4.0, which differ in the version of each address.
import { z } from 'zod';
import { CNI_ERROR, CniError, quote } from './cni-error.ts';
import { listOf, type RawConfig, readWith } from './parse-config.ts';
import type { CheckRequest } from './request.ts';
import type { CniVersion } from './versions.ts';

const nullable = <Schema extends z.ZodType>(schema: Schema) => schema.nullish();

const previousResult = z.object({
  prevResult: z.object({
    interfaces: nullable(
      listOf(z.object({ name: z.string(), sandbox: nullable(z.string()), mac: nullable(z.string()) })),
    ),
    ips: nullable(
      listOf(
        z.object({
          version: nullable(z.enum(['4', '6'])),
          address: z.union([z.cidrv4(), z.cidrv6()], { error: 'must be an address with its prefix length' }),
          interface: nullable(z.int().min(0)),
        }),
      ),
    ),
  }),
});

function refuse(message: string): CniError {
  return new CniError(CNI_ERROR.INVALID_CONFIG, 'INVALID_REQUEST', message);
}

/** Go's plugins write a previous result that there is not as null. */
export function hasPreviousResult(config: RawConfig): boolean {
  return config['prevResult'] !== undefined && config['prevResult'] !== null;
}

/**
 * @param ifname - the interface in the sandbox
 * @returns addresses with prefix lengths, of that interface, and those that the result lists for none
 * @throws CniError 7
 */
export function parseExpected(
  config: RawConfig,
  version: CniVersion,
  ifname: string,
): Pick<CheckRequest, 'expected' | 'expectedMac'> {
  if (!hasPreviousResult(config)) throw refuse('prevResult is missing; the runtime must hand over the result of ADD');
  const { prevResult } = readWith(previousResult, config);
  const interfaces = prevResult.interfaces ?? [];
  // The host's end of a pair may have any name, this one too.
  const isOwn = ({ name, sandbox }: (typeof interfaces)[number]): boolean => (sandbox ?? '') !== '' && name === ifname;
  const mac = interfaces.find(isOwn)?.mac ?? '';
  const expected = (prevResult.ips ?? []).flatMap((ip) => {
    const { address } = ip;
    const family = address.includes(':') ? '6' : '4';
    if (version === '0.4.0' && ip.version !== family) {
      throw refuse(`prevResult.ips: ${quote(address)} has the version ${quote(ip.version ?? undefined)}`);
    }
    if (ip.interface === undefined || ip.interface === null) return [address];
    const link = interfaces[ip.interface];
    if (link === undefined) {
      throw refuse(`prevResult.ips: ${quote(address)} is on interface ${ip.interface} of ${interfaces.length}`);
    }
    return isOwn(link) ? [address] : [];
  });
  return { expected, ...(mac === '' ? {} : { expectedMac: mac }) };
}
