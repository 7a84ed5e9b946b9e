// The grpc-message header: percent-encoded UTF-8 (gRPC over HTTP/2, "Status-Message").

/** Long texts are cut: header blocks have limits on both sides. */
const MAX_TEXT = 8 * 1024;

/** @param text - any text; what is outside printable ASCII, and `%`, is percent-encoded */
export function encodeStatusMessage(text: string): string {
  let encoded = '';
  for (const byte of Buffer.from(text.slice(0, MAX_TEXT), 'utf8')) {
    const plain = byte >= 0x20 && byte <= 0x7e && byte !== 0x25;
    encoded += plain ? String.fromCharCode(byte) : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  }
  return encoded;
}

/** @returns the text, or the header as it stands when its encoding is damaged */
export function decodeStatusMessage(header: string): string {
  try {
    return decodeURIComponent(header);
  } catch {
    return header;
  }
}
