// Does Holdfast learn from the API server what CRI does not say, and if not, could it? Pure.
import type { ApiProbe } from '../../cluster/probe-api.ts';
import type { Finding } from './check.ts';
import type { Answer } from './services.ts';

export interface PodSourceFacts {
  readonly nodeName: string;
  /** What the API server said; undefined where the configuration wants nothing of it. */
  readonly api: Answer<ApiProbe> | undefined;
  /** The kubelet's own kubeconfig; undefined where there is no kubelet, or none with an API server. */
  readonly kubeletKubeconfig: string | undefined;
}

const subject = 'pod source';

function checkAnswer({ api, nodeName }: PodSourceFacts & { readonly api: Answer<ApiProbe> }): Finding {
  if ('problem' in api) {
    return {
      level: 'warning',
      subject,
      text: `the API server tells nothing: ${api.problem}; deleted pods keep what they hold until their sandbox is gone`,
      remedy: 'docs/podsource.md says which rights are needed and how to get a kubeconfig for them',
    };
  }
  const { server, pods } = api.value;
  if (pods > 0) return { level: 'ok', subject, text: `${server} names pods of node ${nodeName}: ${pods}` };
  return {
    level: 'warning',
    subject,
    text: `${server} names no pod of node ${nodeName}: the node has none, or this is not its name`,
    remedy: 'compare with kubectl get nodes; set nodeName in the configuration where it differs',
  };
}

export function checkPodSource(facts: PodSourceFacts): readonly Finding[] {
  const { api, kubeletKubeconfig } = facts;
  if (api !== undefined) return [checkAnswer({ ...facts, api })];
  if (kubeletKubeconfig === undefined) {
    return [{ level: 'ok', subject, text: 'no API server is asked, and no kubelet here knows one' }];
  }
  return [
    {
      level: 'warning',
      subject,
      text:
        'no API server is asked: init containers and memory requests are unknown, and deleted pods keep what they hold ' +
        'until their sandbox is gone for holdings.gracePeriod',
      remedy:
        `set podSource.api: kubelet in the configuration, which uses the kubelet's own credentials (${kubeletKubeconfig}), ` +
        'or give Holdfast a kubeconfig of its own: docs/podsource.md',
    },
  ];
}
