//! IncrementalAlterConfigs: single settings of topics (KIP-339). Versions 0 and 1.

use super::altering::{Altered, Change, Wanted, alter};
use super::answer::{Client, Handle, Outcome};
use crate::wire::ErrorCode;
use crate::wire::incremental_alter_configs::{
    AlterConfigsResourceResponse, AlterableConfig, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
};

impl Handle for IncrementalAlterConfigsRequest {
    fn refuse(
        self,
        _: &Client,
        _: i16,
        error: ErrorCode,
    ) -> Outcome<IncrementalAlterConfigsResponse> {
        told(wanted(self).into_iter().map(|it| it.refused(error, error.to_string())).collect())
    }

    async fn start(self, client: Client, _: i16) -> Outcome<IncrementalAlterConfigsResponse> {
        let only_ask = self.validate_only;
        told(alter(&client, wanted(self), only_ask).await)
    }
}

fn wanted(request: IncrementalAlterConfigsRequest) -> Vec<Wanted> {
    let resources = request.resources.into_iter().map(|resource| Wanted {
        kind: resource.resource_type,
        name: resource.resource_name,
        changes: resource.configs.into_iter().map(change).collect(),
        is_all: false,
    });
    resources.collect()
}

/// By Kafka's `AlterConfigOp.OpType`.
fn change(config: AlterableConfig) -> (String, Change) {
    let change = match config.config_operation {
        0 => Change::Set(config.value),
        1 => Change::Unset,
        2 => Change::Append(config.value),
        3 => Change::Subtract(config.value),
        other => Change::Unknown(other),
    };
    (config.name, change)
}

fn told(altered: Vec<Altered>) -> Outcome<IncrementalAlterConfigsResponse> {
    let responses = altered.into_iter().map(|it| AlterConfigsResourceResponse {
        error_code: it.error_code,
        error_message: it.error_message,
        resource_type: it.kind,
        resource_name: it.name,
    });
    let responses = responses.collect();
    Outcome::Response(IncrementalAlterConfigsResponse { responses, throttle_time_ms: 0 })
}
