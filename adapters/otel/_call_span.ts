/** The span of one call, and the histogram of their durations. */
import { HoldfastError } from "../../src/errors.ts";
import { checkMethods, checkNeededOptions, type OptionNames } from "../../src/validate.ts";
import type { OtelMeter, OtelTracer, Telemetry } from "./telemetry.ts";

/** Numbers of `@opentelemetry/api`: `SpanKind.CLIENT`, `SpanKind.PRODUCER`, `SpanStatusCode.ERROR`. */
export const CLIENT = 2, PRODUCER = 3;
const ERROR = 2;

/** The boundaries in seconds that the conventions ask for, of `db.client.operation.duration`. */
const SECONDS = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10];

const OPTIONS = { tracer: true, meter: true } satisfies OptionNames<Telemetry>;

/** Checks what a user hands in. */
export function checkTelemetry(task: string, telemetry: Telemetry): void {
  checkNeededOptions(task, telemetry, OPTIONS, "a 'tracer', a 'meter' or both");
  const { tracer, meter } = telemetry;
  if (tracer !== undefined) checkMethods(task, "'tracer' must be a tracer", tracer, ["startActiveSpan"]);
  if (meter !== undefined) checkMethods(task, "'meter' must be a meter", meter, ["createHistogram"]);
}

/** Runs the call in a span of its own, which ends with it. */
export function inSpan<T>(
  tracer: OtelTracer | undefined,
  name: string,
  options: { readonly kind: number; readonly attributes: Record<string, string> },
  run: () => Promise<T>,
): Promise<T> {
  if (tracer === undefined) return run();
  return tracer.startActiveSpan(name, options, async (span) => {
    try {
      return await run();
    } catch (error) {
      // The code alone: a message of another library may hold what must not leave.
      span.setAttribute("error.type", errorType(error));
      span.setStatus({ code: ERROR });
      throw error;
    } finally {
      span.end();
    }
  });
}

/** A function that records the durations of calls, or nothing where there is no meter. */
export function durations(
  meter: OtelMeter | undefined,
  name: string,
  description: string,
): (milliseconds: number, attributes: Record<string, string>) => void {
  const advice = { explicitBucketBoundaries: SECONDS };
  const histogram = meter?.createHistogram(name, { unit: "s", description, advice });
  return (milliseconds, attributes) => histogram?.record(milliseconds / 1000, attributes);
}

function errorType(error: unknown): string {
  if (error instanceof HoldfastError) return error.code;
  return error instanceof Error ? error.name : "_OTHER";
}
