// A call of the plugin as a request to the handler: environment and standard input, each checked as far as its command
// needs it.
import { z } from 'zod';
import { CNI_ERROR, CniError } from './cni-error.ts';
import {
  decodeConfig,
  listOf,
  parseNetwork,
  parseNetworkLeniently,
  parseVersion,
  type RawConfig,
  readWith,
} from './parse-config.ts';
import {
  type CniCommand,
  findCommand,
  findNetns,
  isCniName,
  isInterfaceName,
  parseCommand,
  parseContainerId,
  parseInterfaceName,
  parseNetns,
  type Variables,
} from './parse-environment.ts';
import { ANNOTATIONS_CAPABILITY, parsePod } from './parse-pod.ts';
import { hasPreviousResult, parseExpected } from './parse-previous.ts';
import type {
  AddRequest,
  AttachmentId,
  CheckRequest,
  DelRequest,
  GcRequest,
  NetworkConfig,
  StatusRequest,
} from './request.ts';
import { type CniVersion, versionForAnswer } from './versions.ts';

/** What the executable passed on. */
export interface RawCall {
  readonly variables: Variables;
  readonly stdin: Uint8Array;
}

export type CniRequest = AddRequest | DelRequest | CheckRequest | GcRequest | StatusRequest;

export type ParsedCall =
  | { readonly outcome: 'request'; readonly version: CniVersion; readonly request: CniRequest }
  /** `command` and `version` as far as they could be read. */
  | {
      readonly outcome: 'refused';
      readonly version: string;
      readonly command: CniCommand | undefined;
      readonly error: CniError;
    };

const validAttachments = z.object({
  // Whoever leaves the list out has not said that nothing is valid.
  'cni.dev/valid-attachments': listOf(
    z.object({
      containerID: z.string().refine(isCniName, { error: 'no container can have this ID' }),
      ifname: z.string().refine(isInterfaceName, { error: 'no interface can have this name' }),
    }),
    'the list of attachments that are still valid',
  ),
});
const annotated = z.object({
  runtimeConfig: z.object({ [ANNOTATIONS_CAPABILITY]: z.unknown() }).nullish(),
});

function parseId(variables: Variables, command: string, config: NetworkConfig): AttachmentId {
  return {
    network: config.name,
    containerId: parseContainerId(variables, command),
    ifname: parseInterfaceName(variables, command),
  };
}

function parseAdd(variables: Variables, raw: RawConfig): AddRequest {
  const command = 'ADD';
  const config = parseNetwork(raw);
  if (config.dataPlane.mode !== 'ipam' && hasPreviousResult(raw)) {
    throw new CniError(
      CNI_ERROR.INVALID_CONFIG,
      'INVALID_REQUEST',
      'prevResult is set: this plugin makes the interface that others build on; put it first in the list of plugins',
    );
  }
  const id = parseId(variables, command, config);
  const netns = parseNetns(variables, command);
  const annotations = readWith(annotated, raw).runtimeConfig?.[ANNOTATIONS_CAPABILITY];
  return { command, id, netns, config, pod: parsePod(variables, annotations) };
}

function parseDel(variables: Variables, raw: RawConfig): DelRequest {
  const config = parseNetworkLeniently(raw);
  const netns = findNetns(variables);
  return { command: 'DEL', id: parseId(variables, 'DEL', config), config, ...(netns === undefined ? {} : { netns }) };
}

function parseCheck(variables: Variables, raw: RawConfig, version: CniVersion): CheckRequest {
  const command = 'CHECK';
  const config = parseNetwork(raw);
  const id = parseId(variables, command, config);
  const netns = parseNetns(variables, command);
  return { command, id, netns, config, ...parseExpected(raw, version, id.ifname) };
}

function parseGc(raw: RawConfig): GcRequest {
  const { 'cni.dev/valid-attachments': valid } = readWith(validAttachments, raw);
  return {
    command: 'GC',
    config: parseNetworkLeniently(raw),
    valid: valid.map(({ containerID, ifname }) => ({ containerId: containerID, ifname })),
  };
}

function parseOf(command: CniCommand, variables: Variables, raw: RawConfig, version: CniVersion): CniRequest {
  switch (command) {
    case 'ADD':
      return parseAdd(variables, raw);
    case 'DEL':
      return parseDel(variables, raw);
    case 'CHECK':
      return parseCheck(variables, raw, version);
    case 'GC':
      return parseGc(raw);
    case 'STATUS':
      return { command, config: parseNetwork(raw) };
  }
}

/** Never throws for what came from outside: what cannot be read is refused with CNI's code for it. */
export function parseCall({ variables, stdin }: RawCall): ParsedCall {
  let asked: unknown;
  try {
    // The configuration first: its version is that of the answer, also when the answer is about a variable.
    const raw = decodeConfig(stdin);
    asked = raw['cniVersion'];
    const command = parseCommand(variables);
    const version = parseVersion(raw, command);
    return { outcome: 'request', version, request: parseOf(command, variables, raw, version) };
  } catch (error) {
    if (!(error instanceof CniError)) throw error;
    return { outcome: 'refused', version: versionForAnswer(asked), command: findCommand(variables), error };
  }
}
