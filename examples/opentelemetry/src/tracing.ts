// Spans of requests and of handlers. What joins them is the W3C trace context, which travels in a request's metadata.

import { context, propagation, ROOT_CONTEXT, type Span, SpanKind, SpanStatusCode, trace } from "@opentelemetry/api";
import type { Messaging, RequestContext, RequestOptions, Value } from "antiphon";

const tracer = trace.getTracer("order-desk");

/** Does something in a span, which says how it ended. */
async function within<T>(span: Span, run: () => T | Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    span.recordException(error as Error);
    span.setStatus({ code: SpanStatusCode.ERROR, message: (error as Error).message });
    throw error;
  } finally {
    span.end();
  }
}

/** Sends a request to a path in a span of its own, of which the handler is told. */
export function ask<Res>(messaging: Messaging, path: string, request: Value, options: RequestOptions = {}) {
  return tracer.startActiveSpan(`ask ${path}`, { kind: SpanKind.CLIENT }, (span) =>
    within(span, () => {
      const metadata = { ...options.metadata };
      propagation.inject(context.active(), metadata);
      return messaging.sendRequestToPath<Res>(path, request, { ...options, metadata });
    }),
  );
}

/** A request handler that answers in a span, which is a child of the sender's. */
export function traced<Req, Res>(handler: (request: Req, context: RequestContext) => Res | Promise<Res>) {
  return (request: Req, received: RequestContext) => {
    const sender = propagation.extract(ROOT_CONTEXT, received.metadata);
    return tracer.startActiveSpan(`handle ${received.path}`, { kind: SpanKind.SERVER }, sender, (span) =>
      within(span, () => handler(request, received)),
    );
  };
}
