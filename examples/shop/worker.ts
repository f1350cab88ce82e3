/** The shop as a Worker: its state lives on Durable Objects, which `wrangler.toml` binds. */
import { durableObjectStore, type HoldfastNamespace } from "@holdfast/edge/durable-objects";
import { createShop } from "./shop.ts";

export { HoldfastObject } from "@holdfast/edge/durable-objects/object";

interface Env {
  readonly HOLDFAST: HoldfastNamespace;
  /** Set where there is no HTTPS: on your own machine. */
  readonly PLAIN_HTTP?: string;
}

let shop: ReturnType<typeof createShop> | undefined;

export default {
  fetch(request: Request, env: Env): Response | Promise<Response> {
    // The binding is the isolate's: so is the shop.
    shop ??= createShop({
      store: durableObjectStore(env.HOLDFAST),
      secureCookies: env.PLAIN_HTTP === undefined,
    });
    return shop.fetch(request, env);
  },
};
