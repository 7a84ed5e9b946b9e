// The store for tests keeps the promises of the real one.
import t from 'tap';
import { MemoryStore } from '../../../agent/state/memory-store.ts';
import { storeContract } from '../../support/store-contract.ts';

storeContract(t, async () => new MemoryStore());
