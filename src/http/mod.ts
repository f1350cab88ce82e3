/**
 * Fetch-level helpers, for any runtime and framework: a Request in, a Response out.
 *
 * @module
 */

export * from "./http_cache.ts";
