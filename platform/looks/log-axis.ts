/** An axis over many powers of ten that has a place for nothing at all. Pure. */

export type LogAxis = {
  title: string;
  /** Powers of ten at its ends; what is smaller than the first is drawn as nothing. */
  from: number;
  to: number;
  /** How a power of ten is written; nothing has a label of its own. */
  label: (value: number) => string;
};

/** Room for nothing, as a share of the whole: as wide as the label of the first power. */
const NOTHING_SHARE = 0.12;
/** Further from the first power than from the edge, so that the two labels have room. */
const NOTHING_AT = NOTHING_SHARE / 3;

/** Where a value belongs, 0 to 1: in the room for nothing, or by its logarithm. */
export function positionOn({ from, to }: Pick<LogAxis, 'from' | 'to'>, value: number): number {
  const exponent = Math.log10(value);
  if (!(exponent >= from)) return NOTHING_AT;
  return NOTHING_SHARE + (1 - NOTHING_SHARE) * Math.min(1, (exponent - from) / (to - from));
}

/** Nothing, and every power of ten. */
export function ticksOf(axis: LogAxis): { at: number; label: string }[] {
  // As written, since 10 ** -5 is a little less than 0.00001.
  const powers = Array.from({ length: axis.to - axis.from + 1 }, (_, index) =>
    Number(`1e${axis.from + index}`),
  );
  return [
    { at: positionOn(axis, 0), label: '0' },
    ...powers.map((power) => ({ at: positionOn(axis, power), label: axis.label(power) })),
  ];
}
