import { create } from '@bufbuild/protobuf';
import t from 'tap';
import { formatLayers, parseLayerArgument } from '../../../agent/cli/reuse.ts';
import { LayerSchema } from '../../../proto/gen/holdfast/admin/v1/admin_pb.ts';

t.test('POD/CONTAINER, by name or by UID', async (t) => {
  t.strictSame(parseLayerArgument('web-0/app', 'shop'), { pod: 'shop/web-0', container: 'app' });
  const uid = '0b0e0c1d-1111-4222-8333-444455556666';
  t.strictSame(parseLayerArgument(`${uid}/app`, 'shop'), { pod: uid, container: 'app' });
  const staticUid = '0123456789abcdef0123456789abcdef';
  t.strictSame(parseLayerArgument(`${staticUid}/app`, 'shop'), { pod: staticUid, container: 'app' });
  for (const text of ['', 'web-0', '/app', 'web-0/', 'a/b/c']) {
    t.throws(() => parseLayerArgument(text, 'shop'), { code: 'commander.invalidArgument' }, text);
  }
});

t.test('the listing', async (t) => {
  t.match(formatLayers([], 0), /No container/);
  const now = 1_000_000_000;
  const fields = {
    namespace: 'shop',
    pod: 'web-0',
    container: 'app',
    state: 'attached',
    image: 'web:1',
    sizeBytes: 1536n,
    measuredAtMs: 1n,
    createdAtMs: BigInt(now - 90_000),
    handovers: 3,
  };
  const attached = create(LayerSchema, fields);
  const kept = create(LayerSchema, {
    ...fields,
    state: 'kept',
    measuredAtMs: 0n,
    createdAtMs: BigInt(now - 3 * 86_400_000),
    keptSinceMs: BigInt(now - 3 * 3_600_000),
  });
  t.equal(
    formatLayers([attached, kept], now),
    `NAMESPACE  POD    CONTAINER  STATE     SIZE     AGE  KEPT  RESTARTS  IMAGE
shop       web-0  app        attached  1.5 KiB  90s  -     3         web:1
shop       web-0  app        kept      ?        3d   3h    3         web:1
`,
  );
});
