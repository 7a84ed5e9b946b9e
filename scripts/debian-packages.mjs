// The Debian part of the set-up: programs that Holdfast's quickstart and tests run. What is there is left alone,
// wherever it came from; nothing is ever removed, and no service that comes with this is started.
import { spawnSync } from 'node:child_process';
import { accessSync, constants, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, isAbsolute, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const BUSYBOX_DIRECTORY = fileURLToPath(new URL('../node_modules/.cache/holdfast/busybox-static', import.meta.url));

/** For each purpose the Debian package by the program, or the file, that is wanted from it. */
const WANTED = {
  quickstart: {
    containerd: 'containerd',
    'containerd-shim-runc-v2': 'containerd',
    ctr: 'containerd',
    runc: 'runc',
    ip: 'iproute2',
  },
  tests: {
    'lstopo-no-graphics': 'hwloc-nox',
    bzip2: 'bzip2',
    openssl: 'openssl',
    etcd: 'etcd-server',
    nft: 'nftables',
    bird: 'bird2',
    '/usr/lib/cni/loopback': 'containernetworking-plugins',
  },
  vm: {
    'qemu-system-x86_64': 'qemu-system-x86',
    'qemu-img': 'qemu-utils',
    mmdebstrap: 'mmdebstrap',
    'mkfs.ext4': 'e2fsprogs',
  },
  kube: {
    '/usr/lib/go-1.19/bin/go': 'golang-1.19-go',
    '/usr/share/gocode/src/github.com/modern-go/reflect2/reflect2.go': 'golang-github-modern-go-reflect2-dev',
    'dpkg-source': 'dpkg-dev',
  },
};

/** What some packages start at once and at each boot; neither is ours to start. */
const SERVICES = { containerd: 'containerd.service', 'etcd-server': 'etcd.service', bird2: 'bird.service' };

/** Where the program is; what is named by its whole path need not be a program. */
function findProgram(name) {
  const folders = [
    ...(process.env.PATH ?? '').split(delimiter),
    '/usr/local/sbin',
    '/usr/sbin',
    '/sbin',
    '/usr/bin',
    '/bin',
  ];
  const candidates = isAbsolute(name) ? [name] : folders.map((folder) => join(folder, name));
  return candidates.find((path) => {
    try {
      accessSync(path, isAbsolute(name) ? constants.R_OK : constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** The Debian packages from which a program is missing. */
function missingPackages(programs) {
  const missing = Object.entries(programs).filter(([program]) => findProgram(program) === undefined);
  return [...new Set(missing.map(([, name]) => name))];
}

/** Whether an ELF program names a dynamic loader (a program header of type PT_INTERP, elf(5)); 64 bits, little-endian. */
function isDynamic(path) {
  const program = readFileSync(path);
  const [offset, size, count] = [
    Number(program.readBigUInt64LE(32)),
    program.readUInt16LE(54),
    program.readUInt16LE(56),
  ];
  return Array.from({ length: count }, (_, index) => program.readUInt32LE(offset + index * size)).includes(3);
}

function hasStaticBusybox() {
  const candidates = [
    findProgram('busybox'),
    join(BUSYBOX_DIRECTORY, 'bin', 'busybox'),
    join(BUSYBOX_DIRECTORY, 'usr/bin/busybox'),
  ];
  return candidates.some((path) => {
    try {
      return path !== undefined && !isDynamic(path);
    } catch {
      return false;
    }
  });
}

function run(program, args, cwd) {
  const env = {
    ...process.env,
    DEBIAN_FRONTEND: 'noninteractive',
    NEEDRESTART_SUSPEND: '1',
    // Makes systemctl ignore "start" and "restart" in the packages' scripts: the host's containerd is not ours to start.
    SYSTEMD_OFFLINE: '1',
  };
  const result = spawnSync(program, args, { cwd, env, encoding: 'utf8' });
  return { ok: result.status === 0, output: `${result.stderr ?? ''}${result.error?.message ?? ''}`.trim() };
}

function lastLine(text) {
  return text.split('\n').at(-1);
}

function aptGet(...args) {
  return run('apt-get', ['--quiet', '--assume-yes', ...args]);
}

/** Installing them must not make them start at the next boot either. */
function disableServices(packages) {
  if (findProgram('systemctl') === undefined) return;
  for (const name of packages.filter((each) => Object.hasOwn(SERVICES, each))) {
    run('systemctl', ['--quiet', 'disable', SERVICES[name]]);
  }
}

/**
 * busybox-static replaces the package busybox, which the host's initramfs may need: where that is installed, the
 * static one is only unpacked beside our npm packages.
 */
function unpackStaticBusybox(say) {
  say('unpacking busybox-static into node_modules/.cache');
  const scratch = mkdtempSync(join(tmpdir(), 'holdfast-set-up-'));
  try {
    const downloaded = run('apt-get', ['--quiet', 'download', 'busybox-static'], scratch);
    if (!downloaded.ok) throw new Error(`apt-get could not download busybox-static: ${lastLine(downloaded.output)}`);
    const unpacked = run('sh', ['-c', `dpkg-deb --extract ./*.deb "${BUSYBOX_DIRECTORY}"`], scratch);
    if (!unpacked.ok) throw new Error(`busybox-static could not be unpacked: ${lastLine(unpacked.output)}`);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

function install(packages, say) {
  say(`installing Debian packages: ${packages.join(' ')}`);
  const updated = aptGet('update');
  const installed = aptGet('install', '--no-install-recommends', '--no-remove', ...packages);
  if (!installed.ok) {
    const reason = lastLine(installed.output || updated.output);
    throw new Error(`apt-get could not install ${packages.join(', ')}: ${reason}`);
  }
  disableServices(packages);
}

/**
 * Installs what is missing as root on Debian and its descendants.
 * @throws Error with one sentence for the user; without root or apt-get it only says what is left out
 */
export function setUpDebianPackages({ purposes, say }) {
  const packages = purposes.flatMap((purpose) => missingPackages(WANTED[purpose]));
  const needsBusybox = !hasStaticBusybox();
  const unpack = needsBusybox && findProgram('busybox') !== undefined;
  if (needsBusybox && !unpack) packages.push('busybox-static');
  if (packages.length === 0 && !unpack) return;
  const wanted = [...packages, ...(unpack ? ['busybox-static'] : [])].join(', ');
  if (process.geteuid() !== 0) {
    say(`left out, because it needs root: installing ${wanted}; run this with sudo for all of it`);
    return;
  }
  if (findProgram('apt-get') === undefined) {
    throw new Error(`${wanted} must be installed by hand, because there is no apt-get here.`);
  }
  if (packages.length > 0) install(packages, say);
  if (unpack) unpackStaticBusybox(say);
}
