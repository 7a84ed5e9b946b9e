// From zod's issues to problems that say where they are and what is allowed there.
import type { z } from 'zod';
import { configJsonSchema } from './schema.ts';
import type { ConfigProblem, ConfigSource } from './source.ts';

type Issue = z.core.$ZodIssue;
type JsonSchema = () => Readonly<Record<string, unknown>>;

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null;
}

/** The keys that the map at the path may have; undefined where any are (or the path is no map). */
function knownKeys(path: readonly PropertyKey[], jsonSchema: JsonSchema): readonly string[] | undefined {
  let schema: unknown = jsonSchema();
  for (const step of path) {
    if (!isObject(schema)) return undefined;
    const properties = schema['properties'];
    schema = isObject(properties) ? properties[String(step)] : schema['additionalProperties'];
  }
  const properties = isObject(schema) ? schema['properties'] : undefined;
  return isObject(properties) ? Object.keys(properties) : undefined;
}

const KINDS: Readonly<Record<string, string>> = {
  object: 'a map',
  record: 'a map',
  array: 'a list',
  string: 'a text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
};

function kindOf(value: unknown): string {
  if (value === null || value === undefined) return 'nothing';
  if (Array.isArray(value)) return 'a list';
  return KINDS[typeof value] ?? typeof value;
}

function explain(issue: Issue, input: unknown): string {
  if (issue.code === 'invalid_type') {
    return `must be ${KINDS[issue.expected] ?? issue.expected}, not ${kindOf(input)}`;
  }
  if (issue.code === 'invalid_value') {
    return `must be ${issue.values.map((value) => JSON.stringify(value)).join(' or ')}`;
  }
  if (issue.code === 'too_small') return `must be at least ${issue.minimum}`;
  if (issue.code === 'too_big') return `must be at most ${issue.maximum}`;
  if (issue.code === 'invalid_key') return issue.issues[0]?.message ?? issue.message;
  return issue.message;
}

function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>((at, step) => (isObject(at) ? at[String(step)] : undefined), value);
}

/**
 * One zod issue as the problems of one file; unknown keys are a problem each.
 * @param jsonSchema - of the file's kind
 */
export function problemsOf(
  issue: Issue,
  source: ConfigSource,
  jsonSchema: JsonSchema = configJsonSchema,
): readonly ConfigProblem[] {
  const where = issue.path.map(String).join('.');
  if (issue.code === 'unrecognized_keys') {
    const known = knownKeys(issue.path, jsonSchema);
    const allowed = known === undefined ? '' : `; known here: ${known.join(', ')}`;
    return issue.keys.map((key) => ({
      ...source.keyPosition([...issue.path, key]),
      message: `${where === '' ? key : `${where}.${key}`} is unknown${allowed}`,
    }));
  }
  const position = issue.code === 'invalid_key' ? source.keyPosition(issue.path) : source.position(issue.path);
  const input = valueAt(source.value, issue.path);
  const missing = input === undefined && issue.path.length === 1 ? `${where} is missing; it ` : `${where} `;
  return [{ ...position, message: `${where === '' ? '' : missing}${explain(issue, input)}` }];
}

/** `file:line:column: message`, as compilers print it. */
export function formatProblem({ file, line, column, message }: ConfigProblem): string {
  return `${file}:${line}:${column}: ${message}`;
}
