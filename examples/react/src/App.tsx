import type { Session } from "antiphon";
import { useState, useSyncExternalStore } from "react";
import type { Desk, Region } from "./contract";
import { OrdersPanel } from "./OrdersPanel";
import { PeoplePanel } from "./PeoplePanel";
import { ServePanel } from "./ServePanel";

export function App({ session }: { session: Session<Desk> }) {
  const [name, setName] = useState("Guest");
  const [region, setRegion] = useState<Region | null>(null);
  const state = useSyncExternalStore(
    (changed) => session.on("statechange", changed),
    () => session.state,
  );
  return (
    <>
      <header>
        <h1>Order desk</h1>
        <p role="status" data-state={state}>
          {state}
        </p>
        <label>
          Your name <input value={name} onChange={(event) => setName(event.target.value)} />
        </label>
      </header>
      <main>
        <OrdersPanel session={session} name={name} />
        <ServePanel session={session} name={name} region={region} onRegion={setRegion} />
        <PeoplePanel session={session} name={name} region={region} />
      </main>
    </>
  );
}
