// What pods' networks leave in the kernel: found, and removed without touching what is beside it, in a namespace of its own.
import { fileURLToPath } from 'node:url';
import t from 'tap';
import type { HostTraces } from '../../../../agent/host/network/host-traces.ts';
import { makeNamespace, NO_NFT, type TestNamespace } from '../../../support/network-namespaces.ts';

const PROGRAM = fileURLToPath(new URL('host-traces-program.ts', import.meta.url));

/** The namespace is the process's own there, as the host's is uninstall's. */
async function inside(namespace: TestNamespace, what: 'look' | 'remove'): Promise<HostTraces> {
  const text = await namespace.run(process.execPath, '--import=tsx', PROGRAM, what);
  return JSON.parse(text) as HostTraces;
}

t.test('what is ours is found and removed, and nothing else', { skip: NO_NFT }, async (t) => {
  const host = await makeNamespace(t, 'traces');
  t.strictSame(await inside(host, 'look'), { podInterfaces: 0, hasTable: false, rules: 0 });
  t.strictSame(await inside(host, 'remove'), { podInterfaces: 0, hasTable: false, rules: 0 }, 'of nothing');

  await host.ip('link add hf0123456789abc type veth peer name eth7');
  await host.ip('link add hfmine type veth peer name eth8');
  await host.ip('link set hf0123456789abc up');
  await host.ip('link set eth7 up');
  for (const [family, address, other] of [
    [4, '10.88.7.5/32', '10.9.0.0/16'],
    [6, 'fd00:88::5/128', 'fd00:9::/64'],
  ] as const) {
    await host.ip(`-${family} rule add priority 27720 table 2772 protocol 72`);
    await host.ip(`-${family} rule add priority 27720 table 100 protocol 72`);
    await host.ip(`-${family} route add ${address} dev hf0123456789abc table 2772 protocol 72`);
    await host.ip(`-${family} route add ${other} dev hf0123456789abc table 2772 protocol static`);
  }
  await host.run('nft', 'add', 'table', 'inet', 'holdfast');
  await host.run('nft', 'add', 'table', 'inet', 'holdfast-not');
  t.strictSame(await inside(host, 'look'), { podInterfaces: 1, hasTable: true, rules: 4 });

  const left = await inside(host, 'remove');
  t.strictSame(left, { podInterfaces: 1, hasTable: false, rules: 0 });
  t.equal((await host.run('nft', 'list', 'tables')).trim(), 'table inet holdfast-not');
  for (const family of [4, 6]) {
    t.match(await host.ip(`-${family} rule show priority 27720`), /^27720:\s+from all lookup 100\b[^\n]*\s*$/);
    const routes = await host.ip(`-${family} route show table 2772`);
    t.match(routes, /10\.9\.0\.0\/16|fd00:9::\/64/, "somebody else's route");
    t.notMatch(routes, /88/);
  }
});
