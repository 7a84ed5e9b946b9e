// The rules of docs/architecture.md, asserted on the sources; and the checker itself, on small made-up trees.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { listSources, parseImports, readImports } from './import-graph.ts';
import { checkImports } from './import-rules.ts';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const PROGRAMS = ['lib', 'agent', 'cri-shim', 'extender', 'cni-plugin'];

t.test('the sources keep the rules', async (t) => {
  const folders = PROGRAMS.filter((folder) => existsSync(join(ROOT, folder)));
  const imports = readImports(ROOT, folders);
  t.ok(imports.length > 100, 'the imports were found');
  t.strictSame(checkImports(imports), []);
  const sources = new Set(listSources(ROOT, [...folders, 'proto/gen']));
  const missing = imports.filter(({ to, external }) => !external && !sources.has(to));
  t.strictSame(missing, [], 'every imported file exists, so the checker read the paths right');
});

/** What the checker says about a tree of files. */
function broken(files: Readonly<Record<string, string>>): readonly string[] {
  const imports = Object.entries(files).flatMap(([file, source]) => parseImports(file, source));
  return checkImports(imports).map((violation) => violation.rule);
}

t.test('imports are read in every form', async (t) => {
  const source = [
    "import a from './a.ts';",
    "import type { B } from '../model/b.ts';",
    'import {',
    '  type C,',
    '  type D,',
    "} from './c.ts';",
    "import { type E, e } from './e.ts';",
    "export * from './f.ts';",
    "import 'node:fs';",
    "const lazy = await import('./lazy.ts');",
    "// import x from './comment.ts';",
  ].join('\n');
  t.strictSame(
    parseImports('agent/reuse/x.ts', source).map(({ to, typeOnly }) => [to, typeOnly]),
    [
      ['agent/reuse/a.ts', false],
      ['agent/model/b.ts', true],
      ['agent/reuse/c.ts', true],
      ['agent/reuse/e.ts', false],
      ['agent/reuse/f.ts', false],
      ['node:fs', false],
      ['agent/reuse/lazy.ts', false],
    ],
  );
});

const FORBIDDEN: readonly (readonly [string, string, string, RegExp])[] = [
  [
    'one feature imports another',
    'agent/reuse/x.ts',
    "import type { A } from '../cpuset/a.ts';",
    /must not know feature/,
  ],
  ['a feature imports the wiring', 'agent/reuse/x.ts', "import { w } from '../wiring.ts';", /only daemon.ts/],
  ['a part of the wiring elsewhere', 'agent/cli/x.ts', "import { w } from '../wiring/w.ts';", /for wiring.ts alone/],
  [
    'a planner reads files',
    'agent/reuse/plan-x.ts',
    "import { readFile } from 'node:fs/promises';",
    /decisions are pure/,
  ],
  [
    'a planner knows the host',
    'agent/cpuset/plan.ts',
    "import { sysfs } from '../host/sysfs.ts';",
    /decisions are pure/,
  ],
  ['a feature opens sockets', 'agent/reuse/x.ts', "import net from 'node:net';", /touch the outside world/],
  [
    'the pipeline speaks gRPC',
    'agent/lifecycle/x.ts',
    "import { Server } from '@grpc/grpc-js';",
    /touch the outside world/,
  ],
  [
    'the API starts programs',
    'agent/api/x.ts',
    "import { spawn } from 'node:child_process';",
    /touch the outside world/,
  ],
  ['the model knows a feature', 'agent/model/x.ts', "import { a } from '../reuse/a.ts';", /agent\/model holds nouns/],
  ['lib knows the product', 'lib/x.ts', "import { a } from '../agent/model/a.ts';", /no product knowledge/],
  [
    'the host knows the pipeline',
    'agent/host/x.ts',
    "import { f } from '../lifecycle/feature.ts';",
    /doors to the outside/,
  ],
  [
    'a feature knows the CLI',
    'agent/reuse/x.ts',
    "import { o } from '../cli/output.ts';",
    /do not know how they are asked/,
  ],
  [
    'the shim loads the agent',
    'cri-shim/x.ts',
    "import { p } from '../agent/lifecycle/pipeline.ts';",
    /lib\/, proto\/gen\//,
  ],
  [
    'what is published reads the books',
    'agent/published/x.ts',
    "import type { Ledger } from '../cpuset/ledger.ts';",
    /derives everything from the published messages/,
  ],
  ['the agent loads the shim', 'agent/cli/x.ts', "import { r } from '../../cri-shim/relay.ts';", /share no code/],
  [
    'the extender reads the books',
    'extender/planning/x.ts',
    "import { b } from '../../agent/cpuset/books.ts';",
    /published messages and its planner/,
  ],
  ['the agent loads the extender', 'agent/api/x.ts', "import { e } from '../../extender/x.ts';", /does not know/],
  ['the CNI plugin has a package', 'cni-plugin/x.ts', "import pino from 'pino';", /built-ins only/],
  ['the CNI plugin uses lib', 'cni-plugin/x.ts', "import { e } from '../lib/errors.ts';", /built-ins only/],
  ['a program imports a test', 'agent/api/x.ts', "import { f } from '../../test/support/f.ts';", /not tests/],
  ['a file imports itself', 'lib/x.ts', "import { x } from './x.ts';", /no cycles/],
];

for (const [title, file, source, rule] of FORBIDDEN) {
  t.test(`refused: ${title}`, async (t) => {
    const found = broken({ [file]: source });
    t.ok(
      found.some((each) => rule.test(each)),
      `one of: ${found.join('; ')}`,
    );
  });
}

t.test('refused: a planner reaches the host by way of others', async (t) => {
  const found = broken({
    'agent/cpuset/plan-x.ts': "import { h } from './helper.ts';",
    'agent/cpuset/helper.ts': "import { d } from '../host/door.ts';",
  });
  t.match(found, [/not by way of others/]);
});

t.test('refused: a cycle of three, also through types', async (t) => {
  const found = broken({
    'lib/a.ts': "import { b } from './b.ts';",
    'lib/b.ts': "import type { C } from './c.ts';",
    'lib/c.ts': "export { a } from './a.ts';",
  });
  t.match(found, [/no cycles/]);
});

t.test('the numbers of the gRPC statuses may be used anywhere, the rest of gRPC not', async (t) => {
  t.strictSame(broken({ 'agent/reuse/plan.ts': "import { status, type ServiceError } from '@grpc/grpc-js';" }), []);
  t.equal(broken({ 'agent/reuse/x.ts': "import { Client, status } from '@grpc/grpc-js';" }).length, 1);
});

t.test('what is allowed is let through', async (t) => {
  const found = broken({
    'agent/daemon.ts': "import { wire } from './wiring.ts';",
    'agent/wiring.ts': "import { a } from './reuse/a.ts';\nimport { b } from './cpuset/b.ts';",
    'agent/reuse/a.ts': "import { open } from '../state/store.ts';\nimport { plan } from './plan.ts';",
    'agent/reuse/plan.ts': "import type { Store } from '../state/store.ts';\nimport { e } from '../../lib/errors.ts';",
    'agent/state/store.ts': "import fs from 'node:fs/promises';",
    'lib/errors.ts': "import { status } from '@grpc/grpc-js';",
    'agent/cli/plan.ts': "import { createReadStream } from 'node:fs';",
    'cri-shim/main.ts': "import { parse } from '../agent/model/annotations.ts';\nimport http2 from 'node:http2';",
  });
  t.strictSame(found, []);
});
