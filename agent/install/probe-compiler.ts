// Whether the host's compiler compiles the CNI plugin's launcher, asked only where the plan depends on it.
import { findCompiler, type Linking } from '../host/compile-launcher.ts';
import type { InstallFacts } from './facts.ts';
import { type CniOptions, needsCompiler } from './plan-cni.ts';
import { LAUNCHER_SOURCE } from './read-program.ts';

/** What is placed in an image runs with the image's C library: there it must not need any. */
const FOR_IMAGES: readonly Linking[] = ['static-pie', 'static'];
const FOR_THIS_MACHINE: readonly Linking[] = [...FOR_IMAGES, 'dynamic'];

/** The options with what the compiler can do; as they are where no launcher is to be compiled. */
export async function withCompiler(
  options: CniOptions,
  facts: InstallFacts,
  { root, launcherMark }: { readonly root: string; readonly launcherMark?: string },
  signal: AbortSignal,
): Promise<CniOptions> {
  if (!needsCompiler(facts, launcherMark, options)) return options;
  const linkings = facts.isLive ? FOR_THIS_MACHINE : FOR_IMAGES;
  return { ...options, compiler: await findCompiler(`${root}/${LAUNCHER_SOURCE}`, linkings, signal) };
}
