// What the feature asks of the host's network. The host's code must not know the feature, so the words are defined there.
export type * from '../host/network/pod-links.ts';
