/** Express, kept thin: bodies validated, errors as problem+json, credentials compared without leaking time. */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { ErrorRequestHandler, Request, RequestHandler, Response } from 'express';
import type { z } from 'zod';
import { ERRORS, FarmError, toFarmError } from '../../protocol/errors.ts';
import type { Problem } from '../../protocol/http.ts';
import { toJson } from '../json.ts';
import type { Log } from '../log.ts';

/** The body as the schema says, or MESSAGE_INVALID naming the field. */
export function parseBody<S extends z.ZodType>(schema: S, request: Request): z.output<S> {
  const parsed = schema.safeParse(request.body);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw new FarmError(
    'MESSAGE_INVALID',
    `${issue?.path.join('.') || 'the body'}: ${issue?.message ?? 'invalid'}`,
    {
      kept: 'nothing was changed',
    },
  );
}

/** A path parameter as the schema says; what is not of that form cannot exist, so it is NOT_FOUND. */
export function parseParameter<S extends z.ZodType>(schema: S, request: Request, name: string): z.output<S> {
  const parsed = schema.safeParse(request.params[name]);
  if (!parsed.success)
    throw new FarmError('NOT_FOUND', `there is no ${name} ${String(request.params[name])}`);
  return parsed.data;
}

export function sendJson(response: Response, value: unknown, status = 200): void {
  response.status(status).type('application/json').send(toJson(value));
}

/** Lets a request through when its bearer credential is one of these, or `isValid` says so. */
export function requireCredential(
  credentials: readonly string[],
  isValid: (credential: string) => boolean = () => false,
): RequestHandler {
  const wanted = credentials.map(hash);
  return (request, _response, next) => {
    const given = /^Bearer (.+)$/.exec(request.headers.authorization ?? '')?.[1] ?? '';
    const hashed = hash(given);
    if (wanted.some((one) => timingSafeEqual(one, hashed)) || isValid(given)) return next();
    next(new FarmError('UNAUTHORIZED', 'the credential is missing or not one of this farm'));
  };
}

/** The one place where errors become answers (RFC 9457). */
export function problemHandler(log: Log): ErrorRequestHandler {
  return (error: unknown, request, response, next) => {
    if (response.headersSent) return next(error);
    const failure = bodyParserError(error) ?? toFarmError(error);
    const row = ERRORS[failure.code];
    if (failure.code === 'INTERNAL')
      log.error({ err: error, method: request.method, path: request.path }, 'a request failed');
    const problem: Problem = {
      type: `urn:tessera:error:${failure.code.toLowerCase()}`,
      title: failure.code,
      status: row.httpStatus,
      // What an unexpected error says may be a path or a query: it goes to the log, not to the client.
      detail: failure.code === 'INTERNAL' ? 'the coordinator failed; its log says why' : failure.message,
      code: failure.code,
      help: row.help,
      ...(failure.kept === undefined ? {} : { kept: failure.kept }),
      ...(failure.details === undefined ? {} : { details: failure.details }),
    };
    response.status(row.httpStatus).type('application/problem+json').send(toJson(problem));
  };
}

/** Express' own errors of a request (its URL, its body) carry a 4xx status; they are the client's, not ours. */
function bodyParserError(error: unknown): FarmError | null {
  if (typeof error !== 'object' || error === null || error instanceof FarmError) return null;
  if (!('status' in error) || typeof error.status !== 'number' || error.status >= 500) return null;
  if (!('type' in error)) return new FarmError('MESSAGE_INVALID', 'the request cannot be read');
  if (error.type === 'entity.too.large')
    return new FarmError('TOO_LARGE', 'the body is larger than this request may be');
  if (error.type === 'entity.parse.failed') return new FarmError('MESSAGE_INVALID', 'the body is not JSON');
  return new FarmError('MESSAGE_INVALID', 'the request cannot be read');
}

function hash(value: string): Buffer {
  return createHash('sha256').update(value).digest();
}
