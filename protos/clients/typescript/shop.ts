// A shop asks for a slate, tells of a click on it, and asks again: a complete client, to copy from.
//
// usage: npm ci && npm run build && node shop.js USER
//
// The contract is read from winnow.binpb: python protos/generate.py --descriptors protos/clients/typescript/winnow.binpb
// Addresses and certificates come from the environment; without certificates it speaks plain text.

import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";

import * as grpc from "@grpc/grpc-js";
import { loadFileDescriptorSetFromBuffer } from "@grpc/proto-loader";

interface Slate {
  recommendation_id: string;
  items: { item_id: string; score: number }[];
  header: { degraded: { stage: string; reason: string }[] };
}
interface Recorded {
  statuses: { code: number; message: string }[];
  watermark: string;
}

const FRONT = process.env.WINNOW_FRONT ?? "127.0.0.1:50051";
const FEEDBACK = process.env.WINNOW_FEEDBACK ?? "127.0.0.1:50051";
const TLS = ["AUTHORITY", "KEY", "CERTIFICATE"].map((name) => process.env[`WINNOW_TLS_${name}_FILE`]);
const SERVICE_CONFIG = readFileSync(join(__dirname, "..", "service_config.json"), "utf8");
// What a page can wait for; Winnow leaves out what does not fit into it, and says so.
const SLATE_MS = 1000 * Number(process.env.WINNOW_SLATE_SECONDS ?? "0.8");
const EVENTS_MS = 10_000;
const CONNECT_MS = 10_000;

const descriptors = readFileSync(process.env.WINNOW_DESCRIPTORS ?? join(__dirname, "winnow.binpb"));
const contract = grpc.loadPackageDefinition(
  loadFileDescriptorSetFromBuffer(descriptors, { longs: Number, enums: String, defaults: true, arrays: true }),
);
const services = (contract.winnow as grpc.GrpcObject).v1 as grpc.GrpcObject;

function credentials(): grpc.ChannelCredentials {
  const [authority, key, certificate] = TLS;
  if (!authority || !key || !certificate) return grpc.credentials.createInsecure();
  return grpc.credentials.createSsl(readFileSync(authority), readFileSync(key), readFileSync(certificate));
}

// One client for the life of the process: it balances over all replicas and repeats what may be repeated.
async function connect(service: string, address: string): Promise<grpc.Client> {
  const Service = services[service] as grpc.ServiceClientConstructor;
  const client = new Service(address, credentials(), { "grpc.service_config": SERVICE_CONFIG });
  // At the start, not in the first customer's time.
  await new Promise<void>((resolve, reject) =>
    client.waitForReady(Date.now() + CONNECT_MS, (error) => (error ? reject(error) : resolve())),
  );
  return client;
}

function call<Answer>(client: grpc.Client, method: string, request: object, milliseconds: number): Promise<Answer> {
  const unary = (client as unknown as Record<string, Function>)[method].bind(client);
  return new Promise((resolve, reject) => {
    unary(request, { deadline: Date.now() + milliseconds }, (error: grpc.ServiceError | null, answer: Answer) =>
      error ? reject(error) : resolve(answer),
    );
  });
}

async function main(userId: string): Promise<void> {
  const front = await connect("RecommendationService", FRONT);
  const log = await connect("FeedbackService", FEEDBACK);
  const slate = await call<Slate>(front, "recommend", { user_id: userId, surface: "shop" }, SLATE_MS);
  if (!slate.items.length) throw new Error("the slate is empty: is there a catalogue?");
  const click = {
    event_id: randomUUID(), // made once, before the first attempt: a repeat is recognised by it
    user_id: userId,
    item_id: slate.items[0].item_id,
    event_type: "EVENT_TYPE_CLICK",
    recommendation_id: slate.recommendation_id, // joins the click to the slate
  };
  const recorded = await call<Recorded>(log, "recordEvents", { events: [click] }, EVENTS_MS);
  if (recorded.statuses[0].code) throw new Error(`the click was refused: ${recorded.statuses[0].message}`);
  // Served from state that includes the click, or told in `degraded` that it is not yet.
  const asked = { user_id: userId, surface: "shop", min_watermark: recorded.watermark };
  const after = await call<Slate>(front, "recommend", asked, SLATE_MS);
  console.log(
    JSON.stringify({
      recommendationId: slate.recommendation_id,
      slate: slate.items.map((item) => item.item_id),
      after: after.items.map((item) => item.item_id),
      degraded: after.header.degraded.map((lost) => `${lost.stage}: ${lost.reason}`),
    }),
  );
  front.close();
  log.close();
}

main(process.argv[2]).catch((error: Error) => {
  console.error(error.message);
  process.exit(1);
});
