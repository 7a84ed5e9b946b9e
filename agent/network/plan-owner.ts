// Whose a sandbox's addresses are to be, from what is known of its pod. Pure.
import { HoldfastError } from '../../lib/errors.ts';
import { ANNOTATION_DOMAIN } from '../model/annotations.ts';
import type { Owner } from './records.ts';

export type IpPolicy = Owner['ip'];

const IP_ANNOTATION = `${ANNOTATION_DOMAIN}/ip`;
const APP_ANNOTATION = `${ANNOTATION_DOMAIN}/app`;
const RELEASE_ANNOTATION = `${ANNOTATION_DOMAIN}/ip-release`;
const POLICIES: readonly string[] = ['none', 'keep', 'app'] satisfies IpPolicy[];

/** As the API server takes names and label values: what else comes is a mistake or an attempt. */
const APP_NAME = /^[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,251}[A-Za-z0-9])?$/;

/** Whether the pod's addresses may be given back while its containers still run. */
export function mayReleaseEarly(annotations: ReadonlyMap<string, string>): boolean {
  return annotations.get(RELEASE_ANNOTATION) === 'early';
}

export interface OwnerRules {
  /** The label that names a pod's app where no annotation does. */
  readonly appLabel: string;
  readonly defaultIp: IpPolicy;
  readonly byNamespace: ReadonlyMap<string, IpPolicy>;
}

/** What is known of the pod; a field is absent where nobody said. */
export interface PodDescription {
  readonly namespace: string;
  readonly name: string;
  readonly uid?: string;
  readonly labels?: ReadonlyMap<string, string>;
  readonly annotations?: ReadonlyMap<string, string>;
}

/**
 * @param pod - undefined for a sandbox that is no pod's
 * @throws HoldfastError INVALID_REQUEST for a value that does not exist, and for `app` without an app
 */
export function planOwner(pod: PodDescription | undefined, rules: OwnerRules): Owner {
  if (pod === undefined) return { ip: 'none' };
  const { namespace, name, uid, labels, annotations } = pod;
  const asked = annotations?.get(IP_ANNOTATION);
  if (asked !== undefined && !POLICIES.includes(asked)) {
    throw new HoldfastError(
      'INVALID_REQUEST',
      `annotation ${IP_ANNOTATION} is "${asked.slice(0, 60)}"; use one of "none", "keep", "app"`,
    );
  }
  const ip = (asked as IpPolicy | undefined) ?? rules.byNamespace.get(namespace) ?? rules.defaultIp;
  const app = annotations?.get(APP_ANNOTATION) ?? labels?.get(rules.appLabel);
  if (app !== undefined && !APP_NAME.test(app)) {
    throw new HoldfastError('INVALID_REQUEST', `"${app.slice(0, 60)}" cannot be the name of an app`);
  }
  const release = annotations?.get(RELEASE_ANNOTATION) ?? 'normal';
  if (release !== 'normal' && release !== 'early') {
    throw new HoldfastError(
      'INVALID_REQUEST',
      `annotation ${RELEASE_ANNOTATION} is "${release.slice(0, 60)}"; use one of "normal", "early"`,
    );
  }
  // By default only: a pod that has no app has no reserve either, and gets what every pod gets.
  const effective = ip === 'app' && app === undefined && asked === undefined ? 'none' : ip;
  if (effective === 'app' && app === undefined) {
    throw new HoldfastError(
      'INVALID_REQUEST',
      `the pod has ${IP_ANNOTATION}: app, but no app: give it the annotation ${APP_ANNOTATION} or the label ${rules.appLabel}`,
    );
  }
  return {
    pod: { namespace, name },
    ...(uid === undefined ? {} : { uid }),
    ...(app === undefined ? {} : { app: { namespace, name: app } }),
    ip: effective,
    ...(release === 'early' && effective === 'app' ? { early: true } : {}),
  };
}
