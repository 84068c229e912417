import type { Session } from "antiphon";
import { useState } from "react";
import { type Desk, type Order, type Region, regions } from "./contract";

interface Sent {
  id: number;
  order: Order;
  answer: string;
}

let count = 0;

/** Sends orders, and shows what becomes of each. */
export function OrdersPanel({ session, name }: { session: Session<Desk>; name: string }) {
  const [sent, setSent] = useState<Sent[]>([]);

  async function send(form: FormData) {
    const region = form.get("region") as Region;
    const order = { item: String(form.get("item")), quantity: Number(form.get("quantity")), from: name };
    const id = ++count;
    const show = (answer: string) =>
      setSent((all) => [{ id, order, answer }, ...all.filter((other) => other.id !== id)]);
    show("waiting …");
    session.messaging.sendRequestToPath(`orders/${region}`, order, { timeout: 60_000 }).then(
      ({ by }) => show(`accepted by ${by}`),
      (error: Error) => show(error.message),
    );
  }

  return (
    <section aria-labelledby="order">
      <h2 id="order">Order</h2>
      <form action={send}>
        <label>
          Item <input name="item" required defaultValue="Tea" />
        </label>
        <label>
          Quantity <input name="quantity" type="number" min="1" required defaultValue="1" />
        </label>
        <label>
          Region
          <select name="region">
            {regions.map((region) => (
              <option key={region}>{region}</option>
            ))}
          </select>
        </label>
        <button type="submit">Order</button>
      </form>
      <ul>
        {sent.map(({ id, order, answer }) => (
          <li key={id}>
            {order.quantity} × {order.item} <em>{answer}</em>
          </li>
        ))}
      </ul>
    </section>
  );
}
