/** Which of Cycles' CPU kernels runs here. Kernels differ in the last bits, so each is a device class of its own. */

/** Kernels from best to worst, with the CPU flags they need. Blender 4 dropped the ones in between. */
const KERNELS = [
  { name: 'avx2', flags: ['avx2', 'fma', 'f16c', 'bmi1', 'bmi2'], until: Number.POSITIVE_INFINITY },
  { name: 'avx', flags: ['avx'], until: 4 },
  { name: 'sse42', flags: ['sse4_2'], until: Number.POSITIVE_INFINITY },
  { name: 'sse41', flags: ['sse4_1'], until: 4 },
] as const;

/**
 * The device class of a CPU, from the text of /proc/cpuinfo.
 * `withoutAvx2` says that Cycles is told so (CYCLES_CPU_NO_AVX2).
 */
export function cpuDeviceClass(cpuInfo: string, blenderVersion: string, withoutAvx2 = false): string {
  const major = Number.parseInt(blenderVersion, 10);
  const line = /^flags\s*:\s*(.*)$/m.exec(cpuInfo)?.[1];
  if (line === undefined) return /^Features\s*:.*\basimd\b/m.test(cpuInfo) ? 'cpu-neon' : 'cpu-generic';
  const flags = new Set(line.split(/\s+/));
  const kernel = KERNELS.find(
    ({ name, flags: needed, until }) =>
      !(withoutAvx2 && name === 'avx2') && major < until && needed.every((flag) => flags.has(flag)),
  );
  return `cpu-${kernel?.name ?? 'sse2'}`;
}
