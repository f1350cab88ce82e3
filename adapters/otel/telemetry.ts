/** The part of OpenTelemetry's API that is used here, by shape. */

/**
 * The part of a span that is used here.
 *
 * @category Telemetry
 */
export interface OtelSpan {
  /** Sets an attribute. */
  setAttribute(name: string, value: string): unknown;
  /** Sets the status; code 2 is an error. */
  setStatus(status: { code: number; message?: string }): unknown;
  /** Ends the span. */
  end(): void;
}

/**
 * The part of a tracer that is used here: `trace.getTracer("shop")` of `@opentelemetry/api` is one.
 *
 * @category Telemetry
 */
export interface OtelTracer {
  /** Runs the function with a new span, which is the parent of the spans that begin in it. */
  startActiveSpan<T>(
    name: string,
    options: { kind: number; attributes: Record<string, string> },
    run: (span: OtelSpan) => T,
  ): T;
}

/**
 * The part of a meter that is used here: `metrics.getMeter("shop")` of `@opentelemetry/api` is one.
 *
 * @category Telemetry
 */
export interface OtelMeter {
  /** Makes a histogram. */
  createHistogram(
    name: string,
    options: { unit: string; description: string; advice: { explicitBucketBoundaries: number[] } },
  ): {
    /** Records a value with its attributes. */
    record(value: number, attributes: Record<string, string>): void;
  };
}

/**
 * The receivers of spans and measurements; without one of the two, there are none of its kind.
 *
 * @category Telemetry
 */
export interface Telemetry {
  /** Makes the spans. */
  readonly tracer?: OtelTracer | undefined;
  /** Makes the histograms of durations. */
  readonly meter?: OtelMeter | undefined;
}
