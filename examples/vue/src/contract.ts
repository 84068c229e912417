/** What this application sends: by path, what is asked and what is answered. */
export interface Desk {
  "orders/eu": { request: Order; response: Receipt };
  "orders/us": { request: Order; response: Receipt };
  presence: { request: null; response: Person };
}

export const regions = ["eu", "us"] as const;
export type Region = (typeof regions)[number];

export interface Order {
  item: string;
  quantity: number;
  from: string;
}

export interface Receipt {
  by: string;
}

export interface Person {
  name: string;
  serves: Region | null;
}
