// The units as they are shipped: a shim that cannot start is tried again for ever, with a pause.
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { cp, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';

const FOLDER = fileURLToPath(new URL('../../../systemd', import.meta.url));
const ANALYZE = '/usr/bin/systemd-analyze';
const textOf = (name: string): Promise<string> => readFile(join(FOLDER, name), 'utf8');

t.test('neither the socket nor the service is given up', async (t) => {
  t.match(await textOf('holdfast-cri-shim.socket'), /^TriggerLimitIntervalSec=0$/m);
  const service = await textOf('holdfast-cri-shim.service');
  t.match(service, /^StartLimitIntervalSec=0$/m);
  t.match(service, /^Restart=always$/m);
});

t.test('after a failure there is a pause, after a stop there is none', async (t) => {
  const service = await textOf('holdfast-cri-shim.service');
  const script = /^ExecStopPost=\+\/bin\/sh -c '(.*)'$/m.exec(service)?.[1]?.replaceAll('$$', '$') ?? 'false';
  const slept = (result: string): string =>
    execFileSync('/bin/sh', ['-c', `sleep() { echo "sleep $@"; }; ${script}`], {
      env: { ...process.env, SERVICE_RESULT: result },
      encoding: 'utf8',
    });
  t.equal(slept('exit-code'), 'sleep 0.2\n');
  t.equal(slept('success'), '');
});

const reason = existsSync(ANALYZE) ? false : `${ANALYZE} is not installed`;
t.test('systemd understands every line', { skip: reason }, async (t) => {
  const folder = t.testdir({});
  await cp(FOLDER, folder, { recursive: true });
  const units = ['holdfast-agent.service', 'holdfast-cri-shim.service', 'holdfast-cri-shim.socket'];
  const args = ['-c', '"$0" verify --man=no "$@" 2>&1; true', ANALYZE, ...units.map((name) => join(folder, name))];
  const said = execFileSync('/bin/sh', args, { encoding: 'utf8' });
  const lines = said.split('\n').filter((line) => line.includes(`${folder}/`));
  t.strictSame(lines, [], 'no key is unknown, no value ignored');
});
