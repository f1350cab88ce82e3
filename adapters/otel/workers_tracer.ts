/** Workers' own tracing as a tracer. */
import { checkMethods } from "../../src/validate.ts";
import type { OtelTracer } from "./telemetry.ts";

/**
 * The part of `tracing` of `cloudflare:workers` that is used here.
 *
 * @category Telemetry
 */
export interface WorkersTracing {
  /** Runs the function with a new span, which ends when what it returns has settled. */
  enterSpan<T>(
    name: string,
    run: (span: { setAttribute(name: string, value: string): void }) => T,
  ): T;
}

/**
 * A tracer of Workers' own tracing: the spans show in the traces of the dashboard beside those of the
 * runtime. A failed call has the attribute `error.type`, as these spans have no status.
 *
 * @throws {TypeError} when `tracing` has no `enterSpan`: Workers have it where `observability.traces` is
 *   enabled
 * @category Telemetry
 * @example
 * ```ts ignore
 * import { tracing } from "cloudflare:workers";
 * import { otelStore, workersTracer } from "@holdfast/edge/otel";
 *
 * const store = otelStore(durableObjectStore(env.HOLDFAST), { tracer: workersTracer(tracing) });
 * ```
 */
export function workersTracer(tracing: WorkersTracing): OtelTracer {
  checkMethods("trace on Workers", "'tracing' must be that of cloudflare:workers", tracing, ["enterSpan"]);
  return {
    startActiveSpan: (name, { attributes }, run) =>
      tracing.enterSpan(name, (span) => {
        for (const [key, value] of Object.entries(attributes)) span.setAttribute(key, value);
        return run({
          setAttribute: (key, value) => span.setAttribute(key, value),
          setStatus() {},
          end() {},
        });
      }),
  };
}
