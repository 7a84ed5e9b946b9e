// One request after the other: its path, its body, its answer. Whatever comes, the answer says what was wrong.
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Logger } from 'pino';
import type { Registry } from 'prom-client';
import { readPod } from '../../agent/cluster/pod-manifest.ts';
import type { PodFacts } from '../../agent/model/pod.ts';
import { describeError, HoldfastError } from '../../lib/errors.ts';
import { unschedulableOf } from '../discovery/cluster-pod.ts';
import type { ExtenderMetrics } from '../metrics.ts';
import type { Scheduling } from '../scheduling/scheduling.ts';
import { BodyReader, BodyTooLarge } from './read-body.ts';
import { type ExtenderArgs, filterResult, hostPriorities, readArgs } from './wire.ts';

export interface HandlerOptions {
  readonly scheduling: Scheduling;
  /** What is still missing before answers are good; undefined: nothing. */
  readonly notReady: () => string | undefined;
  readonly metrics: ExtenderMetrics;
  readonly registry: Registry;
  readonly logger: Logger;
  readonly bodies?: BodyReader;
  /** Of those below; absent: all. */
  readonly paths?: readonly string[];
}

/** What tells nothing of the cluster. */
export const HEALTH_PATHS: readonly string[] = ['/healthz', '/readyz'];

interface Answer {
  readonly code: number;
  readonly type: string;
  readonly body: string;
}

const json = (body: string): Answer => ({ code: 200, type: 'application/json', body });
const text = (code: number, body: string): Answer => ({ code, type: 'text/plain; charset=utf-8', body: `${body}\n` });

/** @throws HoldfastError INVALID_REQUEST */
function factsOf({ pod }: ExtenderArgs): PodFacts {
  const facts = readPod(pod);
  if (facts.uid === '') throw new HoldfastError('INVALID_REQUEST', 'the Pod has no UID');
  return facts;
}

export function createHandler(
  options: HandlerOptions,
): (request: IncomingMessage, response: ServerResponse) => Promise<void> {
  const { scheduling, notReady, metrics, registry, logger, bodies = new BodyReader(), paths } = options;

  const filter = async (request: IncomingMessage, signal: AbortSignal): Promise<Answer> => {
    const args = readArgs(await bodies.read(request));
    const facts = factsOf(args);
    const answer = await scheduling.filter(facts, unschedulableOf(args.pod), args.nodeNames, signal);
    const { namespace, name } = facts;
    const [first] = answer.failed;
    const said = first === undefined ? {} : { example: `${first[0]}: ${first[1]}`.slice(0, 500) };
    logger.debug(
      { pod: `${namespace}/${name}`, passed: answer.passed.length, failed: answer.failed.size, ...said },
      'filter',
    );
    return json(filterResult(args, answer));
  };
  const prioritize = async (request: IncomingMessage): Promise<Answer> => {
    const args = readArgs(await bodies.read(request));
    return json(hostPriorities(args.nodeNames, scheduling.prioritize(factsOf(args), args.nodeNames)));
  };
  const ready = (): Answer => {
    const missing = notReady();
    return missing === undefined ? text(200, 'ok') : text(503, missing);
  };
  type Route = (request: IncomingMessage, signal: AbortSignal) => Promise<Answer>;
  const all: Readonly<Record<string, { readonly method: 'GET' | 'POST'; readonly run: Route }>> = {
    '/filter': { method: 'POST', run: filter },
    '/prioritize': { method: 'POST', run: prioritize },
    '/healthz': { method: 'GET', run: async () => text(200, 'ok') },
    '/readyz': { method: 'GET', run: async () => ready() },
    '/metrics': {
      method: 'GET',
      run: async () => ({ code: 200, type: registry.contentType, body: await registry.metrics() }),
    },
  };

  const routes = Object.fromEntries(Object.entries(all).filter(([path]) => paths?.includes(path) !== false));

  const answerTo = async (request: IncomingMessage, signal: AbortSignal): Promise<Answer> => {
    const [path = ''] = (request.url ?? '').split('?');
    const route = Object.hasOwn(routes, path) ? routes[path] : undefined;
    if (route === undefined) return text(404, `there are ${Object.keys(routes).join(', ')}`);
    if (request.method !== route.method) return text(405, `${path} is asked with ${route.method}`);
    const stop = metrics.duration.startTimer({ path });
    try {
      return await route.run(request, signal);
    } catch (error) {
      return refusal(error, path, logger);
    } finally {
      stop();
    }
  };

  return async (request, response) => {
    const gone = new AbortController();
    response.on('close', () => gone.abort(new Error('the caller has gone')));
    const { code, type, body } = await answerTo(request, gone.signal);
    metrics.requests.inc({ code });
    // What was not read of a request stands in the way of the next one on the connection.
    const closing = request.complete ? {} : { connection: 'close' };
    response.writeHead(code, { 'content-type': type, 'content-length': Buffer.byteLength(body), ...closing });
    response.end(body);
  };
}

function refusal(error: unknown, path: string, logger: Logger): Answer {
  if (error instanceof BodyTooLarge) return text(413, 'the body is too large; set nodeCacheCapable to true');
  if (error instanceof HoldfastError && error.code === 'INVALID_REQUEST') return text(400, describeError(error));
  if (error instanceof HoldfastError && error.code === 'UNAVAILABLE') return text(503, describeError(error));
  logger.error({ path, error: describeError(error) }, 'a request could not be answered');
  return text(500, describeError(error));
}
