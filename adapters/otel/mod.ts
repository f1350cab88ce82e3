/**
 * Spans and metrics of stores and mailers, by OpenTelemetry's semantic conventions. `@opentelemetry/api` is
 * handed in.
 *
 * ```ts ignore
 * import { metrics, trace } from "@opentelemetry/api";
 * import { otelMailer, otelStore } from "@holdfast/edge/otel";
 *
 * const telemetry = { tracer: trace.getTracer("shop"), meter: metrics.getMeter("shop") };
 * const store = otelStore(upstashStore({ url, token }), telemetry);
 * const mailer = otelMailer(resendMailer({ apiKey }), telemetry);
 * ```
 *
 * A span has the name of the operation (`lock.acquire redis`), the system and, of a failed call, the error's
 * code; never a key, a value or an address.
 *
 * @module
 */

export * from "./otel_mailer.ts";
export * from "./otel_store.ts";
export * from "./telemetry.ts";
export * from "./workers_tracer.ts";
