// Branded primitives: a number of bytes cannot be passed where CPU thousandths are wanted, nor a pod UID for a container ID.

declare const brand: unique symbol;

/** A primitive that carries its meaning in its type; made by the functions beside each brand, never by hand. */
export type Brand<Base, Name extends string> = Base & { readonly [brand]: Name };
