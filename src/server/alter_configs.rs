//! AlterConfigs: what a topic is to have set; everything else is as by default. Versions 0 to 2.

use super::altering::{Altered, Change, Wanted, alter};
use super::answer::{Client, Handle, Outcome};
use crate::wire::ErrorCode;
use crate::wire::alter_configs::{
    AlterConfigsRequest, AlterConfigsResourceResponse, AlterConfigsResponse,
};

impl Handle for AlterConfigsRequest {
    fn refuse(self, _: &Client, _: i16, error: ErrorCode) -> Outcome<AlterConfigsResponse> {
        told(wanted(self).into_iter().map(|it| it.refused(error, error.to_string())).collect())
    }

    async fn start(self, client: Client, _version: i16) -> Outcome<AlterConfigsResponse> {
        let only_ask = self.validate_only;
        told(alter(&client, wanted(self), only_ask).await)
    }
}

fn wanted(request: AlterConfigsRequest) -> Vec<Wanted> {
    let resources = request.resources.into_iter().map(|resource| {
        let changes = resource.configs.into_iter().map(|it| (it.name, Change::Set(it.value)));
        Wanted {
            kind: resource.resource_type,
            name: resource.resource_name,
            changes: changes.collect(),
            is_all: true,
        }
    });
    resources.collect()
}

fn told(altered: Vec<Altered>) -> Outcome<AlterConfigsResponse> {
    let responses = altered.into_iter().map(|it| AlterConfigsResourceResponse {
        error_code: it.error_code,
        error_message: it.error_message,
        resource_type: it.kind,
        resource_name: it.name,
    });
    let responses = responses.collect();
    Outcome::Response(AlterConfigsResponse { responses, throttle_time_ms: 0 })
}
