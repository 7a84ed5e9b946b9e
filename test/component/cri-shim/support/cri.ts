// The CRI as the tests speak it on both sides of the shim: requests by method name, a runtime that answers in kind.
import { create, fromBinary, type Message, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { status } from '@grpc/grpc-js';
import { encodeFrame } from '../../../../cri-shim/grpc/frame.ts';
import { RuntimeService } from '../../../../proto/gen/wire/cri/v1/cri_pb.ts';
import type { Bench, SeenCall } from './bench.ts';
import { type ReceivedCall, type RuntimeBehaviour, reply, replyError } from './fake-runtime.ts';

type Methods = typeof RuntimeService.method;
export type MethodName = keyof Methods;
export type CriRequest<Name extends MethodName> = MessageInitShape<Methods[Name]['input']>;
export type Service = 'runtime.v1' | 'runtime.v1alpha2';

/** What a runtime does with one method: a response, an error, or its own way with the stream. */
export type CriAnswer =
  | Readonly<Record<string, unknown>>
  | { readonly code: number; readonly message: string }
  | ((call: ReceivedCall) => void);

/** A request that reached the runtime. */
export interface CriCall {
  readonly method: string;
  readonly service: string;
  readonly request: Message;
  readonly call: ReceivedCall;
}

/** A runtime with empty answers, except for the methods given. */
export function criRuntime(answers: Partial<Record<MethodName, CriAnswer>>) {
  const received: CriCall[] = [];
  const onCall = (call: ReceivedCall): void => {
    const [, service = '', name = ''] = call.path.split('/');
    const method = RuntimeService.methods.find((each) => each.name === name);
    if (method === undefined) {
      replyError(call, status.UNIMPLEMENTED, name);
      return;
    }
    const request = fromBinary(method.input, (call.body ?? Buffer.alloc(0)).subarray(5));
    received.push({ method: name, service, request, call });
    const answer = answers[method.localName as MethodName] ?? {};
    if (typeof answer === 'function') answer(call);
    else if ('code' in answer) replyError(call, Number(answer.code), String(answer.message));
    else reply(call, toBinary(method.output, create(method.output, answer)));
  };
  const behaviour: RuntimeBehaviour = { onCall };
  return {
    behaviour,
    received,
    /** Requests of one method, in order. */
    requests: (name: string) => received.filter(({ method }) => method === name).map(({ request }) => request),
  };
}

/** The framed request as a client sends it. */
export function frameOf<Name extends MethodName>(name: Name, request: CriRequest<Name>): Buffer {
  const method = RuntimeService.method[name];
  return encodeFrame(toBinary(method.input, create(method.input, request as never) as never));
}

/** Calls a CRI method through the shim. */
export function callCri<Name extends MethodName>(
  bench: Bench,
  name: Name,
  request: CriRequest<Name>,
  { service = 'runtime.v1' as Service, timeout = '20S' } = {},
): Promise<SeenCall> {
  const path = `/${service}.RuntimeService/${RuntimeService.method[name].name}`;
  return bench.call(path, frameOf(name, request), { 'grpc-timeout': timeout });
}

/** The eight intercepted calls, with the question that each asks first or last. */
export const STEPS: readonly { readonly name: MethodName; readonly step: string; readonly request: object }[] = [
  { name: 'runPodSandbox', step: 'sandboxCreating', request: { config: { metadata: { name: 'p', uid: 'u' } } } },
  {
    name: 'createContainer',
    step: 'containerCreating',
    request: { podSandboxId: 's', config: { metadata: { name: 'web' } }, sandboxConfig: { metadata: { uid: 'u' } } },
  },
  { name: 'startContainer', step: 'containerStarted', request: { containerId: 'c' } },
  {
    name: 'updateContainerResources',
    step: 'containerUpdating',
    request: { containerId: 'c', linux: { cpuShares: 2n } },
  },
  { name: 'stopContainer', step: 'containerStopping', request: { containerId: 'c', timeout: 30n } },
  { name: 'stopPodSandbox', step: 'sandboxStopping', request: { podSandboxId: 's' } },
  { name: 'removeContainer', step: 'containerRemoving', request: { containerId: 'c' } },
  { name: 'removePodSandbox', step: 'sandboxRemoving', request: { podSandboxId: 's' } },
];
