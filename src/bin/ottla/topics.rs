//! `ottla topics`.

use ottla::{
    Admin, Client, ConfigSource, Durability, Error, PartitionDescription, TopicConfig,
    TopicDescription, TopicPartition,
};
use serde_json::json;

use crate::output::{Done, Failure, Outcome, Table, count, say, say_json, size};
use crate::parse::name_and_value;
use crate::place::Place;

#[derive(clap::Subcommand)]
pub(crate) enum Topics {
    /// Lists all topics
    List(List),
    /// Tells of a topic: settings, and each partition's offsets and size
    Describe(Describe),
    /// Creates a topic
    Create(Create),
    /// Changes settings of a topic, or gives it more partitions
    Alter(Alter),
    /// Deletes topics with their records
    Delete(Delete),
    /// Deletes the records of a partition before an offset
    DeleteRecords(DeleteRecords),
}

#[derive(clap::Args)]
pub(crate) struct List {
    #[command(flatten)]
    place: Place,

    /// Writes JSON
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
pub(crate) struct Describe {
    #[command(flatten)]
    place: Place,

    /// The topic
    topic: String,

    /// Shows all settings, and what they would be if nobody had set them
    #[arg(long)]
    configs: bool,

    /// Writes JSON
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
pub(crate) struct Create {
    #[command(flatten)]
    place: Place,

    /// Its name
    topic: String,

    /// How many partitions it has
    #[arg(short, long, default_value_t = 1, value_name = "N")]
    partitions: i32,

    /// A setting, such as retention.ms=3600000; may be repeated
    #[arg(short, long = "config", value_name = "NAME=VALUE", value_parser = name_and_value)]
    configs: Vec<(String, String)>,

    /// What acknowledged records survive; on the network as the brokers have it, otherwise power
    #[arg(long, value_name = "WHAT")]
    durability: Option<Promise>,

    /// Is content with a topic of this name that is there, however it is set
    #[arg(long)]
    if_not_exists: bool,
}

/// [`Durability`], but not of memory alone: the topic would be empty when it is next opened.
#[derive(Clone, Copy, clap::ValueEnum)]
enum Promise {
    /// The end of the process
    Process,
    /// The loss of power
    Power,
}

#[derive(clap::Args)]
pub(crate) struct Alter {
    #[command(flatten)]
    place: Place,

    /// The topic
    topic: String,

    /// How many partitions it has from now on; never fewer than before
    #[arg(short, long, value_name = "N")]
    partitions: Option<i32>,

    /// A setting, such as retention.ms=3600000; may be repeated
    #[arg(short, long = "config", value_name = "NAME=VALUE", value_parser = name_and_value)]
    configs: Vec<(String, String)>,

    /// A setting that has its default again; may be repeated
    #[arg(long, value_name = "NAME")]
    unset: Vec<String>,
}

#[derive(clap::Args)]
pub(crate) struct Delete {
    #[command(flatten)]
    place: Place,

    /// The topics
    #[arg(required = true, value_name = "TOPIC")]
    topics: Vec<String>,

    /// Is content if there is no such topic
    #[arg(long)]
    if_exists: bool,
}

#[derive(clap::Args)]
pub(crate) struct DeleteRecords {
    #[command(flatten)]
    place: Place,

    /// The topic
    topic: String,

    /// The partition
    #[arg(short, long, value_name = "N")]
    partition: i32,

    /// The first offset that stays; -1 for none
    #[arg(long, value_name = "OFFSET", allow_hyphen_values = true)]
    before: i64,
}

impl Topics {
    pub(crate) async fn run(self) -> Outcome {
        match self {
            Topics::List(list) => list.run().await,
            Topics::Describe(describe) => describe.run().await,
            Topics::Create(create) => create.run().await,
            Topics::Alter(alter) => alter.run().await,
            Topics::Delete(delete) => delete.run().await,
            Topics::DeleteRecords(delete) => delete.run().await,
        }
    }
}

impl List {
    async fn run(self) -> Outcome {
        let admin = self.place.read().await?.admin();
        let mut topics = Vec::new();
        for name in admin.topics().await? {
            match admin.describe_topic(name.as_str()).await {
                Ok(topic) => topics.push(topic),
                // Somebody has deleted it meanwhile.
                Err(Error::UnknownTopic { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        if self.json {
            let each = topics.iter().map(|it| {
                json!({
                    "topic": it.name.as_str(),
                    "id": it.id.to_string(),
                    "partitions": it.partitions.len(),
                    "records": records_of(it),
                    "bytes": bytes_of(it),
                    "durability": promise(it.durability),
                })
            });
            say_json(&each.collect::<Vec<_>>())?;
        } else if topics.is_empty() {
            say("no topics")?;
        } else {
            let mut table =
                Table::new(&["TOPIC", ">PARTITIONS", ">RECORDS", ">SIZE", "DURABILITY"]);
            for it in &topics {
                table.row([
                    it.name.to_string(),
                    it.partitions.len().to_string(),
                    records_of(it).to_string(),
                    or_dash(bytes_of(it).map(size)),
                    promise(it.durability).to_owned(),
                ]);
            }
            table.print()?;
        }
        Ok(Done::Well)
    }
}

/// As many offsets as there are; compaction leaves fewer records.
fn records(partition: &PartitionDescription) -> i64 {
    partition.high_watermark - partition.log_start_offset
}

fn records_of(topic: &TopicDescription) -> i64 {
    topic.partitions.iter().map(records).sum()
}

/// How much there is, where that is known: brokers on the network need not tell.
fn bytes(partition: &PartitionDescription) -> Option<u64> {
    let is_told = partition.size_bytes > 0 || records(partition) == 0;
    is_told.then_some(partition.size_bytes)
}

fn bytes_of(topic: &TopicDescription) -> Option<u64> {
    topic.partitions.iter().map(bytes).sum()
}

/// Where that is known: brokers on the network don't tell.
fn segments(partition: &PartitionDescription) -> Option<usize> {
    (partition.segments > 0).then_some(partition.segments)
}

fn or_dash(known: Option<String>) -> String {
    known.unwrap_or("-".to_owned())
}

fn promise(durability: Durability) -> &'static str {
    match durability {
        Durability::Memory => "memory",
        Durability::Process => "process",
        Durability::Power => "power",
    }
}

impl Describe {
    async fn run(self) -> Outcome {
        let admin = self.place.read().await?.admin();
        let topic = admin.describe_topic(&self.topic).await?;
        let configs = admin.describe_configs(&self.topic).await?;
        let is_set = |source: ConfigSource| source == ConfigSource::Topic;
        if self.json {
            let shown = configs.iter().filter(|it| self.configs || is_set(it.source));
            let configs = shown.map(|it| (it.name.to_string(), json!(it.value)));
            say_json(&describe_json(&topic, configs.collect()))?;
            return Ok(Done::Well);
        }
        say(format_args!("topic:      {}", topic.name))?;
        say(format_args!("id:         {}", topic.id))?;
        say(format_args!("durability: {}", promise(topic.durability)))?;
        let set = configs.iter().filter(|it| is_set(it.source));
        let set: Vec<_> = set.map(|it| format!("{}={}", it.name, it.value)).collect();
        let set = if set.is_empty() { "all at their defaults".to_owned() } else { set.join(" ") };
        say(format_args!("settings:   {set}\n"))?;
        let mut table = Table::new(&[
            ">PARTITION",
            ">LOG START",
            ">END",
            ">RECORDS",
            ">SIZE",
            ">SEGMENTS",
            ">LEADER EPOCH",
        ]);
        for it in &topic.partitions {
            table.row([
                it.partition.to_string(),
                it.log_start_offset.to_string(),
                it.high_watermark.to_string(),
                records(it).to_string(),
                or_dash(bytes(it).map(size)),
                or_dash(segments(it).map(|it| it.to_string())),
                it.leader_epoch.to_string(),
            ]);
        }
        table.print()?;
        if self.configs {
            say("")?;
            let mut table = Table::new(&["SETTING", "VALUE", "SET", "DEFAULT", "IT TAKES"]);
            for it in &configs {
                let set = if is_set(it.source) { "yes" } else { "" };
                let cells = [&*it.name, &it.value, set, &it.default, it.allowed];
                table.row(cells.map(str::to_owned));
            }
            table.print()?;
        }
        Ok(Done::Well)
    }
}

fn describe_json(
    topic: &TopicDescription,
    configs: serde_json::Map<String, serde_json::Value>,
) -> serde_json::Value {
    let partitions = topic.partitions.iter().map(|it| {
        json!({
            "partition": it.partition,
            "log_start_offset": it.log_start_offset,
            "high_watermark": it.high_watermark,
            "log_end_offset": it.log_end_offset,
            "leader_epoch": it.leader_epoch,
            "bytes": bytes(it),
            "segments": segments(it),
        })
    });
    json!({
        "topic": topic.name.as_str(),
        "id": topic.id.to_string(),
        "durability": promise(topic.durability),
        "configs": configs,
        "partitions": partitions.collect::<Vec<_>>(),
    })
}

impl Create {
    async fn run(self) -> Outcome {
        let mut config = TopicConfig::new().partitions(self.partitions);
        config = match (self.durability, self.place.is_remote()) {
            (Some(Promise::Process), _) => config.durability(Durability::Process),
            (Some(Promise::Power), _) | (None, false) => config.durability(Durability::Power),
            (None, true) => config,
        };
        for (name, value) in &self.configs {
            config = config.set(name, value)?;
        }
        let create = async |client: &Client| {
            match client.admin().create_topic(&self.topic, config).await {
                Ok(topic) => {
                    let number = topic.partitions.len() as u64;
                    let partitions = count(number, "partition", "partitions");
                    say(format_args!("created {} with {partitions}", topic.name))?;
                }
                Err(Error::TopicAlreadyExists { existing: None, .. }) if self.if_not_exists => {
                    say(format_args!("{} is there already", self.topic))?;
                }
                Err(error) => return Err(error.into()),
            }
            Ok(Done::Well)
        };
        self.place.make(create).await
    }
}

impl Alter {
    async fn run(self) -> Outcome {
        if self.partitions.is_none() && self.configs.is_empty() && self.unset.is_empty() {
            let text = "nothing to change: give --partitions, --config or --unset";
            return Err(Failure::Said(text.to_owned()));
        }
        let set = self.configs.into_iter().map(|(name, value)| (name, Some(value)));
        let changes: Vec<_> = set.chain(self.unset.into_iter().map(|name| (name, None))).collect();
        let alter = async |client: &Client| {
            let admin = client.admin();
            // First, as it is refused more often.
            if let Some(partitions) = self.partitions {
                admin.create_partitions(&self.topic, partitions).await?;
                say(format_args!("{} has {partitions} partitions", self.topic))?;
            }
            if !changes.is_empty() {
                admin.alter_configs(&self.topic, changes.clone()).await?;
                tell_settings(&admin, &self.topic, &changes).await?;
            }
            Ok(Done::Well)
        };
        self.place.change(alter).await
    }
}

async fn tell_settings(
    admin: &Admin,
    topic: &str,
    changes: &[(String, Option<String>)],
) -> Result<(), Failure> {
    for it in admin.describe_configs(topic).await? {
        if changes.iter().any(|(name, _)| *name == it.name) {
            say(format_args!("{topic} has {}={}", it.name, it.value))?;
        }
    }
    Ok(())
}

impl Delete {
    async fn run(self) -> Outcome {
        let delete = async |client: &Client| {
            let admin = client.admin();
            for topic in &self.topics {
                match admin.delete_topic(topic).await {
                    Ok(()) => say(format_args!("deleted {topic}"))?,
                    Err(Error::UnknownTopic { .. }) if self.if_exists => {
                        say(format_args!("there is no {topic}"))?;
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            Ok(Done::Well)
        };
        self.place.change(delete).await
    }
}

impl DeleteRecords {
    async fn run(self) -> Outcome {
        let at = TopicPartition::new(&self.topic, self.partition).map_err(Error::from)?;
        let delete = async |client: &Client| {
            let start = client.admin().delete_records(&at, self.before).await?;
            say(format_args!("{at} begins at offset {start}"))?;
            Ok(Done::Well)
        };
        self.place.change(delete).await
    }
}
