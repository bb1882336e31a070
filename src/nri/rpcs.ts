import * as api from '../gen/nri/v1alpha1/api.ts';

/** Method names of the services, as ttrpc wants them. */
export const PLUGIN_SERVICE = 'nri.pkg.api.v1alpha1.Plugin';
export const RUNTIME_SERVICE = 'nri.pkg.api.v1alpha1.Runtime';

/** Numbers of the two connections on a plugin's socket, by who answers on them. */
export const PLUGIN_CONNECTION = 1;
export const RUNTIME_CONNECTION = 2;

/** A method of plugins. */
export interface Rpc<Request, Response> {
  method: string;
  request: api.MessageFns<Request>;
  response: api.MessageFns<Response>;
}

/** One by which plugins learn of an event that they have subscribed to. */
export interface EventRpc<Request, Response> extends Rpc<Request, Response> {
  event: api.Event;
  /** Whether plugins that lack the method learn of the event through StateChange. */
  asStateChange: boolean;
}

/** What the requests of all event methods have, as far as they have it. */
export interface Subject {
  pod: api.PodSandbox | undefined;
  container?: api.Container | undefined;
}

const { Empty, Event } = api;

function event<Request, Response>(
  method: string,
  number: api.Event,
  messages: { request: api.MessageFns<Request>; response: api.MessageFns<Response> },
): EventRpc<Request, Response> {
  return { method, event: number, ...messages, asStateChange: STATE_CHANGES.has(number) };
}

const STATE_CHANGES: ReadonlySet<api.Event> = new Set([
  ...[Event.RUN_POD_SANDBOX, Event.STOP_POD_SANDBOX, Event.REMOVE_POD_SANDBOX],
  ...[Event.POST_UPDATE_POD_SANDBOX, Event.POST_CREATE_CONTAINER, Event.START_CONTAINER],
  ...[Event.POST_START_CONTAINER, Event.POST_UPDATE_CONTAINER, Event.REMOVE_CONTAINER],
]);

export const configure: Rpc<api.ConfigureRequest, api.ConfigureResponse> = {
  method: 'Configure',
  request: api.ConfigureRequest,
  response: api.ConfigureResponse,
};

export const synchronize: Rpc<api.SynchronizeRequest, api.SynchronizeResponse> = {
  method: 'Synchronize',
  request: api.SynchronizeRequest,
  response: api.SynchronizeResponse,
};

export const shutdown: Rpc<api.Empty, api.Empty> = {
  method: 'Shutdown',
  request: Empty,
  response: Empty,
};

export const stateChange: Rpc<api.StateChangeEvent, api.Empty> = {
  method: 'StateChange',
  request: api.StateChangeEvent,
  response: Empty,
};

export const runPodSandbox = event('RunPodSandbox', Event.RUN_POD_SANDBOX, {
  request: api.RunPodSandboxRequest,
  response: api.RunPodSandboxResponse,
});

export const updatePodSandbox = event('UpdatePodSandbox', Event.UPDATE_POD_SANDBOX, {
  request: api.UpdatePodSandboxRequest,
  response: api.UpdatePodSandboxResponse,
});

export const postUpdatePodSandbox = event('PostUpdatePodSandbox', Event.POST_UPDATE_POD_SANDBOX, {
  request: api.PostUpdatePodSandboxRequest,
  response: api.PostUpdatePodSandboxResponse,
});

export const stopPodSandbox = event('StopPodSandbox', Event.STOP_POD_SANDBOX, {
  request: api.StopPodSandboxRequest,
  response: api.StopPodSandboxResponse,
});

export const removePodSandbox = event('RemovePodSandbox', Event.REMOVE_POD_SANDBOX, {
  request: api.RemovePodSandboxRequest,
  response: api.RemovePodSandboxResponse,
});

export const createContainer = event('CreateContainer', Event.CREATE_CONTAINER, {
  request: api.CreateContainerRequest,
  response: api.CreateContainerResponse,
});

export const validateAdjustment = event(
  'ValidateContainerAdjustment',
  Event.VALIDATE_CONTAINER_ADJUSTMENT,
  {
    request: api.ValidateContainerAdjustmentRequest,
    response: api.ValidateContainerAdjustmentResponse,
  },
);

export const postCreateContainer = event('PostCreateContainer', Event.POST_CREATE_CONTAINER, {
  request: api.PostCreateContainerRequest,
  response: api.PostCreateContainerResponse,
});

export const startContainer = event('StartContainer', Event.START_CONTAINER, {
  request: api.StartContainerRequest,
  response: api.StartContainerResponse,
});

export const postStartContainer = event('PostStartContainer', Event.POST_START_CONTAINER, {
  request: api.PostStartContainerRequest,
  response: api.PostStartContainerResponse,
});

export const updateContainer = event('UpdateContainer', Event.UPDATE_CONTAINER, {
  request: api.UpdateContainerRequest,
  response: api.UpdateContainerResponse,
});

export const postUpdateContainer = event('PostUpdateContainer', Event.POST_UPDATE_CONTAINER, {
  request: api.PostUpdateContainerRequest,
  response: api.PostUpdateContainerResponse,
});

export const stopContainer = event('StopContainer', Event.STOP_CONTAINER, {
  request: api.StopContainerRequest,
  response: api.StopContainerResponse,
});

export const removeContainer = event('RemoveContainer', Event.REMOVE_CONTAINER, {
  request: api.RemoveContainerRequest,
  response: api.RemoveContainerResponse,
});
