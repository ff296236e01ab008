import { Buffer } from "node:buffer";
import { type handleBidiStreamingCall, status } from "@grpc/grpc-js";
import { type FileDescriptor, fileDescriptors } from "../gen/descriptors.ts";
import {
  type ServerReflectionRequest,
  type ServerReflectionResponse,
  ServerReflectionService,
} from "../gen/grpc/reflection/v1/reflection.ts";
import { conversing, type Serving } from "./calls.ts";

/**
 * The standard reflection service, from descriptors that are part of the program: its usual package
 * reads files at start, for which a process with exact permissions has no right.
 */
export const reflectionV1 = ServerReflectionService;

/** The same under its old name, which many tools still request first. */
export const reflectionV1Alpha = {
  serverReflectionInfo: {
    ...ServerReflectionService.serverReflectionInfo,
    path: "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
  },
};

type Answer = NonNullable<ServerReflectionResponse["messageResponse"]>;
type Request = ServerReflectionRequest;
type Response = ServerReflectionResponse;

/** Reads the next request after the last has been answered, so a caller must read to ask more. */
export function reflectionHandler(serving: Serving): handleBidiStreamingCall<Request, Response> {
  return conversing<Request, Response>(serving, async (requests, respond) => {
    for await (const request of requests) {
      await respond({
        validHost: request.host,
        originalRequest: request,
        messageResponse: answer(request.messageRequest),
      });
    }
  });
}

function answer(request: ServerReflectionRequest["messageRequest"]): Answer {
  switch (request?.$case) {
    case "listServices": {
      const names = fileDescriptors.flatMap(({ services }) => services);
      return {
        $case: "listServicesResponse",
        value: { service: names.map((name) => ({ name })) },
      };
    }
    case "fileByFilename":
      return fileAnswer(fileDescriptors.find(({ name }) => name === request.value));
    case "fileContainingSymbol":
      return fileAnswer(fileDescriptors.find(({ symbols }) => symbols.includes(request.value)));
    case undefined:
      return errorAnswer(status.INVALID_ARGUMENT, "The request asks for nothing");
    default:
      // proto3 has no extensions.
      return errorAnswer(status.NOT_FOUND, "There are no extensions");
  }
}

function fileAnswer(file: FileDescriptor | undefined): Answer {
  if (file === undefined) return errorAnswer(status.NOT_FOUND, "There is no such file or symbol");
  const files = new Set<FileDescriptor>();
  const add = (each: FileDescriptor) => {
    if (files.has(each)) return;
    files.add(each);
    for (const name of each.dependencies) {
      const dependency = fileDescriptors.find((other) => other.name === name);
      if (dependency !== undefined) add(dependency);
    }
  };
  add(file);
  return {
    $case: "fileDescriptorResponse",
    value: { fileDescriptorProto: [...files].map(({ base64 }) => Buffer.from(base64, "base64")) },
  };
}

function errorAnswer(errorCode: number, errorMessage: string): Answer {
  return { $case: "errorResponse", value: { errorCode, errorMessage } };
}
