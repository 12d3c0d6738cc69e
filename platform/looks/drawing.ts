/** What all pictures that are drawn here have in common. */
import { join } from 'node:path';
import { GlobalFonts } from '@napi-rs/canvas';
import { FarmError } from '../../protocol/errors.ts';
import { packageRoot } from '../package-root.ts';

/** Neutral and dark: any tint beside a picture shifts what the eye takes for grey in it. */
export const BACKGROUND = '#1e1e1e';
export const TITLE_COLOUR = '#e6e6e6';
export const LABEL_COLOUR = '#b4b4b4';
/** A name that is ours alone, so that no font of the machine is taken for it. */
export const FONT = 'Tessera Sheet';
const FONT_FILE = join('platform', 'looks', 'fonts', 'dejavu-sans-latin.ttf');

/** To be called before anything is written with {@link FONT}. */
export function requireFont(): void {
  if (GlobalFonts.has(FONT)) return;
  if (GlobalFonts.registerFromPath(join(packageRoot(), FONT_FILE), FONT) === null) {
    throw new FarmError('INTERNAL', `the font ${FONT_FILE} is missing: the installation is broken`);
  }
}
