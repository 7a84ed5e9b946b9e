// systemd's unit files, as far as a service's command line goes (systemd.syntax(7), systemd.exec(5)). Pure.

export interface UnitFile {
  /** As on the host. */
  readonly path: string;
  readonly text: string;
}

/** What the files of a service say together. */
export interface ServiceDefinition {
  /** The commands of ExecStart as they are written; one, unless the service is of another kind than ours. */
  readonly commands: readonly string[];
  /** `NAME=value` words of Environment, in order. */
  readonly environment: readonly string[];
  /** Files of EnvironmentFile in order; one that is absent counts as empty. */
  readonly environmentFiles: readonly string[];
}

/** A last backslash that no other one escapes. */
const GOES_ON = /(?<!\\)(?:\\\\)*\\$/;

/**
 * Key and value of each assignment in [Service]; a line whose very last character is a backslash goes on in the next one
 * (systemd.syntax(7)), and one with a blank behind it does not.
 */
function* serviceAssignments(text: string): Generator<readonly [string, string]> {
  let section = '';
  let pending = '';
  for (const raw of text.split(/\r?\n/)) {
    const line = raw.trimStart();
    // Comments may stand between the lines of one assignment.
    if (line.startsWith('#') || line.startsWith(';')) continue;
    const begun = pending + line;
    if (GOES_ON.test(begun)) {
      pending = `${begun.slice(0, -1).trimEnd()} `;
      continue;
    }
    const whole = begun.trim();
    pending = '';
    const header = /^\[(.*)\]$/.exec(whole)?.[1];
    if (header !== undefined) section = header;
    const assignment = /^([A-Za-z][A-Za-z0-9]*)\s*=\s*(.*)$/.exec(whole);
    if (section === 'Service' && assignment !== null) yield [assignment[1] ?? '', assignment[2] ?? ''];
  }
}

/** Splits as systemd splits a value into words: blanks, quotes, backslashes. Specifiers and variables stay as they are. */
export function splitWords(text: string): readonly string[] {
  const words: string[] = [];
  let word: string | undefined;
  let quote = '';
  for (let index = 0; index < text.length; index += 1) {
    const letter = text[index] ?? '';
    if (letter === '\\' && quote !== "'") {
      index += 1;
      word = (word ?? '') + (text[index] ?? '');
    } else if (quote !== '') {
      if (letter === quote) quote = '';
      else word += letter;
    } else if (letter === '"' || letter === "'") {
      quote = letter;
      word ??= '';
    } else if (/\s/.test(letter)) {
      if (word !== undefined) words.push(word);
      word = undefined;
    } else word = (word ?? '') + letter;
  }
  return word === undefined ? words : [...words, word];
}

/**
 * Reads a service from its unit file and its drop-ins, in the order in which later ones win. An empty assignment takes
 * back those before it.
 */
export function readService(files: readonly UnitFile[]): ServiceDefinition {
  let commands: string[] = [];
  let environment: string[] = [];
  let environmentFiles: string[] = [];
  for (const { text } of files) {
    for (const [key, value] of serviceAssignments(text)) {
      if (key === 'ExecStart') commands = value === '' ? [] : [...commands, value];
      else if (key === 'Environment') environment = value === '' ? [] : [...environment, ...splitWords(value)];
      else if (key === 'EnvironmentFile') {
        environmentFiles = value === '' ? [] : [...environmentFiles, value.replace(/^-/, '')];
      }
    }
  }
  return { commands, environment, environmentFiles };
}

/** The variables of an environment file (systemd.exec(5)), in order. */
export function parseEnvironmentFile(text: string): readonly (readonly [string, string])[] {
  return text
    .replaceAll(/\\\n/g, '')
    .split('\n')
    .flatMap((line): readonly (readonly [string, string])[] => {
      const match = /^\s*([A-Za-z_][A-Za-z0-9_]*)=(.*)$/.exec(line);
      if (match === null) return [];
      const value = (match[2] ?? '').trim();
      const unquoted = /^"([\s\S]*)"$/.exec(value)?.[1] ?? /^'([\s\S]*)'$/.exec(value)?.[1] ?? value;
      return [[match[1] ?? '', unquoted]];
    });
}

/**
 * The arguments with which systemd would start the command: `$NAME` as a word of its own becomes as many words as its
 * value has, `${NAME}` stays one.
 */
export function expandCommand(command: string, variables: ReadonlyMap<string, string>): readonly string[] {
  return splitWords(command.replace(/^[@:+!|-]*/, '')).flatMap((word): readonly string[] => {
    const whole = /^\$([A-Za-z_][A-Za-z0-9_]*)$/.exec(word)?.[1];
    if (whole !== undefined) return splitWords(variables.get(whole) ?? '');
    return [word.replaceAll(/\$\{([A-Za-z_][A-Za-z0-9_]*)\}/g, (_, name: string) => variables.get(name) ?? '')];
  });
}
