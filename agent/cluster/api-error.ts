// What the API server says when it does not do what it was asked, and what that means for us.
import { z } from 'zod';
import { HoldfastError } from '../../lib/errors.ts';

/**
 * `expired`: the watch cannot go on from its version; it is forgotten (410), or what comes next cannot be read. `behind`: it is newer than the server's own state.
 * `credentials`: not accepted (401). `too-large`: more than is read at once.
 */
export type ApiErrorKind = 'expired' | 'behind' | 'credentials' | 'too-large' | 'other';

export class ApiError extends HoldfastError {
  readonly kind: ApiErrorKind;
  /** The server asks for this much patience, milliseconds. */
  readonly retryAfterMs: number | undefined;
  /** HTTP status; undefined when the server did not refuse. */
  readonly httpCode: number | undefined;
  /** Field managers that own what was to be applied (409). */
  readonly conflictingManagers: readonly string[];

  constructor(
    kind: ApiErrorKind,
    message: string,
    retryAfterMs?: number,
    refusal: { readonly httpCode?: number; readonly conflictingManagers?: readonly string[] } = {},
  ) {
    super('UNAVAILABLE', message);
    this.kind = kind;
    this.retryAfterMs = retryAfterMs;
    this.httpCode = refusal.httpCode;
    this.conflictingManagers = refusal.conflictingManagers ?? [];
  }
}

/** metav1.Status, the body of refusals and the object of ERROR events. */
const statusSchema = z.object({
  code: z.int().nullish(),
  reason: z.string().nullish(),
  message: z.string().nullish(),
  details: z
    .object({
      retryAfterSeconds: z.int().min(0).nullish(),
      causes: z.array(z.object({ reason: z.string().nullish(), message: z.string().nullish() })).nullish(),
    })
    .nullish(),
});

const MAX_MESSAGE = 300;

/** One line, bounded, nothing that could move a terminal's cursor. */
function clean(text: string): string {
  return text.slice(0, MAX_MESSAGE).replaceAll(/[\p{Cc}\s]+/gu, ' ');
}

/** What the pod source needs; other requests say what they need. */
const POD_RIGHTS = 'list and watch of pods on this node are needed; see docs/podsource.md';

function hintFor(code: number, rights: string): string {
  if (code === 401) return ' (the credentials are not accepted)';
  return code === 403 ? ` (${rights})` : '';
}

const MOST_MANAGERS = 5;

/** Of a server-side apply without force: who owns the fields with other values. */
function conflictingManagers({ details }: z.output<typeof statusSchema>): readonly string[] {
  const named = (details?.causes ?? [])
    .filter(({ reason }) => reason === 'FieldManagerConflict')
    .flatMap(({ message }) => /"([^"]{1,128})"/.exec(message ?? '')?.[1] ?? []);
  return [...new Set(named)].slice(0, MOST_MANAGERS).map(clean);
}

/**
 * @param httpCode - of the response; an ERROR event has it in its object
 * @param body - parsed JSON, or anything else
 * @param retryAfter - the header, in seconds
 * @param rights - which rights the request needs, for a refusal for the want of them
 */
export function apiErrorFrom(
  httpCode: number | undefined,
  body: unknown,
  retryAfter?: string,
  rights: string = POD_RIGHTS,
): ApiError {
  const parsed = statusSchema.safeParse(body);
  const status = parsed.success ? parsed.data : {};
  const code = httpCode ?? status.code ?? 0;
  const said = clean(status.message ?? '');
  const message = `the API server answers ${code}${said && `: ${said}`}${hintFor(code, rights)}`;
  const seconds = /^\d{1,6}$/.test(retryAfter ?? '') ? Number(retryAfter) : status.details?.retryAfterSeconds;
  const retryAfterMs = typeof seconds === 'number' ? seconds * 1000 : undefined;
  const refusal = { httpCode: code, conflictingManagers: conflictingManagers(status) };
  return new ApiError(kindOf(code, status), message, retryAfterMs, refusal);
}

function kindOf(code: number, { reason, message, details }: z.output<typeof statusSchema>): ApiErrorKind {
  if (code === 410 || reason === 'Expired' || reason === 'Gone') return 'expired';
  const isTooLarge = details?.causes?.some((cause) => cause.reason === 'ResourceVersionTooLarge') ?? false;
  // Servers before 1.20 give no cause.
  if (isTooLarge || (code === 504 && message?.startsWith('Too large resource version') === true)) return 'behind';
  return code === 401 ? 'credentials' : 'other';
}
