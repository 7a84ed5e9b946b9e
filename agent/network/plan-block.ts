// Which places of a block are free, and what the block becomes when one is taken or given back. Pure.
import { type PoolSubnet, usableOffsets } from './pool.ts';
import type { BlockRecord } from './records.ts';

const bitOf = (offset: number): bigint => 1n << BigInt(offset);
const takenOf = (block: BlockRecord | undefined): bigint => BigInt(`0x${block?.taken ?? '0'}`);

/** Places that may be granted to anybody, and those that are left alone for a while after they were given back. */
export interface Room {
  readonly free: readonly number[];
  readonly cooling: readonly number[];
}

/** @param record - undefined: nothing of the block was ever granted */
export function roomIn(pool: PoolSubnet, block: bigint, record: BlockRecord | undefined, now: number): Room {
  const taken = takenOf(record);
  const room = usableOffsets(pool, block).filter((offset) => (taken & bitOf(offset)) === 0n);
  const isCooling = (offset: number): boolean => (record?.cooling[offset] ?? 0) > now;
  return { free: room.filter((offset) => !isCooling(offset)), cooling: room.filter(isCooling) };
}

const EMPTY: BlockRecord = { taken: '0', cooling: {} };

function stillCooling({ cooling }: BlockRecord, now: number, except: number): BlockRecord['cooling'] {
  return Object.fromEntries(
    Object.entries(cooling).filter(([offset, until]) => until > now && Number(offset) !== except),
  );
}

/** The block once the place is somebody's. */
export function withTaken(block: BlockRecord = EMPTY, offset: number, now: number): BlockRecord {
  return { taken: (takenOf(block) | bitOf(offset)).toString(16), cooling: stillCooling(block, now, offset) };
}

/** The block once the place is nobody's; @param until - when it may be granted again (milliseconds since the epoch) */
export function withFreed(block: BlockRecord = EMPTY, offset: number, until: number, now: number): BlockRecord {
  const cooling = stillCooling(block, now, offset);
  return {
    taken: (takenOf(block) & ~bitOf(offset)).toString(16),
    cooling: until > now ? { ...cooling, [offset]: until } : cooling,
  };
}

export function isTaken(block: BlockRecord | undefined, offset: number): boolean {
  return (takenOf(block) & bitOf(offset)) !== 0n;
}
