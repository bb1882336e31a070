import {
  CgroupDriver,
  type RuntimeConfigRequest,
  type RuntimeConfigResponse,
} from '../gen/runtime/v1/api.ts';
import type { UnaryHandler } from './context.ts';

export const runtimeConfig: UnaryHandler<RuntimeConfigRequest, RuntimeConfigResponse> = ({
  pods,
}) => ({
  linux: {
    cgroupDriver:
      pods.settings.cgroupDriver === 'systemd' ? CgroupDriver.SYSTEMD : CgroupDriver.CGROUPFS,
  },
});
