// Where a running containerd looks for the plugins and the networks of CNI, as it says itself: whatever file, import or
// default that is from.
import { create } from '@bufbuild/protobuf';
import { z } from 'zod';
import { RuntimeService, StatusRequestSchema } from '../../proto/gen/wire/cri/v1/cri_pb.ts';
import { openConnection } from './connection.ts';

const TIMEOUT_MS = 5_000;

const texts = z.array(z.string()).nullish();
/** Of containerd 1.6 to 2.x: the configuration of its CRI plugin. */
const configSchema = z.object({
  cni: z.object({ binDir: z.string().optional(), binDirs: texts, confDir: z.string().min(1) }),
});

/**
 * @returns undefined when the runtime answers without saying so
 * @throws HoldfastError UNAVAILABLE, UNSUPPORTED or HOST_FAILURE when it does not answer
 */
export async function askCniDirectories(
  socket: string,
  signal: AbortSignal,
): Promise<{ readonly plugins: readonly string[]; readonly networks: string } | undefined> {
  const connection = openConnection(socket);
  try {
    const request = create(StatusRequestSchema, { verbose: true });
    const { info } = await connection.call(RuntimeService.method.status, request, { timeoutMs: TIMEOUT_MS, signal });
    return parseCniDirectories(info['config']);
  } finally {
    connection.close();
  }
}

/** The pure part of {@link askCniDirectories}. @param config - JSON, as the runtime gives it */
export function parseCniDirectories(config: string | undefined) {
  let value: unknown;
  try {
    value = JSON.parse(config ?? '');
  } catch {
    // Another runtime's, or none: what it says is not for us.
    return undefined;
  }
  const parsed = configSchema.safeParse(value);
  if (!parsed.success) return undefined;
  const { binDir = '', binDirs, confDir } = parsed.data.cni;
  const plugins = (binDir === '' ? (binDirs ?? []) : [binDir]).filter((path) => path.startsWith('/'));
  return plugins.length === 0 ? undefined : { plugins, networks: confDir };
}
