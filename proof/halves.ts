/** A reference that was rendered as two halves of its samples. */
import { FarmError } from '../protocol/errors.ts';
import { checkImage, type PixelImage } from './pixel-format.ts';

/**
 * The picture of all samples, from two renders of half of them each: value by value their mean. `noiseVarianceOfHalves`
 * tells how far it is from the picture without noise.
 * @throws FarmError MESSAGE_INVALID when an image is malformed, or the two differ in size or channels.
 */
export function meanOfHalves(first: PixelImage, second: PixelImage): PixelImage {
  checkImage(first);
  checkImage(second);
  const { width, height, channels } = first;
  if (
    second.width !== width ||
    second.height !== height ||
    second.channels.join('\n') !== channels.join('\n')
  ) {
    throw new FarmError(
      'MESSAGE_INVALID',
      'pixels: two halves of one picture have one size and one set of channels',
    );
  }
  const data = new Float32Array(first.data.length);
  // In doubles: the sum of two large floats may be no float any more.
  for (let i = 0; i < data.length; i++)
    data[i] = ((first.data[i] as number) + (second.data[i] as number)) / 2;
  return { width, height, channels, data };
}
