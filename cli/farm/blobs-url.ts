/** TESSERA_BLOBS_URL: the bucket of a farm that has one. No option: it holds a key, which a process list would show. */
import { s3Place } from '../../platform/blobs/s3-blob-store.ts';
import { FarmError } from '../../protocol/errors.ts';

/** Undefined where nobody named one. Throws USAGE, without what was given. */
export function blobsUrl(environment: NodeJS.ProcessEnv): string | undefined {
  const text = environment['TESSERA_BLOBS_URL'];
  if (text === undefined || text === '') return undefined;
  if (s3Place(text) !== undefined) return text;
  throw new FarmError(
    'USAGE',
    'TESSERA_BLOBS_URL is no address such as https://KEY:SECRET@host/bucket?region=eu-west-1',
    { kept: 'nothing was started' },
  );
}
