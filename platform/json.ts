/** JSON as it travels: money is bigint in the program and a decimal string on the wire. */

export function toJson(value: unknown): string {
  return JSON.stringify(value, (_key, item: unknown) => (typeof item === 'bigint' ? item.toString() : item));
}
