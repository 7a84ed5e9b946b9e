// Can schedulers on other hosts read the topology, and will they believe the certificate? Pure.
import { type Certificates, validity } from '../../api/certificates.ts';
import type { ListenAddress } from '../../config/fields.ts';
import type { Finding } from './check.ts';
import type { Answer } from './services.ts';

export interface TopologyApiFacts {
  /** Where it is to be served over TCP; undefined for nowhere. */
  readonly address: Answer<ListenAddress | undefined>;
  /** What its files say; undefined where none are configured. */
  readonly certificates: Answer<Certificates> | undefined;
  readonly now: Date;
}

const subject = 'topology api';
/** Long enough before the end that somebody can still do something about it. */
const SOON_MS = 7 * 24 * 3_600_000;

function checkValidity(certificates: Certificates, now: Date): Finding {
  const { notBefore, notAfter, subject: name } = certificates;
  const text = `the certificate of ${name} is ${validity(certificates, now)}`;
  const left = notAfter.getTime() - now.getTime();
  if (now >= notBefore && left > SOON_MS) return { level: 'ok', subject, text };
  const remedy = 'put another certificate and its key in place: the agent takes them within seconds, without a restart';
  return { level: 'warning', subject, text, remedy };
}

export function checkTopologyApi({ address, certificates, now }: TopologyApiFacts): readonly Finding[] {
  if ('problem' in address) {
    const remedy = 'set topologyApi.tls, or an address of this host alone; docs/topology.md shows both';
    return [{ level: 'failed', subject, text: `not served over TCP: ${address.problem}`, remedy }];
  }
  const { value } = address;
  if (value === undefined) return [{ level: 'ok', subject, text: 'on its unix socket alone' }];
  const where = `${value.host} port ${value.port}`;
  if (certificates === undefined) return [{ level: 'ok', subject, text: `${where}, for this host alone` }];
  if ('problem' in certificates) {
    return [
      {
        level: 'failed',
        subject,
        text: `${certificates.problem}; an agent that was started with others goes on with those, one that starts now does not serve ${where}`,
        remedy: 'put the files of topologyApi.tls in place: a PEM certificate, its key, and the authorities of clients',
      },
    ];
  }
  return [
    checkValidity(certificates.value, now),
    ...certificates.value.remarks.map((text): Finding => ({ level: 'warning', subject, text })),
  ];
}
