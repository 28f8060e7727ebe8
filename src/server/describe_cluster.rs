//! DescribeCluster: this broker, which is all there is. Versions 0 and 1.

use super::answer::{Client, Handle, Outcome};
use super::metadata::CLUSTER_OPERATIONS;
use crate::wire::ErrorCode;
use crate::wire::describe_cluster::{
    DescribeClusterBroker, DescribeClusterRequest, DescribeClusterResponse,
};

/// Of what the addresses are wanted.
const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

impl Handle for DescribeClusterRequest {
    fn refuse(self, _: &Client, _: i16, error_code: ErrorCode) -> Outcome<DescribeClusterResponse> {
        refused(error_code, error_code.to_string())
    }

    async fn start(self, client: Client, _version: i16) -> Outcome<DescribeClusterResponse> {
        match self.endpoint_type {
            BROKERS => {}
            CONTROLLERS => {
                let text = "this address is a broker's, not a controller's".to_owned();
                return refused(ErrorCode::MISMATCHED_ENDPOINT_TYPE, text);
            }
            other => {
                let text = format!("endpoints are brokers (1) or controllers (2), not {other}");
                return refused(ErrorCode::UNSUPPORTED_ENDPOINT_TYPE, text);
            }
        }
        let broker_id = client.server.settings().node_id;
        let (host, port) = client.advertised();
        let mut told = DescribeClusterResponse {
            cluster_id: client.server.cluster_id().to_string(),
            controller_id: broker_id,
            brokers: vec![DescribeClusterBroker { broker_id, host, port, rack: None }],
            ..DescribeClusterResponse::default()
        };
        if self.include_cluster_authorized_operations {
            told.cluster_authorized_operations = CLUSTER_OPERATIONS;
        }
        Outcome::Response(told)
    }
}

fn refused(error_code: ErrorCode, why: String) -> Outcome<DescribeClusterResponse> {
    let error_message = Some(why);
    let told = DescribeClusterResponse::default();
    Outcome::Response(DescribeClusterResponse { error_code, error_message, ..told })
}
