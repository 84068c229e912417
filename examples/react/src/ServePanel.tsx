import { RejectedRequestError, type Session } from "antiphon";
import { useEffect, useState } from "react";
import { type Desk, type Order, type Receipt, type Region, regions } from "./contract";

interface Waiting {
  id: number;
  order: Order;
  accept: (receipt: Receipt) => void;
  refuse: (error: Error) => void;
}

let count = 0;

interface Props {
  session: Session<Desk>;
  name: string;
  region: Region | null;
  onRegion: (region: Region | null) => void;
}

/** Serves the orders of a region. The answer to each is the press of a button. */
export function ServePanel({ session, name, region, onRegion }: Props) {
  const [orders, setOrders] = useState<Waiting[]>([]);
  const [problem, setProblem] = useState("");

  useEffect(() => {
    if (!region) return;
    const leaving = new AbortController();
    const answer = (order: Order, { signal }: { signal: AbortSignal }) =>
      new Promise<Receipt>((accept, refuse) => {
        const waiting = { id: ++count, order, accept, refuse };
        setOrders((all) => [...all, waiting]);
        AbortSignal.any([signal, leaving.signal]).addEventListener("abort", () =>
          refuse(new RejectedRequestError("the desk has closed")),
        );
      });
    session.messaging
      .addRequestHandler(`orders/${region}`, answer, { signal: leaving.signal })
      .then(() => setProblem(""))
      .catch((error: Error) => leaving.signal.aborted || setProblem(error.message));
    return () => {
      leaving.abort();
      setOrders([]);
    };
  }, [session, region]);

  const settle = (settled: Waiting) => setOrders((all) => all.filter((waiting) => waiting !== settled));
  return (
    <section aria-labelledby="serve">
      <h2 id="serve">Serve</h2>
      <label>
        Region to serve
        <select value={region ?? ""} onChange={({ target }) => onRegion((target.value || null) as Region | null)}>
          <option value="">none</option>
          {regions.map((one) => (
            <option key={one}>{one}</option>
          ))}
        </select>
      </label>
      {problem && <p role="alert">{problem}</p>}
      <ul>
        {orders.map((waiting) => (
          <li key={waiting.id}>
            {waiting.order.quantity} × {waiting.order.item} for {waiting.order.from}
            <button
              type="button"
              onClick={() => {
                waiting.accept({ by: name });
                settle(waiting);
              }}
            >
              Accept
            </button>
            <button
              type="button"
              onClick={() => {
                waiting.refuse(new RejectedRequestError("sold out"));
                settle(waiting);
              }}
            >
              Refuse
            </button>
          </li>
        ))}
      </ul>
    </section>
  );
}
