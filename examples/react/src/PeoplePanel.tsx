import type { Session } from "antiphon";
import { useEffect, useState } from "react";
import type { Desk, Person, Region } from "./contract";

const EVERYBODY = "app is 'order-desk'";

/** Says who this is when asked, and asks every two seconds who else is here. */
export function PeoplePanel({
  session,
  name,
  region,
}: {
  session: Session<Desk>;
  name: string;
  region: Region | null;
}) {
  const [people, setPeople] = useState<[sessionId: string, person: Person][]>([]);

  useEffect(() => {
    const stream = session.messaging.addStreamHandler("presence", () => ({ name, serves: region }), {
      addressed: true,
    });
    return () => void stream.close();
  }, [session, name, region]);

  useEffect(() => {
    const { messaging } = session;
    const leaving = new AbortController();
    async function look() {
      const found: typeof people = [];
      const options = { timeout: 2000, signal: leaving.signal };
      for await (const { sessionId, value } of messaging.gather(EVERYBODY, "presence", null, options)) {
        if (value) found.push([sessionId, value]);
      }
      setPeople(found);
    }
    const retry = () => look().catch(() => {}); // offline, or a slow tab: the next look is soon enough
    retry();
    const timer = setInterval(retry, 2000);
    return () => {
      clearInterval(timer);
      leaving.abort();
    };
  }, [session]);

  return (
    <section aria-labelledby="people">
      <h2 id="people">Here now</h2>
      <ul>
        {people.map(([sessionId, { name, serves }]) => (
          <li key={sessionId}>
            {name} {serves && <em>serves {serves}</em>} {sessionId === session.id && <small>(you)</small>}
          </li>
        ))}
      </ul>
    </section>
  );
}
