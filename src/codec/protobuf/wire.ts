/*
 * Calls and messages of a schema as bytes, through protobufjs. Each method's and message's code is made when it is
 * first used: making all of them, with the descriptors that nobody here reads, cost a third of the daemon's start.
 * 64-bit integers are decimal texts; fields that are not there have proto3's defaults.
 */
import { methodTypes, schemaJson, type WireSchema } from './schema.ts';

export interface Codec {
  readonly serialize: (value: object) => Buffer;
  readonly deserialize: (bytes: Uint8Array) => object;
}

/** What grpc needs of one method. */
export interface WireMethod {
  /** `/containerd.services.tasks.v1.Tasks/Create` */
  readonly path: string;
  readonly requestSerialize: Codec['serialize'];
  readonly responseDeserialize: Codec['deserialize'];
}

export interface Wire {
  /** By short name: `Tasks.Create`. Throws for one that is not in the schema. */
  method(name: string): WireMethod;
  /** By its name in the schema. */
  message(name: string): Codec;
}

const asObject = { longs: String, defaults: true } as const;

/** Loads protobufjs, so that importing this costs nothing. */
export async function openWire(schema: WireSchema): Promise<Wire> {
  const { default: protobuf } = await import('protobufjs/light.js');
  const root = protobuf.Root.fromJSON(schemaJson(schema));
  const methods = new Map<string, WireMethod>();

  function message(name: string): Codec {
    const type = root.lookupType(`linkspan.${name}`);
    return {
      serialize: (value) => Buffer.from(type.encode(type.fromObject(value)).finish()),
      deserialize: (bytes) => type.toObject(type.decode(bytes), asObject),
    };
  }

  return {
    message,
    method: (name) => {
      const known = methods.get(name);
      if (known !== undefined) return known;
      const { path, request, response } = methodTypes(schema, name);
      const method = {
        path,
        requestSerialize: message(request).serialize,
        responseDeserialize: message(response).deserialize,
      };
      methods.set(name, method);
      return method;
    },
  };
}
