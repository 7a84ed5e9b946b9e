// An agent that never gets done, as a process of its own to be killed: says on its standard output when a call has come.
import { writeSync } from 'node:fs';
import { Registry } from 'prom-client';
import { serveCni } from '../../../agent/api/cni-server.ts';
import { createLogger } from '../../../agent/log.ts';
import { recordingHandler } from '../../support/recording-cni-handler.ts';

const handler = recordingHandler(({ command }) => {
  writeSync(1, `${command}\n`);
  return new Promise(() => {});
});
await serveCni({ path: process.argv[2] ?? '', handler, registry: new Registry(), logger: createLogger('silent') });
writeSync(1, 'serving\n');
