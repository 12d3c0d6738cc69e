/** What nvidia-smi says of the cards, matched with what Blender calls them, and the device class of each. Pure. */
import type { BoundDevice, ReportedDevice } from '../device-choice.ts';

/** One card, as the driver knows it. */
export type Card = {
  /** The driver's own name of it; numbers move when a card is added. */
  uuid: string;
  /** Domain, bus and device as Blender writes them: `0000:01:00`. */
  pci: string;
  /** For example `8.9`; null where this driver does not say. */
  computeCapability: string | null;
  name: string;
};

/** The name comes last: it is the only one of them that may hold a comma. */
export const CARD_FIELDS = 'uuid,pci.bus_id,compute_cap,name';

const UUID = /^GPU-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
/** nvidia-smi writes 00000000:01:00.0, Blender 0000:01:00 and for OptiX 0000:01:00_OptiX. */
const PCI = /(?:^|_)([0-9a-f]{4,8}):([0-9a-f]{2}):([0-9a-f]{2})(?:\.[0-9a-f])?(?:_OptiX)?$/i;

/** The place of a card on the bus, in one notation; null where the text does not end with one. */
export function pciOf(text: string): string | null {
  const [, domain, bus, device] = PCI.exec(text) ?? [];
  if (domain === undefined || bus === undefined || device === undefined) return null;
  return `${domain.slice(-4)}:${bus}:${device}`.toLowerCase();
}

/** The answer to `nvidia-smi --query-gpu=CARD_FIELDS --format=csv,noheader`. A line that says something else is left out. */
export function readCards(csv: string): Card[] {
  const cards: Card[] = [];
  for (const line of csv.split('\n')) {
    const [uuid = '', bus = '', capability = '', ...name] = line.split(',').map((field) => field.trim());
    const pci = pciOf(bus);
    if (!UUID.test(uuid) || pci === null) continue;
    const computeCapability = /^\d{1,2}\.\d$/.test(capability) ? capability : null;
    cards.push({ uuid, pci, computeCapability, name: name.join(', ') });
  }
  return cards;
}

/** As long as a class may be in a receipt (protocol/receipt.ts). */
const MAX_CLASS = 64;

/**
 * `optix-sm89`, from the compute capability. Where only the name of the card is known the class says so,
 * `hip-named-radeon-rx-7900-xtx`: two cards of one name are taken for the same, and nothing else is.
 */
export function gpuDeviceClass(device: ReportedDevice, card: Card | undefined): string {
  const kind = device.type.toLowerCase();
  const capability = card?.computeCapability;
  if (capability !== undefined && capability !== null) return `${kind}-sm${capability.replace('.', '')}`;
  const words = device.name.toLowerCase().match(/[a-z0-9]+/g) ?? ['unknown'];
  return `${kind}-named-${words.join('-')}`.slice(0, MAX_CLASS);
}

/** A device that Blender reports, with the card behind it: by its place on the bus, never by its name. */
export function bindDevice(device: ReportedDevice, cards: readonly Card[]): BoundDevice {
  const pci = pciOf(device.id);
  const card = cards.find((one) => one.pci === pci);
  return {
    ...device,
    uuid: card?.uuid ?? null,
    // The same card is listed once per type that can drive it; it renders one thing at a time all the same.
    card: card?.uuid ?? pci ?? device.id,
    deviceClass: gpuDeviceClass(device, card),
  };
}
