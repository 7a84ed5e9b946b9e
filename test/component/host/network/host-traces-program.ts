// Looks for what pods' networks leave in the network namespace that it is started in, after removing it if its argument says
// so; prints it as JSON.
import { lookAtHostTraces, removeHostTraces } from '../../../../agent/host/network/host-traces.ts';
import { isHostName } from '../../../../agent/network/plan-link.ts';

const { signal } = new AbortController();
if (process.argv[2] === 'remove') await removeHostTraces(signal);
process.stdout.write(JSON.stringify(await lookAtHostTraces(isHostName, signal)));
