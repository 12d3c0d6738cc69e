/** Fresh ids: sorted by time, unguessable enough not to collide, plain letters and digits. */
import { randomBytes } from 'node:crypto';

/** 48 bits of milliseconds and 80 random bits, in base 36, fixed width. */
export function newIdBody(nowMs: number): string {
  const time = nowMs.toString(36).padStart(9, '0');
  const random = BigInt(`0x${randomBytes(10).toString('hex')}`)
    .toString(36)
    .padStart(16, '0');
  return time + random;
}
