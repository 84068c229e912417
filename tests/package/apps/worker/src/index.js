// src/index.js
import { connect } from "antiphon";

export default {
  async fetch(request, { BROKER_URL }) {
    const session = await connect(BROKER_URL);
    try {
      const name = new URL(request.url).searchParams.get("name");
      return Response.json(await session.messaging.sendRequestToPath("greetings", name));
    } finally {
      await session.close();
    }
  },
};
