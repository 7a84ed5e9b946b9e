// Files into one configuration: defaults, merging, and problems that name file, line, column and what is allowed.
import fc from 'fast-check';
import t from 'tap';
import { stringify } from 'yaml';
import { configToPlain, formatConfig } from '../../../agent/config/format.ts';
import { type CheckedConfig, combineSources } from '../../../agent/config/load.ts';
import { mergePlain } from '../../../agent/config/merge.ts';
import { formatProblem } from '../../../agent/config/problems.ts';
import { agentConfigSchema, configJsonSchema } from '../../../agent/config/schema.ts';
import { type ConfigSource, type PlainMap, parseConfigSource } from '../../../agent/config/source.ts';
import { CpuSet } from '../../../agent/model/cpu-set.ts';

const HEAD = 'apiVersion: holdfast.dev/v1\nkind: AgentConfig\n';

function combine(...texts: readonly string[]): CheckedConfig {
  const sources = texts.map((text, index) => parseConfigSource(`${index}.yaml`, text));
  const broken = sources.find(Array.isArray);
  if (broken !== undefined) return { ok: false, problems: broken };
  return combineSources(sources as readonly ConfigSource[]);
}

function problems(...texts: readonly string[]): readonly string[] {
  const checked = combine(...texts);
  return checked.ok ? [] : checked.problems.map(formatProblem);
}

function loaded(...texts: readonly string[]) {
  const checked = combine(...texts);
  if (!checked.ok) throw new Error(checked.problems.map(formatProblem).join('\n'));
  return checked.loaded;
}

t.test('without files everything has its default', async (t) => {
  const { config, files } = loaded();
  t.strictSame(files, []);
  t.match(config, {
    runtime: { endpoint: '/run/containerd/containerd.sock' },
    paths: { state: '/var/lib/holdfast', run: '/run/holdfast', hostRoot: '/' },
    cpuset: { enabled: true },
    numa: { strategy: 'pack', unboundMemory: 'proportional', reservedMemory: 0 },
    reuse: { enabled: true, budget: 20 * 1024 ** 3, maxAge: 604_800_000, fastFailures: { limit: 0, within: 10_000 } },
    holdings: { gracePeriod: 300_000 },
    policy: { onDenied: 'refuse', defaults: {}, namespaces: {} },
    metrics: { address: { host: '127.0.0.1', port: 9571 } },
  });
  t.equal(config.cpuset.reservedCpus, undefined);
  t.equal(config.podSource.file, undefined);
  t.match(config.nodeName, /^[a-z0-9]/);
});

t.test('later files win: maps are merged, lists replaced, an empty value takes the default back', async (t) => {
  const { config, origins } = loaded(
    `${HEAD}reuse: {budget: 1Gi, maxAge: 1h}\npolicy: {namespaces: {a: {deny: [reuse, exclusive]}, b: {}}}\n`,
    `${HEAD}log:\nreuse:\n  budget: 2Gi\n  maxAge:\npolicy: {namespaces: {a: {deny: [required]}}}\n`,
  );
  t.equal(config.reuse.budget, 2 * 1024 ** 3);
  t.equal(config.reuse.maxAge, 604_800_000);
  t.strictSame(config.policy.namespaces['a']?.deny, ['required']);
  t.ok(config.policy.namespaces['b']);
  t.match(origins.get('reuse.budget'), { file: '1.yaml', line: 5 });
  t.equal(origins.has('reuse.maxAge'), false);
});

t.test('credentials for the API server are a word or a file, and nothing by default', async (t) => {
  const file = `${HEAD}podSource: {api: {kubeconfig: /etc/holdfast//kubeconfig}}\n`;
  t.equal(loaded().config.podSource.api, 'off');
  t.strictSame(loaded(file).config.podSource.api, { kubeconfig: '/etc/holdfast/kubeconfig' });
  t.equal(loaded(file, `${HEAD}podSource: {api: kubelet}\n`).config.podSource.api, 'kubelet');
  t.strictSame(problems(`${HEAD}podSource: {api: {kubeconfig: etc/x}}\n`), [
    '0.yaml:3:31: podSource.api.kubeconfig must be an absolute path',
  ]);
  t.match(problems(`${HEAD}podSource: {api: on}\n`), [/"off", "kubelet" or \{kubeconfig: <absolute path>\}/]);
});

t.test('units are read', async (t) => {
  const { config } = loaded(
    `${HEAD}cpuset: {reservedCpus: 0-1}\nnuma: {reservedMemory: 512Mi}\nmetrics: {address: off}\npaths: {state: /srv//x/../y}\n`,
  );
  t.ok(config.cpuset.reservedCpus?.equals(CpuSet.of(0, 1)));
  t.equal(config.numa.reservedMemory, 512 * 1024 ** 2);
  t.equal(config.metrics.address, 'off');
  t.equal(config.paths.state, '/srv/y');
  t.strictSame(loaded(`${HEAD}metrics: {address: "[::1]:80"}`).config.metrics.address, { host: '::1', port: 80 });
});

t.test('every problem says where it is and what is allowed', async (t) => {
  const cases: Readonly<Record<string, string>> = {
    [`${HEAD}reuse:\n  budgit: 1Gi\n`]:
      '0.yaml:4:3: reuse.budgit is unknown; known here: enabled, budget, maxAge, fastFailures',
    [`${HEAD}reuse:\n  enabled: "yes"\n`]: '0.yaml:4:12: reuse.enabled must be true or false, not a text',
    [`${HEAD}reuse: 5\n`]: '0.yaml:3:8: reuse must be a map, not a number',
    [`${HEAD}reuse: {fastFailures: {limit: -1}}\n`]: '0.yaml:3:31: reuse.fastFailures.limit must be at least 0',
    [`${HEAD}reuse: {fastFailures: {limit: 1.5}}\n`]:
      '0.yaml:3:31: reuse.fastFailures.limit must be a whole number, not a number',
    [`${HEAD}numa: {strategy: both}\n`]: '0.yaml:3:18: numa.strategy must be "spread" or "pack"',
    [`${HEAD}reuse: {budget: 20 GB}\n`]:
      '0.yaml:3:17: reuse.budget "20 GB" is not a quantity such as "500m", "2" or "20Gi"',
    [`${HEAD}reuse: {budget: [1]}\n`]: '0.yaml:3:17: reuse.budget must be a quantity such as "20Gi"',
    [`${HEAD}holdings: {gracePeriod: soon}\n`]:
      '0.yaml:3:25: holdings.gracePeriod "soon" is not a duration such as "10s", "5m" or "7d"',
    [`${HEAD}paths: {run: run/holdfast}\n`]: '0.yaml:3:14: paths.run must be an absolute path',
    [`${HEAD}schedules: {report: often}\n`]:
      '0.yaml:3:21: schedules.report must be a cron expression such as "*/10 * * * * *" (seconds first)',
    [`${HEAD}policy: {namespaces: {Prod: {}}}\n`]: '0.yaml:3:23: policy.namespaces.Prod is not the name of a namespace',
    [`${HEAD}policy: {namespaces: {p: {deny: [x]}}}\n`]:
      '0.yaml:3:34: policy.namespaces.p.deny.0 must be "reuse" or "exclusive" or "required"',
    [`${HEAD}metrics: {address: 9571}\n`]:
      '0.yaml:3:20: metrics.address "9571" is not an address such as "127.0.0.1:9571", nor "off"',
    [`${HEAD}__proto__: {x: 1}\n`]: '0.yaml:3:1: __proto__ is unknown; known here: ',
    [`kind: AgentConfig\n`]: '0.yaml:1:1: apiVersion is missing; it must be "holdfast.dev/v1"',
    [`apiVersion: holdfast.dev/v2\nkind: AgentConfig\n`]: '0.yaml:1:13: apiVersion must be "holdfast.dev/v1"',
    [`${HEAD}reuse: {}\nreuse: {}\n`]: '0.yaml:4:1: Map keys must be unique',
    [`${HEAD}---\n${HEAD}`]: '0.yaml:3:1: Source contains multiple documents; please use YAML.parseAllDocuments()',
    '- a list\n': '0.yaml:1:1: must be a map that begins with apiVersion and kind',
    [`${HEAD}log: &a [*a]\n`]: '0.yaml:1:1: cannot be read as YAML: nested over 12 levels deep',
  };
  for (const [text, expected] of Object.entries(cases)) {
    const [first = ''] = problems(text);
    t.ok(first.startsWith(expected), `${JSON.stringify(text)} gave ${first}`);
  }
});

t.test('all problems of all files are found at once, in their order', async (t) => {
  const found = problems(`${HEAD}nope: 1\nreuse: {budget: x}\nlog: {level: loud}\n`, 'kind: Other\n');
  t.strictSame(
    found.map((problem) => problem.split(': ')[0]),
    ['0.yaml:3:1', '0.yaml:4:17', '0.yaml:5:14', '1.yaml:1:1', '1.yaml:1:7'],
  );
});

t.test('what is shown can be read again and gives the same configuration', async (t) => {
  const first = loaded(
    `${HEAD}cpuset: {reservedCpus: "0,4-5"}\npolicy: {namespaces: {p: {defaults: {numa: required}}}}\n`,
  );
  const text = formatConfig(first, 'yaml');
  t.match(text, /^ {2}reservedCpus: 0,4-5 # 0\.yaml:3$/m);
  t.match(text, /^ {2}budget: 20Gi # default$/m);
  t.strictSame(configToPlain(loaded(text).config), configToPlain(first.config));
  t.strictSame(JSON.parse(formatConfig(first, 'json')), configToPlain(first.config));
});

t.test('the JSON schema describes files, and has no default that is true of this host only', async (t) => {
  const schema = configJsonSchema() as {
    properties: Record<string, Record<string, unknown>>;
    additionalProperties: boolean;
  };
  t.equal(schema.additionalProperties, false);
  t.strictSame(Object.keys(schema.properties), Object.keys(agentConfigSchema.shape));
  t.equal('default' in (schema.properties['nodeName'] ?? {}), false);
});

t.test('no text crashes the loader: it is a configuration or a list of problems', async () => {
  const known = fc.constantFrom(
    'apiVersion',
    'kind',
    'reuse',
    'numa',
    'policy',
    'namespaces',
    'a',
    'deny',
    '__proto__',
    'paths',
  );
  const tree = fc.letrec((tie) => ({
    node: fc.oneof(
      { depthSize: 'small' },
      fc.jsonValue({ maxDepth: 1 }),
      fc.constantFrom('20Gi', '7d', 'holdfast.dev/v1', 'AgentConfig', null),
      fc.array(tie('node'), { maxLength: 3 }),
      fc.dictionary(known, tie('node'), { maxKeys: 5 }),
    ),
  })).node;
  const yamlish = fc.stringMatching(/^[-a-z:{}[\]&*!|>'"#%@` \n0-9,?]{0,60}$/);
  const text = fc.oneof(
    fc.string(),
    yamlish,
    yamlish.map((rest) => `${HEAD}${rest}`),
    tree.map((value) => stringify(value)),
    fc.dictionary(known, tree).map((value) => `${HEAD}${stringify(value)}`),
  );
  fc.assert(
    fc.property(text, text, (one, two) => {
      const checked = combine(one, two);
      if (checked.ok) return formatConfig(checked.loaded, 'yaml') !== '';
      return checked.problems.length > 0 && checked.problems.every(({ line, column }) => line > 0 && column > 0);
    }),
    { numRuns: 400 },
  );
});

t.test('merging: the later side decides, key by key', async () => {
  const value = fc
    .jsonValue({ maxDepth: 3 })
    .filter((each) => typeof each === 'object' && each !== null && !Array.isArray(each));
  fc.assert(
    fc.property(value, value, (a, b) => {
      const [one, two] = [mergePlain({}, a as PlainMap), b as PlainMap];
      const once = mergePlain(one, two);
      const twice = mergePlain(once, two);
      return (
        JSON.stringify(once) === JSON.stringify(twice) && JSON.stringify(mergePlain({}, once)) === JSON.stringify(once)
      );
    }),
  );
});

t.test('positions survive what YAML can do', async (t) => {
  t.strictSame(problems(`${HEAD}reuse: &r\n  budgit: 1\n`)[0]?.split(' is')[0], '0.yaml:4:3: reuse.budgit');
  t.strictSame(problems(`${HEAD}x-base: &b {budgit: 1}\nreuse: *b\n`)[0]?.split(' is')[0], '0.yaml:3:1: x-base');
});
