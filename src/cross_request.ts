/** The interval at which a request looks for itself where no other request may wake it, in milliseconds. */
export const LOOK_INTERVAL = 25;

/**
 * Whether one request may resolve a promise that another one waits for. On Workers it may with a
 * compatibility date from 2024-10-14 on, or with the flag `handle_cross_request_promise_resolution`. Without
 * it the other request would go on in the wrong context, where its timers and bindings fail: there, a waiter
 * must look for itself.
 */
export function canResolveElsewhere(): boolean {
  const { Cloudflare, navigator } = globalThis as {
    readonly Cloudflare?: { readonly compatibilityFlags?: Readonly<Record<string, boolean>> };
    readonly navigator?: { readonly userAgent?: string };
  };
  if (navigator?.userAgent !== "Cloudflare-Workers") return true;
  return Cloudflare?.compatibilityFlags?.handle_cross_request_promise_resolution === true;
}
