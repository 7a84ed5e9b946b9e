import t from 'tap';
import { listenerReport } from '../../../../../agent/host/network/frames/multicast-listener.ts';
import { ipBytes } from '../../../../../agent/host/network/ip-bytes.ts';

/** What Linux 6.18 said when an interface got these two addresses. */
const OF_LINUX =
  '3333000000160a580a4d000b86dd600000000038000100000000000000000000000000000000ff0200000000000000000000000000163a000502000001008f006d0d0000000204000000ff0200000000000000000001ff4d000b04000000ff0200000000000000000001ff00000b';

t.test('a report is the kernel’s own', async (t) => {
  const addresses = ['fe80::858:aff:fe4d:b', 'fd77::b'].map((text) => ipBytes(text) ?? Buffer.alloc(0));
  t.equal(listenerReport(addresses, Buffer.from('0a580a4d000b', 'hex')).toString('hex'), OF_LINUX);
});
