// Compressed messages: gzip is what every gRPC library has; nothing else is read.
import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import { HoldfastError } from '../../lib/errors.ts';
import { MAX_MESSAGE_BYTES } from '../../lib/grpc.ts';
import type { UnaryMessage } from './frame.ts';

const gunzipAsync = promisify(gunzip);

/**
 * The message itself.
 * @param encoding - the header grpc-encoding of its side
 * @throws HoldfastError UNSUPPORTED for compressions other than gzip, INVALID_REQUEST when it cannot be decompressed
 */
export async function decompress({ compressed, bytes }: UnaryMessage, encoding: string | undefined): Promise<Buffer> {
  if (!compressed) return bytes;
  if (encoding !== 'gzip') {
    throw new HoldfastError('UNSUPPORTED', `the message is compressed with "${encoding ?? ''}"; use gzip or nothing`);
  }
  try {
    return await gunzipAsync(bytes, { maxOutputLength: MAX_MESSAGE_BYTES });
  } catch (cause) {
    throw new HoldfastError('INVALID_REQUEST', 'the message cannot be decompressed', { cause });
  }
}
