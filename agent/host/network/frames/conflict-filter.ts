// A program for the kernel that lets a packet socket have only frames that may tell of a conflict about some addresses: on a
// busy link all others would fill its queue. Source: include/uapi/linux/filter.h, bpf_common.h. Pure.
import { ETHERNET_HEADER_BYTES, ETHERTYPE } from './ethernet.ts';

/** Loads into the accumulator, from an offset: four, two and one bytes. */
const LOAD = { word: 0x20, half: 0x28, byte: 0x30 } as const;
const AND = 0x54;
const JUMP_IF_EQUAL = 0x15;
const RETURN = 0x06;
/** Offsets from here on are not of the frame, but of what the kernel knows about it (SKF_AD_OFF). */
const KNOWN = 0xfffff000;
const PACKET_TYPE = KNOWN + 4;
const VLAN_TAG = KNOWN + 44;
const VLAN_ID_MASK = 0xfff;
/** include/uapi/linux/if_packet.h */
const PACKET_OUTGOING = 4;
const WHOLE_FRAME = 0xffff;

const TYPE_OFFSET = 12;
const ARP_ADDRESS_OFFSETS = [14, 24].map((offset) => ETHERNET_HEADER_BYTES + offset);
const NEXT_HEADER_OFFSET = ETHERNET_HEADER_BYTES + 6;
const ICMPV6_OFFSET = ETHERNET_HEADER_BYTES + 40;
/** The last four bytes of the target of a neighbour message: those behind look at all of it. */
const TARGET_OFFSET = ICMPV6_OFFSET + 20;

type Place = 'accept' | 'drop' | 'ipv6' | 'target';

interface Instruction {
  readonly code: number;
  readonly value: number;
  /** Where to go on when equal, and when not; absent: behind it. */
  readonly equal?: Place;
  readonly other?: Place;
}

const load = (code: number, value: number): Instruction => ({ code, value });
const ifEqual = (value: number, equal: Place): Instruction => ({ code: JUMP_IF_EQUAL, value, equal });
const unlessEqual = (value: number, other: Place): Instruction => ({ code: JUMP_IF_EQUAL, value, other });
/** Whatever is loaded, both ways lead there. */
const goTo = (place: Place): Instruction => ({ code: JUMP_IF_EQUAL, value: 0, equal: place, other: place });

function assemble(parts: ReadonlyMap<Place | 'start', readonly Instruction[]>): Buffer {
  const starts = new Map<string, number>();
  let count = 0;
  for (const [place, part] of parts) {
    starts.set(place, count);
    count += part.length;
  }
  const program = Buffer.alloc(count * 8);
  for (const [index, { code, value, equal, other }] of [...parts.values()].flat().entries()) {
    // Jumps are counted from the next instruction.
    const distance = (place: Place | undefined): number =>
      place === undefined ? 0 : (starts.get(place) ?? index + 1) - index - 1;
    program.writeUInt16LE(code, index * 8);
    program.writeUInt8(distance(equal), index * 8 + 2);
    program.writeUInt8(distance(other), index * 8 + 3);
    program.writeUInt32LE(value >>> 0, index * 8 + 4);
  }
  return program;
}

/**
 * Incoming ARP packets with one of the addresses as sender or target, and neighbour messages about one (as far as its last four
 * bytes tell). Frames of another VLAN are of another link. A frame that is too short is dropped by the kernel.
 * @param addresses - four or sixteen bytes each
 * @returns instructions for SO_ATTACH_FILTER
 */
export function conflictFilter(addresses: readonly Buffer[]): Buffer {
  const ipv4 = addresses.filter(({ length }) => length === 4).map((address) => address.readUInt32BE());
  const ipv6 = addresses.filter(({ length }) => length === 16).map((address) => address.readUInt32BE(12));
  return assemble(
    new Map<Place | 'start', readonly Instruction[]>([
      [
        'start',
        [
          load(LOAD.word, PACKET_TYPE),
          ifEqual(PACKET_OUTGOING, 'drop'),
          load(LOAD.word, VLAN_TAG),
          load(AND, VLAN_ID_MASK),
          unlessEqual(0, 'drop'),
          load(LOAD.half, TYPE_OFFSET),
          unlessEqual(ETHERTYPE.ARP, 'ipv6'),
          ...ARP_ADDRESS_OFFSETS.flatMap((offset) => [
            load(LOAD.word, offset),
            ...ipv4.map((address) => ifEqual(address, 'accept')),
          ]),
          goTo('drop'),
        ],
      ],
      [
        'ipv6',
        [
          unlessEqual(ETHERTYPE.IPV6, 'drop'),
          load(LOAD.byte, NEXT_HEADER_OFFSET),
          unlessEqual(58, 'drop'),
          load(LOAD.byte, ICMPV6_OFFSET),
          ifEqual(135, 'target'),
          unlessEqual(136, 'drop'),
        ],
      ],
      ['target', [load(LOAD.word, TARGET_OFFSET), ...ipv6.map((address) => ifEqual(address, 'accept')), goTo('drop')]],
      ['accept', [load(RETURN, WHOLE_FRAME)]],
      ['drop', [load(RETURN, 0)]],
    ]),
  );
}
