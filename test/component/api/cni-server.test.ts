// cni.sock against callers that are slow, rude, too many or gone, and a handler that takes its time.
import { statSync } from 'node:fs';
import { Registry } from 'prom-client';
import t, { type Test } from 'tap';
import { serveCni } from '../../../agent/api/cni-server.ts';
import { pollUntil } from '../../../agent/cli/quickstart/poll.ts';
import { createLogger } from '../../../agent/log.ts';
import { HoldfastError } from '../../../lib/errors.ts';
import {
  answerOf,
  connectTo,
  encodeRequest,
  requestOf,
  startCniServer,
  type TestServer,
} from '../../support/cni-client.ts';
import { assertCniAnswer } from '../../support/cni-json.ts';
import { ATTACHED, recordingHandler, untilAborted } from '../../support/recording-cni-handler.ts';

const PATIENCE_MS = 60_000;

async function call(t: Test, server: TestServer, request: Buffer) {
  const socket = await connectTo(t, server.path);
  socket.write(request);
  return answerOf(socket);
}

/** CNI's error code, 0 for success; undefined when there was no answer. */
async function codeOf(t: Test, server: TestServer, command: string): Promise<number | undefined> {
  const answer = await call(t, server, requestOf(command));
  return answer && (assertCniAnswer(answer, command, '1.1.0')?.code ?? 0);
}

async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  await pollUntil(what, PATIENCE_MS, async () => ((await holds()) ? true : undefined));
}

async function metric(server: TestServer, line: RegExp): Promise<boolean> {
  return line.test(await server.registry.metrics());
}

t.test('only root may connect', async (t) => {
  const server = await startCniServer(t, recordingHandler());
  t.equal(statSync(server.path).mode & 0o777, 0o600);
});

t.test('a call reaches the handler, and its result the caller; both are counted', async (t) => {
  const handler = recordingHandler();
  const server = await startCniServer(t, handler);
  for (const command of ['ADD', 'CHECK', 'DEL', 'GC', 'STATUS']) t.equal(await codeOf(t, server, command), 0, command);
  t.strictSame(
    handler.requests.map(({ command }) => command),
    ['ADD', 'CHECK', 'DEL', 'GC', 'STATUS'],
  );
  t.ok(await metric(server, /^holdfast_cni_calls_total\{command="ADD",code="0"\} 1$/m));
  t.ok(await metric(server, /^holdfast_cni_seconds_count\{command="DEL"\} 1$/m));
});

t.test('what is no request is answered with an error of CNI, and counted', async (t) => {
  const handler = recordingHandler();
  const server = await startCniServer(t, handler);
  for (const bytes of ['GET / HTTP/1.1\r\n\r\n', 'holdfast-cni/1 0 99999999\n', 'x'.repeat(100_000), '\n']) {
    const answer = await call(t, server, Buffer.from(bytes));
    t.equal(answer && assertCniAnswer(answer, '', '1.1.0')?.code, 5, bytes.slice(0, 30));
  }
  const wrong = await call(t, server, encodeRequest({ CNI_COMMAND: 'ADD' }, '{"cniVersion":"1.0.0"}'));
  t.equal(wrong && assertCniAnswer(wrong, 'ADD', '1.0.0')?.code, 7);
  t.ok(await metric(server, /^holdfast_cni_calls_total\{command="unknown",code="5"\} 4$/m));
  t.ok(await metric(server, /^holdfast_cni_calls_total\{command="ADD",code="7"\} 1$/m));
  t.equal(handler.requests.length, 0);
});

t.test('a caller that sends byte by byte is served', async (t) => {
  const server = await startCniServer(t, recordingHandler());
  const socket = await connectTo(t, server.path);
  socket.setNoDelay(true);
  const answer = answerOf(socket);
  for (const byte of requestOf('ADD')) {
    await new Promise((resolve) => socket.write(Buffer.of(byte), resolve));
  }
  t.equal((await answer)?.exitStatus, 0);
});

t.test('a caller that stops half-way is told off, and holds up nobody', async (t) => {
  const server = await startCniServer(t, recordingHandler(), { sendMs: 300 });
  const stuck = await Promise.all(
    [0, 1, 20, requestOf('ADD').length - 1].map(async (length) => {
      const socket = await connectTo(t, server.path);
      socket.write(requestOf('ADD').subarray(0, length));
      return answerOf(socket);
    }),
  );
  for (const answer of stuck) t.equal(answer && assertCniAnswer(answer, '', '1.1.0')?.code, 5);
  t.equal(await codeOf(t, server, 'ADD'), 0);
});

t.test('a caller that goes before its request is complete was never there', async (t) => {
  const handler = recordingHandler();
  const server = await startCniServer(t, handler, { mostCalls: 1 });
  for (const [length, end] of [
    [0, false],
    [30, false],
    [30, true],
  ] as const) {
    const socket = await connectTo(t, server.path);
    socket.write(requestOf('ADD').subarray(0, length));
    if (end) socket.end();
    else socket.destroy();
    // With one place there is none for the next until this one is seen to be gone.
    await until('a free place', async () => (await codeOf(t, server, 'STATUS')) === 0);
  }
  t.notOk(handler.requests.some(({ command }) => command === 'ADD'));
  t.notOk(await metric(server, /code="5"/));
});

for (const how of ['destroy', 'end'] as const) {
  t.test(`a caller that goes (${how}) while ADD is at work ends it; DEL and GC are finished`, async (t) => {
    const outcomes: string[] = [];
    let letGo = (): void => {};
    const released = new Promise<void>((resolve) => {
      letGo = resolve;
    });
    const handler = recordingHandler(async ({ command }, signal) => {
      try {
        await (command === 'DEL' || command === 'GC'
          ? Promise.race([released, untilAborted(signal)])
          : untilAborted(signal));
        outcomes.push(`${command} done`);
      } catch (error) {
        outcomes.push(`${command} ${error instanceof HoldfastError ? error.code : String(error)}`);
        throw error;
      }
      return ATTACHED;
    });
    const server = await startCniServer(t, handler);
    for (const command of ['ADD', 'CHECK', 'STATUS', 'DEL', 'GC']) {
      const socket = await connectTo(t, server.path);
      socket.write(requestOf(command));
      await until(command, () => handler.requests.some((request) => request.command === command));
      socket[how]();
    }
    await until('the three that give up', () => outcomes.length === 3);
    t.strictSame(outcomes.toSorted(), ['ADD UNAVAILABLE', 'CHECK UNAVAILABLE', 'STATUS UNAVAILABLE']);
    letGo();
    await until('the two that are finished', () => outcomes.length === 5);
    t.strictSame(outcomes.slice(3).toSorted(), ['DEL done', 'GC done']);
  });
}

t.test('who sends more than a request is cut off', async (t) => {
  const handler = recordingHandler((_, signal) => untilAborted(signal));
  const server = await startCniServer(t, handler);
  const socket = await connectTo(t, server.path);
  socket.write(requestOf('ADD'));
  await until('the handler', () => handler.signals.length === 1);
  const answer = answerOf(socket);
  socket.write('more');
  t.equal(await answer, undefined);
  await until('the abort', () => handler.signals[0]?.aborted === true);
});

t.test('a handler whose time is up is told, and what it says is the answer', async (t) => {
  const handler = recordingHandler(async (_, signal) => untilAborted(signal));
  const server = await startCniServer(t, handler, { callMs: 50 });
  const answer = await call(t, server, requestOf('ADD'));
  t.match(answer && assertCniAnswer(answer, 'ADD', '1.1.0'), { code: 11, msg: /DEADLINE: not done within 0\.05 s/ });
});

t.test('a handler that does not listen keeps its place, and not its caller', async (t) => {
  let letGo = (): void => {};
  const handler = recordingHandler(
    ({ command }) =>
      new Promise((resolve) => {
        if (command === 'ADD') letGo = () => resolve(ATTACHED);
        else resolve(ATTACHED);
      }),
  );
  const server = await startCniServer(t, handler, { callMs: 20, unwindMs: 20, mostCalls: 1 });
  t.equal(await codeOf(t, server, 'ADD'), 11);
  const refused = await call(t, server, requestOf('DEL'));
  t.match(refused && assertCniAnswer(refused, 'DEL', '1.1.0'), { code: 11, msg: /1 calls .* under way/ });
  letGo();
  await until('a free place', async () => (await codeOf(t, server, 'DEL')) === 0);
});

t.test('more callers than the agent takes are told to come again', async (t) => {
  const handler = recordingHandler((_, signal) => untilAborted(signal));
  const server = await startCniServer(t, handler, { mostCalls: 3 });
  const sockets = await Promise.all([0, 1, 2].map(() => connectTo(t, server.path)));
  for (const socket of sockets) socket.write(requestOf('ADD'));
  await until('three calls at work', () => handler.requests.length === 3);
  t.equal(await codeOf(t, server, 'ADD'), 11);
  t.equal(handler.requests.length, 3);
});

t.test('250 calls at once are all answered', async (t) => {
  const server = await startCniServer(t, recordingHandler());
  const codes = await Promise.all(Array.from({ length: 250 }, () => codeOf(t, server, 'ADD')));
  t.strictSame(new Set(codes), new Set([0]));
});

t.test('a caller that does not take its answer is left alone with it', async (t) => {
  const routes = Array.from({ length: 100_000 }, () => ({ dst: '10.0.0.0/8', gw: '10.1.0.1' }));
  const server = await startCniServer(
    t,
    recordingHandler(async () => ({ ...ATTACHED, routes })),
    { sendMs: 300 },
  );
  const socket = await connectTo(t, server.path);
  socket.pause();
  socket.write(requestOf('ADD'));
  await until('the answer', () => metric(server, /"ADD",code="0"\} 1/));
  await server.close(0);
  socket.resume();
  t.equal(await answerOf(socket), undefined, 'it is not complete');
});

t.test('a server that closes lets calls finish, then ends them, and answers all of them', async (t) => {
  let letGo = (): void => {};
  const handler = recordingHandler((request, signal) => {
    if (!('id' in request && request.id.containerId === 'quick')) return untilAborted(signal);
    return new Promise((resolve) => {
      letGo = () => resolve(ATTACHED);
    });
  });
  const server = await startCniServer(t, handler);
  const answers = await Promise.all(
    ['quick', 'slow'].map(async (containerId) => {
      const socket = await connectTo(t, server.path);
      const environment = { CNI_COMMAND: 'ADD', CNI_CONTAINERID: containerId, CNI_NETNS: '/n', CNI_IFNAME: 'eth0' };
      socket.write(encodeRequest(environment, '{"cniVersion":"1.1.0","name":"pods","type":"holdfast"}'));
      return { answer: answerOf(socket) };
    }),
  );
  const idle = answerOf(await connectTo(t, server.path));
  await until('two calls at work', () => handler.requests.length === 2);
  const closed = server.close(200);
  letGo();
  const [quick, slow] = await Promise.all(answers.map(({ answer }) => answer));
  t.equal(quick?.exitStatus, 0);
  t.match(slow && assertCniAnswer(slow, 'ADD', '1.1.0'), { code: 11, msg: /the agent is stopping/ });
  t.equal(await idle, undefined);
  await closed;
  t.throws(() => statSync(server.path), { code: 'ENOENT' });
});

t.test('a path on which somebody listens is left to him', async (t) => {
  const server = await startCniServer(t, recordingHandler());
  const options = { path: server.path, handler: recordingHandler(), registry: new Registry() };
  await t.rejects(serveCni({ ...options, logger: createLogger('silent') }), { code: 'PRECONDITION' });
  t.equal(await codeOf(t, server, 'STATUS'), 0);
});
