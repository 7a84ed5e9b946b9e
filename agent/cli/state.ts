// `holdfast state`: what the agent has written down.
import { create } from '@bufbuild/protobuf';
import { Command, Option } from 'commander';
import { z } from 'zod';
import { Admin, ShowStateRequestSchema } from '../../proto/gen/holdfast/admin/v1/admin_pb.ts';
import { inspectStore } from '../state/inspect.ts';
import type { PlainRecords } from '../state/records.ts';
import { AGENT_SOCKET, askAgent, socketOption } from './ask-agent.ts';
import { formatOutput, formatTable, type OutputFormat, outputOption } from './output.ts';

interface ShowOptions {
  readonly output: OutputFormat;
  readonly socket: string;
  readonly offline?: string | true;
}

const DEFAULT_DIRECTORY = '/var/lib/holdfast/state';

const answered = z.record(z.string(), z.record(z.string(), z.unknown()));

/** Longer values are cut in the table; JSON and YAML have all of them. */
const MAX_CELL = 100;

function cell(value: unknown): string {
  const text = JSON.stringify(value);
  return text.length > MAX_CELL ? `${text.slice(0, MAX_CELL - 1)}…` : text;
}

/** One line per record; pure. */
export function formatRecords(records: PlainRecords, format: OutputFormat): string {
  return formatOutput(format, records, () => {
    const rows = Object.entries(records).flatMap(([table, entries]) =>
      Object.entries(entries).map(([key, value]) => [table, key, cell(value)]),
    );
    return rows.length === 0 ? 'the state is empty' : formatTable(['table', 'key', 'value'], rows);
  });
}

async function readRecords(options: ShowOptions): Promise<PlainRecords> {
  if (options.offline === undefined) {
    const { json } = await askAgent(options.socket, Admin.method.showState, create(ShowStateRequestSchema));
    return answered.parse(JSON.parse(json));
  }
  const { records, recovery } = await inspectStore(options.offline === true ? DEFAULT_DIRECTORY : options.offline);
  if (recovery !== undefined) {
    process.stderr.write(`damaged: ${recovery.reason}; shown is what the ${recovery.recovered} gives\n`);
  }
  return records;
}

async function show(table: string | undefined, options: ShowOptions): Promise<void> {
  const records = await readRecords(options);
  const shown = table === undefined ? records : { [table]: records[table] ?? {} };
  process.stdout.write(formatRecords(shown, options.output));
}

export function stateCommand(): Command {
  const command = new Command('state').description('show what the agent has written down');
  command
    .command('show')
    .description('prints the records of the state store')
    .argument('[table]', 'only those of this table')
    .addOption(outputOption())
    .addOption(socketOption(AGENT_SOCKET))
    .addOption(new Option('--offline [directory]', `read the files of a stopped agent (${DEFAULT_DIRECTORY})`))
    .action(show);
  return command;
}
