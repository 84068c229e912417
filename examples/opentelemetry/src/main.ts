import {
  type ReadableSpan,
  SimpleSpanProcessor,
  type SpanExporter,
  WebTracerProvider,
} from "@opentelemetry/sdk-trace-web";
import { connect } from "antiphon";
import { ask, traced } from "./tracing";

const find = <T extends Element>(selector: string) => document.querySelector(selector) as T;

/** Lists spans on the page, where an application would send them to a collector. */
const exporter: SpanExporter = {
  export(spans: ReadableSpan[], done) {
    for (const span of spans) {
      const item = document.createElement("li");
      const { name } = span;
      const { traceId, spanId } = span.spanContext();
      Object.assign(item.dataset, { name, traceId, spanId, parent: span.parentSpanContext?.spanId ?? "" });
      item.textContent = `${name}, trace ${traceId.slice(0, 6)}`;
      find("ol").append(item);
    }
    done({ code: 0 });
  },
  shutdown: async () => {},
};

// It also makes the W3C trace context what is told to others.
new WebTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }).register();

const { messaging } = await connect(import.meta.env.VITE_BROKER ?? "ws://localhost:8080/antiphon");

async function serve() {
  await messaging.addRequestHandler(
    "prices",
    traced(() => 3),
  );
  await messaging.addRequestHandler(
    "stock",
    traced(() => 12),
  );
  await messaging.addRequestHandler(
    "orders",
    traced(async (item: string, context) => {
      // In a span of its own, with the time and the signal of the order.
      const asked = ask<number>(messaging, "prices", item, { within: context });
      // Without one: `within` hands the sender's trace context on.
      const stock = await messaging.sendRequestToPath<number>("stock", item, { within: context });
      return `${item}: ${await asked}, ${stock} left`;
    }),
  );
  find("[role=status]").textContent = "serving";
}

async function order() {
  find("output").textContent = await ask<string>(messaging, "orders", "tea", { timeout: 5000 });
}

for (const [name, act] of Object.entries({ serve, order })) {
  const button = find<HTMLButtonElement>(`#${name}`);
  button.disabled = false;
  button.addEventListener("click", () => act().catch((error: Error) => (find("output").textContent = error.message)));
}
find("[role=status]").textContent = "connected";
