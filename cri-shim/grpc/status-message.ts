// The grpc-message header: percent-encoded UTF-8 (gRPC over HTTP/2, "Status-Message").

/** Long texts are cut: header blocks have limits on both sides. */
const MAX_TEXT = 8 * 1024;

/**
 * @param text - any text; what is outside printable ASCII, and `%`, is percent-encoded, and so are spaces at the ends: HTTP/2
 *   knows no header that begins or ends with one (RFC 9113, section 8.2.1), and the message would be lost
 */
export function encodeStatusMessage(text: string): string {
  let encoded = '';
  const bytes = Buffer.from(text.slice(0, MAX_TEXT), 'utf8');
  for (const [index, byte] of bytes.entries()) {
    const isAtEnd = index === 0 || index === bytes.length - 1;
    const plain = byte > (isAtEnd ? 0x20 : 0x1f) && byte <= 0x7e && byte !== 0x25;
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
