// `npm run bench -- cri|cpuset|reuse|topology|cni|ipam`: each measures both sides in one run and prints a table. Not part of the
// tests: a time depends on the machine, so none is ever asserted.
import os from 'node:os';

const BENCHES: Readonly<Record<string, () => Promise<{ readonly run: () => Promise<void> }>>> = {
  cri: () => import('./cri.ts'),
  cpuset: () => import('./cpuset.ts'),
  reuse: () => import('./reuse.ts'),
  topology: () => import('./topology.ts'),
  cni: () => import('./cni.ts'),
  ipam: () => import('./ipam.ts'),
};

const asked = process.argv.slice(2);
const unknown = asked.filter((name) => !Object.hasOwn(BENCHES, name));
if (unknown.length > 0) {
  process.stderr.write(`bench: there is no ${unknown.join(', ')}; there are ${Object.keys(BENCHES).join(', ')}\n`);
  process.exitCode = 2;
} else {
  const cpus = os.cpus();
  process.stdout.write(
    `${cpus.length} × ${cpus[0]?.model ?? 'unknown CPU'}, ${Math.round(os.totalmem() / 2 ** 30)} GiB, Linux ${os.release()}, Node ${process.versions.node}\n`,
  );
  for (const name of asked.length === 0 ? Object.keys(BENCHES) : asked) {
    process.stdout.write(`\n## ${name}\n\n`);
    const bench = await BENCHES[name]?.();
    await bench?.run();
  }
}
