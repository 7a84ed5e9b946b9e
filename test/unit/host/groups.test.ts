// Group numbers from group(5) files.
import t from 'tap';
import { groupId, parseGroupId } from '../../../agent/host/groups.ts';

const FILE = 'root:x:0:\nholdfast:x:998:alice,bob\nbroken\nalso:x:not-a-number:\n';

t.test('a group is found by its whole name', async (t) => {
  t.equal(parseGroupId(FILE, 'holdfast'), 998);
  t.equal(parseGroupId(FILE, 'root'), 0);
  t.equal(parseGroupId(FILE, 'hold'), undefined);
  t.equal(parseGroupId(FILE, 'broken'), undefined);
  t.equal(parseGroupId(FILE, 'also'), undefined);
});

t.test('a host without the file has no groups', async (t) => {
  t.equal(await groupId('root', '/nonexistent/group'), undefined);
});
