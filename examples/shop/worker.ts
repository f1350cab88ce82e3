/** The shop as a Worker: state on Durable Objects, the products on Workers KV behind a cache. `wrangler.toml` binds both. */
import { durableObjectStore, type HoldfastNamespace } from "@holdfast/edge/durable-objects";
import { type KvNamespace, workersKvStore } from "@holdfast/edge/workers-kv";
import { createShop } from "./shop.ts";

export { HoldfastObject } from "@holdfast/edge/durable-objects/object";

interface Env {
  readonly HOLDFAST: HoldfastNamespace;
  readonly CATALOGUE: KvNamespace;
  /** Set where there is no HTTPS: on your own machine. */
  readonly PLAIN_HTTP?: string;
}

let shop: ReturnType<typeof createShop> | undefined;

export default {
  fetch(request: Request, env: Env): Response | Promise<Response> {
    // Bindings are an isolate's; its cache of products is worth keeping over requests.
    shop ??= createShop({
      store: durableObjectStore(env.HOLDFAST),
      catalogue: workersKvStore(env.CATALOGUE),
      secureCookies: env.PLAIN_HTTP === undefined,
    });
    return shop.fetch(request, env);
  },
};
