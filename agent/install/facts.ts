// What a host is like before a plan is made for it.
import type { HostPath } from '../host/host-files.ts';
import type { CniFacts } from './cni-facts.ts';
import type { KubeletFacts } from './kubelet-facts.ts';
import type { Manifest } from './manifest.ts';

export interface ServiceFacts {
  /** ActiveState of systemd: `active`, `activating`, `inactive`, `failed`, … */
  readonly state: string;
  /** The folder of the program that its process runs, as far as that can be seen. */
  readonly program: string | undefined;
}

export interface InstallFacts {
  /** Below a root directory nothing runs, and no service is started. */
  readonly isLive: boolean;
  /** What is at the paths of ours, by path; absent where there is nothing. */
  readonly paths: ReadonlyMap<string, HostPath>;
  /** Folders of programs of ours, by name, in /opt/holdfast. */
  readonly programs: readonly string[];
  /** Copies in /opt/holdfast that were cut short, by name. */
  readonly unfinished: readonly string[];
  /** What else is in /opt/holdfast, by name: not ours to remove. */
  readonly foreign: readonly string[];
  readonly manifest: Manifest | undefined;
  /** Texts of systemd/ by file name, of the programs that are or were in use, by folder. */
  readonly units: ReadonlyMap<string, ReadonlyMap<string, string>>;
  readonly hasGroup: boolean;
  readonly kubelet: KubeletFacts | undefined;
  readonly cni: CniFacts;
  /** `runtime.endpoint` of the configuration; undefined when there is no configuration. */
  readonly configuredRuntime: string | undefined;
  /** By unit. */
  readonly services: ReadonlyMap<string, ServiceFacts>;
}

/** It serves. */
export function isActive(service: ServiceFacts | undefined): boolean {
  return service?.state === 'active' || service?.state === 'reloading';
}

/** It neither runs nor is about to: a service that ends again and again is `activating` between its starts. */
export function isStopped(service: ServiceFacts | undefined): boolean {
  return service === undefined || service.state === 'inactive' || service.state === 'failed';
}

/** Something of an installation is there. */
export function isInstalled({ paths, programs, manifest }: InstallFacts): boolean {
  return manifest !== undefined || programs.length > 0 || paths.size > 0;
}
