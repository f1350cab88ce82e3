/**
 * Values that a helper keeps with a request. They are a property of the request's object (or of Hono's
 * context), under a symbol of their own. A WeakMap would do the same and cost more than the whole helper:
 * garbage collection goes through all its entries again and again, and there is one for each request.
 */
export class RequestValues<T> {
  readonly #key = Symbol("holdfast.request");

  /** The value of that request, where there is one. */
  get(owner: object): T | undefined {
    return (owner as Record<symbol, T | undefined>)[this.#key];
  }

  /** Sets the value of that request. */
  set(owner: object, value: T | undefined): void {
    (owner as Record<symbol, T | undefined>)[this.#key] = value;
  }
}
