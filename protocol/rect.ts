/** A rectangle of pixels of a frame, in full-frame coordinates, x to the right, y down, origin at the top left. */
import { z } from 'zod';

/**
 * Blender itself stops at 65,536 pixels a side; more than that is a mistake or an attack, never a picture. The
 * sum of offset and size stays far below 2^32, so rectangles fit uint32 on chain.
 */
export const MAX_SIDE_PX = 65_536;

const coordinate = z.number().int().min(0).max(MAX_SIDE_PX);
const side = z.number().int().min(1).max(MAX_SIDE_PX);

export const rectSchema = z.strictObject({ x: coordinate, y: coordinate, width: side, height: side });
export type Rect = z.infer<typeof rectSchema>;

export const sizeSchema = z.strictObject({ width: side, height: side });
export type Size = z.infer<typeof sizeSchema>;
