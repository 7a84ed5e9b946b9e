// How Kubernetes calls the resources of a NUMA node.
import { formatQuantity } from '../model/parse-quantity.ts';
import { bytes } from '../model/quantity.ts';

/**
 * The name of huge pages of one size: `hugepages-2Mi`.
 * Source: k8s.io/api core/v1, ResourceHugePagesPrefix.
 */
export function hugepagesName(pageSizeBytes: bigint): string {
  return `hugepages-${formatQuantity(bytes(Number(pageSizeBytes)))}`;
}
