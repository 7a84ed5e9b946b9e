// `holdfast ip`: who has which address, how full the pools are, and reserves made and given up by hand.
import { create, toJson } from '@bufbuild/protobuf';
import { Command, InvalidArgumentError } from 'commander';
import { HoldfastError } from '../../lib/errors.ts';
import {
  type Address,
  Admin,
  type Handover,
  ListAddressesRequestSchema,
  ListAddressesResponseSchema,
  ListHandoversRequestSchema,
  ListHandoversResponseSchema,
  ListPoolsRequestSchema,
  ListPoolsResponseSchema,
  type Pool,
  ReleaseAddressRequestSchema,
  ReleaseHostRequestSchema,
  ReserveAddressesRequestSchema,
} from '../../proto/gen/holdfast/admin/v1/admin_pb.ts';
import { formatAge } from './age.ts';
import { AGENT_SOCKET, askAgent, socketOption } from './ask-agent.ts';
import { confirm } from './confirm.ts';
import { formatOutput, formatTable, type OutputFormat, outputOption } from './output.ts';

interface SocketOption {
  readonly socket: string;
}

type ListOptions = SocketOption & { readonly output: OutputFormat };

const orDash = (text: string): string => (text === '' ? '-' : text);

/** What people read. @param now - milliseconds since the epoch */
export function formatAddresses(addresses: readonly Address[], now: number): string {
  if (addresses.length === 0) return 'No address is on record.\n';
  const headings = ['address', 'pool', 'state', 'namespace', 'pod', 'app', 'host', 'age', 'ends in'];
  const rows = addresses.map(({ address, pool, state, namespace, pod, app, host, sinceMs, untilMs }) => [
    address,
    pool,
    state,
    orDash(namespace),
    orDash(pod),
    orDash(app),
    host,
    formatAge(sinceMs, now),
    untilMs === 0n ? '-' : formatAge(BigInt(now), Number(untilMs)),
  ]);
  return formatTable(headings, rows);
}

/** What people read. */
export function formatPools(pools: readonly Pool[]): string {
  const headings = ['pool', 'subnet', 'addresses', 'held', 'kept', 'reserved', 'quarantined', 'free'];
  const rows = pools.flatMap(({ name, subnets }) =>
    subnets.map(({ cidr, size, held, kept, reserved, quarantined }) => {
      const left = BigInt(size) - BigInt(held + kept + reserved + quarantined);
      // Somebody may have what the configuration has excluded since.
      const free = left < 0n ? 0n : left;
      return [name, cidr, size, held, kept, reserved, quarantined, free].map(String);
    }),
  );
  return formatTable(headings, rows);
}

/** What people read. */
export function formatHandovers(handovers: readonly Handover[]): string {
  if (handovers.length === 0) return 'No address has changed hands on this host.\n';
  const headings = ['time', 'address', 'pool', 'event', 'namespace', 'pod', 'app', 'detail'];
  const rows = handovers.map(({ atMs, address, pool, event, namespace, pod, app, detail }) => [
    new Date(Number(atMs)).toISOString(),
    address,
    pool,
    event,
    orDash(namespace),
    orDash(pod),
    orDash(app),
    detail,
  ]);
  return formatTable(headings, rows);
}

function parseCount(text: string): number {
  if (/^[1-9]\d{0,5}$/.test(text)) return Number(text);
  throw new InvalidArgumentError(`"${text}" is not a number from 1.`);
}

async function list({ socket, output }: ListOptions): Promise<void> {
  const response = await askAgent(socket, Admin.method.listAddresses, create(ListAddressesRequestSchema));
  const plain = toJson(ListAddressesResponseSchema, response, { alwaysEmitImplicit: true });
  process.stdout.write(formatOutput(output, plain, () => formatAddresses(response.addresses, Date.now())));
}

async function pools({ socket, output }: ListOptions): Promise<void> {
  const response = await askAgent(socket, Admin.method.listPools, create(ListPoolsRequestSchema));
  const plain = toJson(ListPoolsResponseSchema, response, { alwaysEmitImplicit: true });
  process.stdout.write(formatOutput(output, plain, () => formatPools(response.pools)));
}

async function audit({ socket, output, limit }: ListOptions & { readonly limit: number }): Promise<void> {
  const request = create(ListHandoversRequestSchema, { limit });
  const response = await askAgent(socket, Admin.method.listHandovers, request);
  const plain = toJson(ListHandoversResponseSchema, response, { alwaysEmitImplicit: true });
  process.stdout.write(formatOutput(output, plain, () => formatHandovers(response.handovers)));
}

type ReserveOptions = SocketOption & { readonly namespace: string; readonly pool: string; readonly count: number };

async function reserve(app: string, { socket, namespace, pool, count }: ReserveOptions): Promise<void> {
  const request = create(ReserveAddressesRequestSchema, { namespace, app, pool, count });
  const { addresses } = await askAgent(socket, Admin.method.reserveAddresses, request);
  process.stdout.write(`${addresses.join('\n')}\n`);
}

type ReleaseOptions = SocketOption & { readonly host?: string; readonly yes?: true };

async function release(address: string | undefined, { socket, host, yes }: ReleaseOptions): Promise<void> {
  if ((address === undefined) === (host === undefined)) {
    throw new HoldfastError('INVALID_REQUEST', 'name an address, or a host with --host');
  }
  if (host !== undefined) return await releaseHost(host, socket, yes === true);
  await askAgent(socket, Admin.method.releaseAddress, create(ReleaseAddressRequestSchema, { address: address ?? '' }));
  process.stdout.write(`${address} is free\n`);
}

async function releaseHost(host: string, socket: string, isSure: boolean): Promise<void> {
  if (!isSure) {
    const question = `Others will get the addresses that ${host} has. Is it off, or are its pods dead? Type yes to go on: `;
    await confirm(question, {
      input: process.stdin,
      output: process.stdout,
      signal: new AbortController().signal,
    });
  }
  const { sandboxes } = await askAgent(socket, Admin.method.releaseHost, create(ReleaseHostRequestSchema, { host }));
  process.stdout.write(`${host}: ${sandboxes} sandboxes gave their addresses back\n`);
}

export function ipCommand(): Command {
  const command = new Command('ip').description('addresses of pods, and the pools that they are from');
  command
    .command('ls')
    .description('who has which address, or will have it again')
    .addOption(outputOption())
    .addOption(socketOption(AGENT_SOCKET))
    .action(list);
  command
    .command('pools')
    .description('how many addresses there are, and how many are somebody’s')
    .addOption(outputOption())
    .addOption(socketOption(AGENT_SOCKET))
    .action(pools);
  command
    .command('reserve')
    .description('put free addresses into the reserve of an app')
    .argument('<app>', 'as its pods name it')
    .option('-n, --namespace <namespace>', 'the namespace of the app', 'default')
    .option('--pool <pool>', 'the pool; else the default one', '')
    .option('--count <pods>', 'for so many pods', parseCount, 1)
    .addOption(socketOption(AGENT_SOCKET))
    .action(reserve);
  command
    .command('release')
    .description('give an address back before its time, or all that a lost host has')
    .argument('[address]', 'that waits for a pod or an app')
    .option('--host <node>', 'all that this host has, which will not come back')
    .option('--yes', 'do not ask')
    .addOption(socketOption(AGENT_SOCKET))
    .action(release);
  command
    .command('audit')
    .description('which addresses changed hands on this host')
    .option('--limit <events>', 'the newest so many', parseCount, 100)
    .addOption(outputOption())
    .addOption(socketOption(AGENT_SOCKET))
    .action(audit);
  return command;
}
