/**
 * The binding that a store was made of. On Workers a store is made anew for each request, while its binding
 * stays: what is kept between requests (a deny cache, a built contract, a gate of waiters) is kept per
 * binding, never per store object.
 */

/** The key under which a store tells its {@linkcode StoreBinding}. */
export const BINDING: unique symbol = Symbol("holdfast.binding");

/** Two stores with the same object and scope hold the same keys. */
export interface StoreBinding {
  /** The client or binding that was handed in; the engine itself where there was none. */
  readonly object: object;
  /** The engine's name, prefix and settings, and the path of the namespace. */
  readonly scope: string;
}

/** The binding of a store; a store that tells none is its own. */
export function bindingOf(store: object): StoreBinding {
  return (store as { readonly [BINDING]?: StoreBinding })[BINDING] ?? { object: store, scope: "" };
}

/** Values kept per binding; they are dropped with the binding's object. */
export class PerBinding<T> {
  readonly #values = new WeakMap<object, Map<string, T>>();

  /** The value of the store's binding, made by `make` at the first request. */
  get(store: object, make: () => T): T {
    const { object, scope } = bindingOf(store);
    let scopes = this.#values.get(object);
    if (scopes === undefined) this.#values.set(object, scopes = new Map());
    let value = scopes.get(scope);
    if (value === undefined) scopes.set(scope, value = make());
    return value;
  }
}
