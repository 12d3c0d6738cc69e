/** One way to call a farm's API: credential, timeouts, problem+json turned back into a FarmError. */
import { errorCodeOf, FarmError } from '../../protocol/errors.ts';
import { problemSchema } from '../../protocol/http.ts';

type FetchOptions = {
  method?: string;
  headers?: Record<string, string>;
  body?: RequestInit['body'];
  signal: AbortSignal;
  /** Statuses that are an answer, not an error. */
  allow?: number[];
};

/**
 * Fetches `path` from the farm. Throws the FarmError that the farm answered with, FARM_UNREACHABLE when nothing
 * answers, INTERRUPTED when `signal` aborted. Without a credential only what needs none answers.
 */
export async function farmFetch(
  farm: { apiUrl: string; credential?: string },
  path: string,
  options: FetchOptions,
): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(new URL(path, farm.apiUrl), {
      method: options.method ?? 'GET',
      headers: {
        ...options.headers,
        ...(farm.credential !== undefined && { authorization: `Bearer ${farm.credential}` }),
      },
      body: options.body,
      signal: options.signal,
      // Required by fetch for a body that is a stream.
      ...(options.body instanceof ReadableStream ? { duplex: 'half' } : {}),
    } as RequestInit);
  } catch (error) {
    if (options.signal.aborted)
      throw new FarmError('INTERRUPTED', 'stopped while talking to the farm', { cause: error });
    throw new FarmError('FARM_UNREACHABLE', `no farm answers at ${farm.apiUrl}`, { cause: error });
  }
  if (response.ok || options.allow?.includes(response.status)) return response;
  throw await problemOf(response);
}

async function problemOf(response: Response): Promise<FarmError> {
  const text = await response.text().catch(() => '');
  const parsed = problemSchema.safeParse(safeJson(text));
  if (!parsed.success)
    return new FarmError('INTERNAL', `the farm answered ${response.status}: ${text.slice(0, 200)}`);
  const { code, detail, kept, details } = parsed.data;
  return new FarmError(errorCodeOf(code), detail, { kept, details });
}

function safeJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
