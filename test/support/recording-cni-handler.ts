// A handler behind the CNI front that keeps what it was asked, and answers what a test wants.
import type { CniRequest } from '../../agent/network/cni/parse-request.ts';
import type { Attached, CniHandler } from '../../agent/network/cni/request.ts';

export interface RecordingHandler extends CniHandler {
  readonly requests: CniRequest[];
  /** Of each request, in their order. */
  readonly signals: AbortSignal[];
}

/** One address of each family on a pair of interfaces. */
export const ATTACHED: Attached = {
  interfaces: [
    { name: 'hf0123456789', mac: '0a:58:0a:01:00:01', mtu: 1500 },
    { name: 'eth0', mac: '0a:58:0a:01:00:02', mtu: 1500, sandbox: '/run/netns/blue' },
  ],
  addresses: [{ address: '10.1.0.5/16', gateway: '10.1.0.1' }, { address: 'fd00::5/64' }],
  routes: [{ dst: '0.0.0.0/0', gw: '10.1.0.1' }, { dst: '::/0' }],
  dns: { nameservers: ['10.1.0.53'] },
};

/** @param answer - called with every request; ADD returns what it returns, and every command throws what it throws */
export function recordingHandler(
  answer: (request: CniRequest, signal: AbortSignal) => Promise<Attached> = async () => ATTACHED,
): RecordingHandler {
  const requests: CniRequest[] = [];
  const signals: AbortSignal[] = [];
  const add = (request: CniRequest, signal: AbortSignal): Promise<Attached> => {
    requests.push(request);
    signals.push(signal);
    return answer(request, signal);
  };
  const silent = async (request: CniRequest, signal: AbortSignal): Promise<void> => void (await add(request, signal));
  return { requests, signals, add, del: silent, check: silent, gc: silent, status: silent };
}

/** Waits until the signal aborts, and throws its reason. */
export function untilAborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason);
    else signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
}
