// `holdfast status`: how the agent is, a line for each subject, and who owns which CPUs and memory.
import { create, toJson } from '@bufbuild/protobuf';
import { Command } from 'commander';
import {
  Admin,
  GetStatusRequestSchema,
  type GetStatusResponse,
  GetStatusResponseSchema,
} from '../../proto/gen/holdfast/admin/v1/admin_pb.ts';
import { AGENT_SOCKET, askAgent, socketOption } from './ask-agent.ts';
import { formatOutput, formatTable, type OutputFormat, outputOption } from './output.ts';

const MARKS: Readonly<Record<string, string>> = { ok: 'ok', warning: 'WARNING', failed: 'FAILED' };

/** What people read. */
export function formatStatus(status: GetStatusResponse, now: Date): string {
  const started = new Date(Number(status.startedAtMs));
  const upSeconds = Math.max(0, Math.round((now.getTime() - started.getTime()) / 1000));
  const head = `holdfast ${status.version} on ${status.nodeName}, up ${upSeconds} s, ${status.runtime}\n\n`;
  const rows = status.lines.map(({ subject, level, text }) => [subject, MARKS[level] ?? level, text]);
  return head + formatTable(['subject', 'state', 'what'], rows);
}

export function statusCommand(): Command {
  return new Command('status')
    .description('how the agent and each of its features are')
    .addOption(outputOption())
    .addOption(socketOption(AGENT_SOCKET))
    .action(async (options: { readonly output: OutputFormat; readonly socket: string }) => {
      const status = await askAgent(options.socket, Admin.method.getStatus, create(GetStatusRequestSchema));
      const plain = toJson(GetStatusResponseSchema, status, { alwaysEmitImplicit: true });
      process.stdout.write(formatOutput(options.output, plain, () => formatStatus(status, new Date())));
      if (status.lines.some(({ level }) => level === 'failed')) process.exitCode = 1;
    });
}
