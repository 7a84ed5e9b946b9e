// Server reflection: grpcurl and its like learn the services from the server itself.

import { create, type DescFile, type DescService, toBinary } from '@bufbuild/protobuf';
import { nestedTypes } from '@bufbuild/protobuf/reflect';
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';
import { status } from '@grpc/grpc-js';
import {
  ErrorResponseSchema,
  FileDescriptorResponseSchema,
  ListServiceResponseSchema,
  ServerReflection,
  type ServerReflectionRequest,
  type ServerReflectionResponse,
} from '../../proto/gen/wire/grpc/reflection/v1/reflection_pb.ts';
import { type ImplementedService, implement } from './grpc-server.ts';
import type { Handlers } from './handlers.ts';

type Answer = ServerReflectionResponse['messageResponse'];

/** What can be asked for: files by name, and by the names of what is declared in them. */
interface Index {
  readonly files: ReadonlyMap<string, DescFile>;
  readonly symbols: ReadonlyMap<string, DescFile>;
}

function withDependencies(file: DescFile): readonly DescFile[] {
  return [...new Set([file, ...file.dependencies.flatMap(withDependencies)])];
}

function buildIndex(services: readonly DescService[]): Index {
  const files = new Map<string, DescFile>();
  const symbols = new Map<string, DescFile>();
  for (const file of services.flatMap((service) => withDependencies(service.file))) {
    files.set(file.proto.name, file);
    // With those within messages; their names are those of the messages around them, with their own behind.
    for (const declared of nestedTypes(file)) symbols.set(declared.typeName, file);
    for (const { typeName, methods } of file.services) {
      for (const method of methods) symbols.set(`${typeName}.${method.name}`, file);
    }
  }
  return { files, symbols };
}

function fileAnswer(file: DescFile | undefined, asked: string): Answer {
  if (file === undefined) return errorAnswer(status.NOT_FOUND, `${asked} is not known here`);
  // Clients resolve what a file imports from the same answer.
  const fileDescriptorProto = withDependencies(file).map((each) => toBinary(FileDescriptorProtoSchema, each.proto));
  return { case: 'fileDescriptorResponse', value: create(FileDescriptorResponseSchema, { fileDescriptorProto }) };
}

function errorAnswer(errorCode: status, errorMessage: string): Answer {
  return { case: 'errorResponse', value: create(ErrorResponseSchema, { errorCode, errorMessage }) };
}

function answer(request: ServerReflectionRequest, index: Index, names: readonly string[]): Answer {
  const asked = request.messageRequest;
  switch (asked.case) {
    case 'listServices':
      return {
        case: 'listServicesResponse',
        value: create(ListServiceResponseSchema, { service: names.map((name) => ({ name })) }),
      };
    case 'fileByFilename':
      return fileAnswer(index.files.get(asked.value), asked.value);
    case 'fileContainingSymbol':
      return fileAnswer(index.symbols.get(asked.value), asked.value);
    case 'fileContainingExtension':
    case 'allExtensionNumbersOfType':
      return errorAnswer(status.NOT_FOUND, 'there are no extensions');
    case undefined:
      return errorAnswer(status.INVALID_ARGUMENT, 'the request asks for nothing');
  }
}

/** Both versions of the reflection service, for a server with the given services. */
export function reflectionServices(services: readonly ImplementedService[]): readonly ImplementedService[] {
  const described = [...services.map(({ service }) => service), ServerReflection];
  const index = buildIndex(described);
  const names = [...services.map(({ typeName }) => typeName), ServerReflection.typeName].sort();
  const handlers: Handlers<typeof ServerReflection> = {
    serverReflectionInfo: async function* (requests) {
      for await (const request of requests) {
        yield { validHost: request.host, originalRequest: request, messageResponse: answer(request, index, names) };
      }
    },
  };
  return [
    implement(ServerReflection, handlers),
    implement(ServerReflection, handlers, 'grpc.reflection.v1alpha.ServerReflection'),
  ];
}
