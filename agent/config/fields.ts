// Field types of the configuration: text in the file, units in the program. Each converts both ways, so that the
// effective configuration can be printed in the form in which it would be written.
import path from 'node:path';
import { validate as isCronExpression } from 'node-cron';
import { z } from 'zod';
import { HoldfastError } from '../../lib/errors.ts';
import {
  type Address,
  type AddressRange,
  formatRange,
  formatSubnet,
  parseAddress,
  parseRange,
  parseSubnet,
  type Subnet,
} from '../model/address.ts';
import { CpuSet } from '../model/cpu-set.ts';
import { formatQuantity, parseBytes } from '../model/parse-quantity.ts';
import type { Bytes } from '../model/quantity.ts';
import { formatDuration, type Milliseconds, parseDuration } from './duration.ts';

/** Where something is served. */
export interface ListenAddress {
  readonly host: string;
  readonly port: number;
}

/** A text that `parse` turns into a unit; what `parse` throws becomes the problem shown for the field. */
function unit<Value>(what: string, parse: (text: string) => Value, format: (value: Value) => string) {
  const written = z.union([z.string(), z.number()], { error: `must be ${what}` }).meta({ description: what });
  return z.codec(written, z.custom<Value>(), {
    decode: (text, context) => {
      try {
        return parse(String(text));
      } catch (error) {
        if (!(error instanceof HoldfastError)) throw error;
        context.issues.push({ code: 'custom', input: text, message: error.message });
        return z.NEVER;
      }
    },
    encode: format,
  });
}

export const quantity = unit<Bytes>('a quantity such as "20Gi"', parseBytes, formatQuantity);

export const duration = unit<Milliseconds>('a duration such as "10s", "5m" or "7d"', parseDuration, formatDuration);

export const cpuList = unit<CpuSet>('a CPU list such as "0-3,8"', (text) => CpuSet.parse(text), String);

export const subnet = unit<Subnet>('a subnet such as "192.0.2.0/24"', parseSubnet, formatSubnet);

export const addressRange = unit<AddressRange>(
  'an address, or a range such as "192.0.2.10-192.0.2.20"',
  parseRange,
  formatRange,
);

export const address = unit<Address>('an IP address', (text) => parseAddress(text).address, String);

/** An absolute path, without `..` and doubled slashes left in it. */
export const absolutePath = z
  .string()
  .refine((text) => path.isAbsolute(text) && !text.includes('\0'), { error: 'must be an absolute path' })
  .overwrite((text) => path.resolve(text));

/** A cron expression of five fields, or six with seconds first. */
export const cron = z
  .string()
  .max(200)
  .refine((text) => isCronExpression(text), {
    error: 'must be a cron expression such as "*/10 * * * * *" (seconds first)',
  });

function parseListenAddress(text: string): ListenAddress | 'off' {
  if (text === 'off') return 'off';
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9.-]+)):(\d{1,5})$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (host === undefined || port > 65_535) {
    throw new HoldfastError('INVALID_REQUEST', `"${text}" is not an address such as "127.0.0.1:9571", nor "off"`);
  }
  return { host, port };
}

function formatListenAddress(address: ListenAddress | 'off'): string {
  if (address === 'off') return 'off';
  return address.host.includes(':') ? `[${address.host}]:${address.port}` : `${address.host}:${address.port}`;
}

export const listenAddress = unit<ListenAddress | 'off'>(
  'an address such as "127.0.0.1:9571", or "off"',
  parseListenAddress,
  formatListenAddress,
);

/** Where a member of etcd takes its clients' calls. */
export const etcdEndpoint = z.string().regex(/^https?:\/\/(?:\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+):\d{1,5}\/?$/, {
  error: 'must be like "https://192.0.2.1:2379"',
});
