//! DescribeConfigs: the settings of topics, and of this broker. Versions 1 to 4.

use super::answer::{Client, Handle, Outcome};
use super::configs::{
    self, BROKER, Refusal, TOPIC, Told, Type, check_broker, known, of_topic, refused, source_of,
};
use crate::broker::ConfigSource;
use crate::wire::ErrorCode;
use crate::wire::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult,
    DescribeConfigsResponse, DescribeConfigsResult, DescribeConfigsSynonym,
};

/// Kafka's `DescribeConfigsResponse.ConfigSource`: whoever has started the broker.
const STATIC_BROKER_CONFIG: i8 = 4;

impl Handle for DescribeConfigsRequest {
    fn refuse(self, _: &Client, _: i16, error: ErrorCode) -> Outcome<DescribeConfigsResponse> {
        let all = self.resources.into_iter();
        told(all.map(|it| result(it, Err((error, error.to_string())))).collect())
    }

    async fn start(self, client: Client, _version: i16) -> Outcome<DescribeConfigsResponse> {
        let mut results = Vec::new();
        for resource in self.resources {
            let described = describe(&client, &resource).map(|settings| {
                let settings = settings.into_iter();
                let wanted = settings.filter(|it| match &resource.configuration_keys {
                    Some(keys) => keys.iter().any(|key| *key == it.name),
                    None => true,
                });
                let (synonyms, documented) = (self.include_synonyms, self.include_documentation);
                let is_fixed = resource.resource_type == BROKER;
                wanted.map(|it| setting(it, is_fixed, synonyms, documented)).collect()
            });
            results.push(result(resource, described));
        }
        told(results)
    }
}

fn told(results: Vec<DescribeConfigsResult>) -> Outcome<DescribeConfigsResponse> {
    Outcome::Response(DescribeConfigsResponse { results, throttle_time_ms: 0 })
}

fn result(
    resource: DescribeConfigsResource,
    described: Result<Vec<DescribeConfigsResourceResult>, Refusal>,
) -> DescribeConfigsResult {
    let (error_code, error_message, configs) = match described {
        Ok(configs) => (ErrorCode::NONE, None, configs),
        Err((code, why)) => (code, Some(why), Vec::new()),
    };
    DescribeConfigsResult {
        error_code,
        error_message,
        resource_type: resource.resource_type,
        resource_name: resource.resource_name,
        configs,
    }
}

fn describe(client: &Client, resource: &DescribeConfigsResource) -> Result<Vec<Told>, Refusal> {
    let (kind, name) = (resource.resource_type, resource.resource_name.as_str());
    if kind == TOPIC {
        return of_topic(&client.server, name).map_err(|error| refused(&error));
    }
    check_broker(client, kind, name)?;
    // What holds for all brokers of a cluster is what each has been started with.
    Ok(if name.is_empty() { Vec::new() } else { of_broker(client) })
}

fn setting(
    told: Told,
    is_fixed: bool,
    with_synonyms: bool,
    with_documentation: bool,
) -> DescribeConfigsResourceResult {
    let default = source_of(ConfigSource::Default);
    let mut synonyms = Vec::new();
    if with_synonyms {
        let synonym = |name: &str, value: &str, source| DescribeConfigsSynonym {
            name: name.to_owned(),
            value: Some(value.to_owned()),
            source,
        };
        if told.is_set() {
            synonyms.push(synonym(&told.name, &told.value, told.source));
        }
        let of_broker =
            known(&told.name).filter(|_| !is_fixed).map_or(&*told.name, |(name, _)| name);
        synonyms.extend(told.default.iter().map(|value| synonym(of_broker, value, default)));
    }
    DescribeConfigsResourceResult {
        name: told.name.into_owned(),
        value: Some(told.value),
        read_only: is_fixed,
        config_source: told.source,
        is_sensitive: false,
        synonyms,
        config_type: told.kind as i8,
        documentation: with_documentation.then_some(told.takes),
    }
}

/// What this broker was started with, by Kafka's names.
fn of_broker(client: &Client) -> Vec<Told> {
    let server = &client.server;
    let settings = server.settings();
    let (host, port) = client.advertised();
    let mut all: Vec<Told> =
        server.broker().topic_defaults().into_iter().map(configs::told).collect();
    for told in &mut all {
        if let Some((name, _)) = known(&told.name) {
            told.name = name.into();
        }
        if told.is_set() {
            told.source = STATIC_BROKER_CONFIG;
        }
    }
    let mut add = |name: &'static str, kind, value: String| {
        let takes = "what the broker was started with".to_owned();
        let name = name.into();
        all.push(Told { name, value, source: STATIC_BROKER_CONFIG, default: None, kind, takes });
    };
    add("advertised.listeners", Type::List, format!("PLAINTEXT://{host}:{port}"));
    add("node.id", Type::Int, settings.node_id.to_string());
    add("socket.request.max.bytes", Type::Int, settings.max_request_bytes.to_string());
    add("queued.max.request.bytes", Type::Long, settings.queued_max_request_bytes.to_string());
    add("connections.max.idle.ms", Type::Long, settings.idle_timeout.as_millis().to_string());
    add("max.connections", Type::Int, settings.max_connections.to_string());
    add("default.replication.factor", Type::Int, "1".to_owned());
    add("min.insync.replicas", Type::Int, "1".to_owned());
    add("delete.topic.enable", Type::Boolean, "true".to_owned());
    for (name, value) in server.broker().fixed_configs() {
        let kind = match (name, value.as_str()) {
            (_, "true" | "false") => Type::Boolean,
            ("log.dirs", _) => Type::String,
            ("log.retention.check.interval.ms", _) => Type::Long,
            _ => Type::Int,
        };
        add(name, kind, value);
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}
