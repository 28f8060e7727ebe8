//! From an API's key to its request's type.

/// Calls `function::<Request>(…)` for the request that a key stands for.
macro_rules! for_api {
    ($key:expr, $function:ident($($arg:expr),*)) => {
        match $key {
            ApiKey::Produce => $function::<wire::produce::ProduceRequest>($($arg),*),
            ApiKey::Fetch => $function::<wire::fetch::FetchRequest>($($arg),*),
            ApiKey::ListOffsets => $function::<wire::list_offsets::ListOffsetsRequest>($($arg),*),
            ApiKey::Metadata => $function::<wire::metadata::MetadataRequest>($($arg),*),
            ApiKey::FindCoordinator => {
                $function::<wire::find_coordinator::FindCoordinatorRequest>($($arg),*)
            }
            ApiKey::ApiVersions => $function::<wire::api_versions::ApiVersionsRequest>($($arg),*),
            ApiKey::CreateTopics => {
                $function::<wire::create_topics::CreateTopicsRequest>($($arg),*)
            }
            ApiKey::DeleteTopics => {
                $function::<wire::delete_topics::DeleteTopicsRequest>($($arg),*)
            }
            ApiKey::InitProducerId => {
                $function::<wire::init_producer_id::InitProducerIdRequest>($($arg),*)
            }
            ApiKey::OffsetForLeaderEpoch => {
                $function::<wire::offset_for_leader_epoch::OffsetForLeaderEpochRequest>($($arg),*)
            }
        }
    };
}

pub(crate) use for_api;
