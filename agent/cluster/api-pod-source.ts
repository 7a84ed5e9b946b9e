// Pods from the API server: a list and a watch of this node's pods.
import { describeError } from '../../lib/errors.ts';
import type { ApiCredentials } from './api-access.ts';
import type { ApiPod } from './api-pod.ts';
import { ApiPodView } from './api-pod-view.ts';
import { LIST_LIMITS, podsOfNode } from './api-pods.ts';
import { API_TIMES, type ApiTimes, type FollowObserver, followObjects, type ObjectView } from './follow-objects.ts';
import type { PodSource } from './pod-source.ts';

/** The agent starts without the API server; but it knows more at its first steps when the list is there. */
const FIRST_LIST_MS = 5000;

export interface ApiPodSourceOptions {
  readonly credentials: ApiCredentials;
  readonly nodeName: string;
  /** Told of listeners that throw, and of problems that begin. */
  readonly onError: (error: unknown) => void;
  readonly times?: ApiTimes;
  /** Makes the metrics. */
  readonly observe?: (subject: { ageMs(): number; pods(): number }) => FollowObserver;
}

function viewOf(view: ApiPodView): ObjectView<ApiPod> {
  return {
    get resourceVersion() {
      return view.resourceVersion;
    },
    get origin() {
      return view.origin;
    },
    list: ({ items, ...rest }) => view.list({ pods: items, ...rest }),
    apply: ({ type, item }) => view.apply({ type, pod: item }),
    advance: (resourceVersion) => view.advance(resourceVersion),
  };
}

const NO_OBSERVER: FollowObserver = { onStep: () => undefined, onEvent: () => undefined };

/** Resolves when the pods were listed, when the first attempt has failed, or after five seconds. */
export async function startApiPodSource(options: ApiPodSourceOptions): Promise<PodSource> {
  const { credentials, nodeName, onError, times = API_TIMES, observe } = options;
  const view = new ApiPodView();
  const listeners = new Set<() => void>();
  const closing = new AbortController();
  let server: string | undefined;
  let problem: string | undefined = 'the API server has not answered yet';
  let aliveAt = performance.now();
  let begun: () => void = () => undefined;
  const first = new Promise<void>((resolve) => {
    begun = resolve;
  });
  const tell = (): void => {
    for (const listener of listeners) {
      try {
        listener();
      } catch (error) {
        onError(error);
      }
    }
  };
  const ageMs = (): number => performance.now() - aliveAt;
  void followObjects({
    credentials,
    kind: podsOfNode(nodeName),
    limits: LIST_LIMITS,
    view: viewOf(view),
    times,
    observer: observe?.({ ageMs, pods: () => view.size }) ?? NO_OBSERVER,
    signal: closing.signal,
    onAlive: (answering) => {
      server = answering;
      problem = undefined;
      aliveAt = performance.now();
      begun();
    },
    onChange: tell,
    onProblem: (found) => {
      if (found !== problem) onError(found);
      problem = found;
      begun();
    },
  }).catch((error: unknown) => {
    problem = `the watch on the API server has ended: ${describeError(error)}`;
    onError(error);
  });
  const patience = setTimeout(begun, FIRST_LIST_MS);
  await first;
  clearTimeout(patience);
  return {
    status: () => {
      const wrong = problem ?? view.problem();
      const name = `API server${server === undefined ? '' : ` ${server}`} (node ${nodeName})`;
      return { name, ageMs: Math.round(ageMs()), ...(wrong === undefined ? {} : { problem: wrong }) };
    },
    find: (pod) => view.find(pod),
    phaseOf: (pod) => view.phaseOf(pod),
    seesDeletions: true,
    onChange: (listener) => {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    close: () => {
      closing.abort();
      listeners.clear();
    },
  };
}
