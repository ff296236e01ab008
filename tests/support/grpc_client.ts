import {
  type CallOptions,
  ChannelCredentials,
  type ChannelOptions,
  type Client,
  type ClientDuplexStream,
  type ClientReadableStream,
  type ClientUnaryCall,
  makeGenericClientConstructor,
  type ServiceDefinition,
  type ServiceError,
} from "@grpc/grpc-js";
import type { Buffer } from "node:buffer";

type RequestOf<M> = M extends { requestSerialize: (value: infer R) => Buffer } ? R : never;
type ResponseOf<M> = M extends { responseDeserialize: (bytes: Buffer) => infer R } ? R : never;

type MethodOf<M> = M extends { requestStream: true }
  ? (options?: CallOptions) => ClientDuplexStream<RequestOf<M>, ResponseOf<M>>
  : M extends { responseStream: true }
    ? (request: RequestOf<M>, options?: CallOptions) => ClientReadableStream<ResponseOf<M>>
  : (
    request: RequestOf<M>,
    callback: (error: ServiceError | null, answer: ResponseOf<M>) => void,
  ) => ClientUnaryCall;

/** A client of gRPC's own library, as other programs have it. */
export type GrpcClient<S> = Client & { [K in keyof S]: MethodOf<S[K]> };

export function grpcClient<S extends ServiceDefinition>(
  service: S,
  address: string,
  options: ChannelOptions = {},
): GrpcClient<S> {
  const made = makeGenericClientConstructor(service, "Service");
  return new made(address, ChannelCredentials.createInsecure(), options) as unknown as GrpcClient<
    S
  >;
}
