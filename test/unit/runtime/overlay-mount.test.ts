import t from 'tap';
import { upperdirOfMounts } from '../../../agent/runtime/overlay-mount.ts';

const overlay = (...options: readonly string[]) => ({ type: 'overlay', options });

t.test('the upperdir of an overlay mount as containerd answers it', async (t) => {
  const mount = overlay('index=off', 'workdir=/s/3/work', 'upperdir=/s/3/fs', 'lowerdir=/s/2/fs:/s/1/fs');
  t.equal(upperdirOfMounts([mount]), '/s/3/fs');
});

t.test('what we cannot move is not offered', async (t) => {
  t.equal(upperdirOfMounts([]), undefined, 'no mount');
  t.equal(upperdirOfMounts([{ type: 'bind', options: ['rbind', 'rw'] }]), undefined, 'an image without layers');
  t.equal(upperdirOfMounts([overlay('lowerdir=/s/2/fs:/s/1/fs')]), undefined, 'a read-only view');
  t.equal(upperdirOfMounts([overlay('upperdir=/s/3/fs'), overlay('upperdir=/s/4/fs')]), undefined, 'two mounts');
  t.equal(upperdirOfMounts([overlay('index=on', 'upperdir=/s/3/fs')]), undefined, 'an indexed overlay');
  t.equal(upperdirOfMounts([overlay('nfs_export=on', 'upperdir=/s/3/fs')]), undefined, 'an exported overlay');
  t.equal(upperdirOfMounts([overlay('upperdir=s/3/fs')]), undefined, 'a relative path');
  t.equal(upperdirOfMounts([overlay('upperdir=/s/../etc')]), undefined, 'a path that climbs');
});
