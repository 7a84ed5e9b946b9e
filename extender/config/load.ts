// Reads the extender's configuration: one file, every problem with its line and column.
import { z } from 'zod';
import { readManifestFile } from '../../agent/cluster/file-read.ts';
import { formatProblem, problemsOf } from '../../agent/config/problems.ts';
import { type ConfigProblem, type ConfigSource, parseConfigSource } from '../../agent/config/source.ts';
import { HoldfastError } from '../../lib/errors.ts';
import { findConflicts } from './find-conflicts.ts';
import { type ExtenderConfig, extenderConfigSchema } from './schema.ts';

const MOST_SHOWN = 10;

function isSource(read: ConfigSource | readonly ConfigProblem[]): read is ConfigSource {
  return !Array.isArray(read);
}

function unusable(problems: readonly ConfigProblem[]): HoldfastError {
  const shown = problems.slice(0, MOST_SHOWN).map(formatProblem).join('; ');
  const more = problems.length > MOST_SHOWN ? `; and ${problems.length - MOST_SHOWN} more` : '';
  return new HoldfastError('INVALID_CONFIG', `the configuration cannot be used: ${shown}${more}`);
}

/**
 * @param file - for positions
 * @throws HoldfastError INVALID_CONFIG naming every problem with its line and column (the first ten)
 */
export function parseExtenderConfig(file: string, text: string): ExtenderConfig {
  const source = parseConfigSource(file, text);
  if (!isSource(source)) throw unusable(source);
  const checked = extenderConfigSchema.safeParse(source.value);
  if (checked.success) {
    const conflicts = findConflicts(checked.data, source);
    if (conflicts.length > 0) throw unusable(conflicts);
    return checked.data;
  }
  const jsonSchema = () => z.toJSONSchema(extenderConfigSchema, { io: 'input' });
  throw unusable(checked.error.issues.flatMap((issue) => problemsOf(issue, source, jsonSchema)));
}

/** @throws HoldfastError INVALID_CONFIG */
export async function loadExtenderConfig(file: string): Promise<ExtenderConfig> {
  let text: string;
  try {
    text = await readManifestFile(file);
  } catch (cause) {
    throw new HoldfastError('INVALID_CONFIG', `${file} cannot be read`, { cause });
  }
  return parseExtenderConfig(file, text);
}
