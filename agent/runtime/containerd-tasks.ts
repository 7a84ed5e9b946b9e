// From container IDs to processes, by containerd's tasks: one cheap call for the whole host.
import { create } from '@bufbuild/protobuf';
import {
  GetRequestSchema,
  ListTasksRequestSchema,
  type Process,
  Status,
  Tasks,
} from '../../proto/gen/wire/containerd/tasks/v1/tasks_pb.ts';
import { type ContainerId, containerId } from '../model/ids.ts';
import { unlessMissing } from './connection.ts';
import type { ContainerdCall } from './containerd-api.ts';

/** A paused task's process is there too, and has its cgroup. */
function isAlive({ status, pid }: Process): boolean {
  return pid > 0 && (status === Status.RUNNING || status === Status.PAUSED || status === Status.PAUSING);
}

export async function taskPid(call: ContainerdCall, id: ContainerId, signal: AbortSignal): Promise<number | undefined> {
  const answer = await unlessMissing(call(Tasks.method.get, create(GetRequestSchema, { containerId: id }), signal));
  return answer?.process !== undefined && isAlive(answer.process) ? answer.process.pid : undefined;
}

/** The pause processes of sandboxes are among them, under the sandbox's ID: containerd does not tell them apart. */
export async function taskPids(call: ContainerdCall, signal: AbortSignal): Promise<ReadonlyMap<ContainerId, number>> {
  const { tasks } = await call(Tasks.method.list, create(ListTasksRequestSchema), signal);
  return new Map(tasks.filter(isAlive).map(({ id, pid }) => [containerId(id), pid]));
}
