// HTTP/2 frames of our own making, for what no library sends.

export const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
export const FRAME = { DATA: 0, HEADERS: 1, RST_STREAM: 3, SETTINGS: 4, GOAWAY: 7, WINDOW_UPDATE: 8 } as const;
export const FLAG = { END_STREAM: 1, END_HEADERS: 4 } as const;

export type HeaderList = readonly (readonly [string, string])[];

export function rawFrame(type: number, flags: number, stream: number, payload: Uint8Array = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** A header block on stream 1, as HPACK literals without indexing; names and values up to 126 bytes. */
export function rawHeaders(headers: HeaderList, flags: number): Buffer {
  const literal = (text: string): Buffer[] => [Buffer.from([Buffer.byteLength(text)]), Buffer.from(text)];
  const fields = headers.flatMap(([name, value]) => [Buffer.from([0]), ...literal(name), ...literal(value)]);
  return rawFrame(FRAME.HEADERS, flags, 1, Buffer.concat(fields));
}
