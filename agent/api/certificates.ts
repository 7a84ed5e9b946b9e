// Certificates of the TCP server: read, and looked at as a whole before they are used. Files are replaced one after the
// other and not in one go, so that what is there for a moment may be half a file, or a key of another certificate.
import { createPrivateKey, createPublicKey, X509Certificate } from 'node:crypto';
import { constants, open } from 'node:fs/promises';
import { buffer } from 'node:stream/consumers';
import { describeError, HoldfastError } from '../../lib/errors.ts';

/** Paths of PEM files. */
export interface CertificatePaths {
  /** The server's certificate, with the intermediate ones behind it. */
  readonly certificate: string;
  readonly key: string;
  /** Authorities whose clients may connect. */
  readonly clientCa: string;
}

export interface Certificates {
  /** PEM. */
  readonly cert: string;
  readonly key: string;
  readonly ca: string;
  /** Of the server's own certificate. */
  readonly subject: string;
  readonly notBefore: Date;
  readonly notAfter: Date;
  /** What an administrator should know, though it can be used. */
  readonly remarks: readonly string[];
}

/** Larger than any bundle of authorities in use. */
const MOST_BYTES = 1024 * 1024;
const OTHERS = 0o007;

/**
 * Neither a path that is no file nor one without an end may hold the agent up, so that a FIFO is not waited for, and no
 * more is read than a file of certificates may have.
 */
async function readPem(path: string): Promise<{ readonly text: string; readonly mode: number }> {
  try {
    const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      const stats = await file.stat();
      if (!stats.isFile()) throw new HoldfastError('PRECONDITION', `${path} is not a regular file`);
      // One byte more than it may have; the size of a file that the kernel makes up says nothing.
      const bytes = await buffer(file.createReadStream({ start: 0, end: MOST_BYTES, autoClose: false }));
      if (bytes.length > MOST_BYTES) {
        throw new HoldfastError('PRECONDITION', `${path} has more than ${MOST_BYTES} bytes: it is no PEM file`);
      }
      return { text: bytes.toString('utf8'), mode: stats.mode };
    } finally {
      await file.close();
    }
  } catch (cause) {
    if (cause instanceof HoldfastError) throw cause;
    throw new HoldfastError('PRECONDITION', `${path} cannot be read`, { cause });
  }
}

/** @throws HoldfastError PRECONDITION for a file that was not yet written to its end, or is none */
function parseChain(path: string, text: string): readonly X509Certificate[] {
  const begun = text.split('-----BEGIN CERTIFICATE-----').length - 1;
  const blocks = text.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  if (blocks.length === 0 || blocks.length < begun) {
    const what = begun === 0 ? 'has no certificate in PEM form' : 'ends within a certificate';
    throw new HoldfastError('PRECONDITION', `${path} ${what}`);
  }
  try {
    return blocks.map((block) => new X509Certificate(block));
  } catch (cause) {
    throw new HoldfastError('PRECONDITION', `${path} has a certificate that cannot be read`, { cause });
  }
}

/**
 * Whether the three belong together and can be used. Pure.
 * @throws HoldfastError PRECONDITION naming the file and what is wrong with it; keys are never quoted
 */
export function checkCertificates(
  paths: CertificatePaths,
  { cert, key, ca }: Pick<Certificates, 'cert' | 'key' | 'ca'>,
): Omit<Certificates, 'cert' | 'key' | 'ca' | 'remarks'> {
  const [own] = parseChain(paths.certificate, cert);
  parseChain(paths.clientCa, ca);
  if (own === undefined) throw new HoldfastError('BUG', `${paths.certificate} was found to have certificates`);
  let privateKey: ReturnType<typeof createPrivateKey>;
  try {
    privateKey = createPrivateKey(key);
  } catch (cause) {
    throw new HoldfastError('PRECONDITION', `${paths.key} has no private key without a passphrase in PEM form`, {
      cause,
    });
  }
  const spki = { type: 'spki', format: 'der' } as const;
  if (!createPublicKey(privateKey).export(spki).equals(own.publicKey.export(spki))) {
    throw new HoldfastError('PRECONDITION', `the key ${paths.key} does not fit the certificate ${paths.certificate}`);
  }
  return {
    subject: own.subject.replaceAll('\n', ', '),
    notBefore: new Date(own.validFrom),
    notAfter: new Date(own.validTo),
  };
}

/** @throws HoldfastError PRECONDITION as {@link checkCertificates}, and for files that cannot be read */
export async function readCertificates(paths: CertificatePaths): Promise<Certificates> {
  try {
    // One after the other: on a mount that hangs, each holds one of the few threads that read files for all of the agent.
    const cert = await readPem(paths.certificate);
    const key = await readPem(paths.key);
    const ca = await readPem(paths.clientCa);
    const pem = { cert: cert.text, key: key.text, ca: ca.text };
    const isOpen = (key.mode & OTHERS) !== 0;
    const mode = (key.mode & 0o777).toString(8).padStart(4, '0');
    const remarks = isOpen ? [`the key ${paths.key} can be read by others (mode ${mode}): chmod 0600`] : [];
    return { ...pem, ...checkCertificates(paths, pem), remarks };
  } catch (error) {
    if (error instanceof HoldfastError) throw error;
    throw new HoldfastError('PRECONDITION', `the certificates cannot be used: ${describeError(error)}`, {
      cause: error,
    });
  }
}

type Period = Pick<Certificates, 'notBefore' | 'notAfter'>;

/** Whether a server would be believed with it at that time. */
export function isValid({ notBefore, notAfter }: Period, now: Date): boolean {
  return now >= notBefore && now <= notAfter;
}

/** What {@link isValid} says, for people. */
export function validity({ notBefore, notAfter }: Period, now: Date): string {
  if (now < notBefore) return `not valid before ${notBefore.toISOString()}`;
  if (now > notAfter) return `expired at ${notAfter.toISOString()}: clients refuse it`;
  return `valid until ${notAfter.toISOString()}`;
}

/**
 * Whether a server that is believed would no longer be with its next certificates. Pure.
 * @throws HoldfastError PRECONDITION saying why nobody would believe it
 */
export function requireSuccessor(used: Period, next: Period & Pick<Certificates, 'subject'>, now: Date): void {
  if (!isValid(used, now) || isValid(next, now)) return;
  throw new HoldfastError('PRECONDITION', `the new certificate ${next.subject}: ${validity(next, now)}`);
}
