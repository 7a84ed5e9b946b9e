// An agent beside the shim: a real grpc-js server of the lifecycle service that keeps the questions it got.
import { create, type DescMessage, type Message, type MessageInitShape } from '@bufbuild/protobuf';
import { Metadata, Server, ServerCredentials, type ServerUnaryCall, type sendUnaryData } from '@grpc/grpc-js';
import { serviceDefinition } from '../../../../lib/grpc.ts';
import { type AdjustmentSchema, Lifecycle } from '../../../../proto/gen/holdfast/lifecycle/v1/lifecycle_pb.ts';

export interface Question {
  /** The method's local name, such as `containerCreating`. */
  readonly step: string;
  readonly request: Message & Readonly<Record<string, unknown>>;
  /** Whether the shim withdrew the question. */
  cancelled: boolean;
}

export type AgentReaction =
  | { readonly kind: 'answer'; readonly adjustment?: MessageInitShape<typeof AdjustmentSchema> }
  | { readonly kind: 'refuse'; readonly code: number; readonly details: string }
  /** Never answers. */
  | { readonly kind: 'hang' };

export interface FakeAgent {
  readonly questions: Question[];
  /** What the agent does at each step; by default it answers that nothing is to be changed. */
  readonly reactions: Map<string, AgentReaction>;
  stop(): void;
}

export async function startFakeAgent(path: string): Promise<FakeAgent> {
  const questions: Question[] = [];
  const reactions = new Map<string, AgentReaction>();
  const server = new Server();
  const handle = (step: string, output: DescMessage) => {
    return (call: ServerUnaryCall<Question['request'], Message>, callback: sendUnaryData<Message>): void => {
      const question: Question = { step, request: call.request, cancelled: false };
      questions.push(question);
      call.on('cancelled', () => {
        question.cancelled = true;
      });
      const reaction = reactions.get(step) ?? { kind: 'answer' };
      if (reaction.kind === 'refuse') {
        callback({ code: reaction.code, details: reaction.details, metadata: new Metadata() });
      } else if (reaction.kind === 'answer') {
        const adjustable = output.fields.some((field) => field.localName === 'adjustment');
        const adjustment = adjustable && reaction.adjustment !== undefined ? { adjustment: reaction.adjustment } : {};
        callback(null, create(output, adjustment));
      }
    };
  };
  server.addService(
    serviceDefinition(Lifecycle),
    Object.fromEntries(Lifecycle.methods.map((method) => [method.localName, handle(method.localName, method.output)])),
  );
  await new Promise<void>((resolve, reject) => {
    server.bindAsync(`unix:${path}`, ServerCredentials.createInsecure(), (error) => {
      if (error === null) resolve();
      else reject(error);
    });
  });
  return { questions, reactions, stop: () => server.forceShutdown() };
}
